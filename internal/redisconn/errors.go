package redisconn

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/netfault"
)

// Unreachable reports whether an error means that Redis could not be asked: no
// connection, no answer in time, a refused login, or a Redis that is loading or
// has no master. Redis may nevertheless have run a command that got no answer.
func Unreachable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if _, isFile := errors.AsType[*fs.PathError](err); isFile {
		return false // the number of its error would pass for one of the network
	}
	if _, ok := errors.AsType[net.Error](err); ok { // timeouts and deadlines too
		return true
	}
	for _, known := range []error{
		io.EOF,
		io.ErrUnexpectedEOF,
		redis.ErrPoolTimeout,
		redis.ErrPoolExhausted,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	switch netfault.Of(err) {
	case netfault.Untrusted, netfault.NotTLS, netfault.WantsTLS, netfault.NoHandshake:
		return true
	}
	for _, is := range []func(error) bool{
		redis.IsLoadingError,
		redis.IsClusterDownError,
		redis.IsMasterDownError,
		redis.IsMaxClientsError,
		redis.IsAuthError,
	} {
		if is(err) {
			return true
		}
	}
	return false
}
