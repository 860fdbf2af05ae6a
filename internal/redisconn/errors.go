package redisconn

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"

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

// NotNow reports whether an error means that Redis cannot do it now and may later:
// it is unreachable, or it answers and takes no writes (a replica, one without
// enough replicas, a full memory or disk, missing rights). Whoever must not lose a
// write tries again.
func NotNow(err error) bool {
	if Unreachable(err) {
		return true
	}
	for _, is := range []func(error) bool{
		redis.IsReadOnlyError,
		redis.IsOOMError,
		redis.IsTryAgainError,
		redis.IsPermissionError,
	} {
		if is(err) {
			return true
		}
	}
	text := redisErrorText(err)
	for _, prefix := range []string{"NOREPLICAS", "MISCONF", "BUSY ", "OOM ", "READONLY", "NOPERM"} {
		if strings.HasPrefix(text, prefix) || strings.Contains(text, ": "+prefix) {
			return true
		}
	}
	return false
}

// redisErrorText is the text of Redis' error reply; "" if there is none. An error in
// a script has the code of the command that failed, sometimes after a prefix.
func redisErrorText(err error) string {
	if reply, ok := errors.AsType[redis.Error](err); ok {
		return strings.TrimPrefix(reply.Error(), "ERR ")
	}
	return ""
}
