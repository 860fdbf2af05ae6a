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

// NotNow reports whether an error means that Redis cannot do it now and may
// later: it is Unreachable, is full, cannot save to disk, lacks replicas, is a
// replica itself, is busy with a script, is moving the key, or forbids it to the
// user. It makes no difference whether the command or one within a script failed.
func NotNow(err error) bool {
	if Unreachable(err) {
		return true
	}
	return notNowCodes[Code(err)]
}

// notNowCodes are the codes of the errors that end without a change of the
// command: by themselves, or once an operator has acted.
var notNowCodes = map[string]bool{
	CodeReadOnly:     true,
	CodeNoReplicas:   true,
	CodeNotSaving:    true,
	CodeFull:         true,
	CodeMoving:       true,
	CodeNoPermission: true,
	CodeBusy:         true,

	"LOADING":     true,
	"CLUSTERDOWN": true,
	"MASTERDOWN":  true,
}

// The codes of Redis' errors that Code finds.
const (
	CodeReadOnly     = "READONLY"
	CodeNoReplicas   = "NOREPLICAS"
	CodeNotSaving    = "MISCONF"
	CodeFull         = "OOM"
	CodeMoving       = "TRYAGAIN"
	CodeNoPermission = "NOPERM"
	CodeBusy         = "BUSY"
)

// Code returns the code of an error that Redis replied, such as OOM; "" if Redis
// did not reply it. For an error of a command within a script it is that
// command's code.
func Code(err error) string {
	reply, ok := errors.AsType[redis.Error](err)
	if !ok {
		return ""
	}
	text := reply.Error()
	for _, forbidden := range scriptForbidden {
		if strings.Contains(text, forbidden) {
			return CodeNoPermission
		}
	}
	// Redis 6 quotes the command's error, as in
	// "ERR Error running script (call to f_…): @user_script:1: -OOM command not …".
	if _, quoted, found := strings.Cut(text, ": -"); found && strings.HasPrefix(text, "ERR ") {
		text = quoted
	}
	code, _, _ := strings.Cut(text, " ")
	if code == "" || strings.Trim(code, upperCase) != "" {
		return ""
	}
	return code
}

const upperCase = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// scriptForbidden is how Redis words the NOPERM of a command within a script,
// without the code: the first is from 7.2 on.
var scriptForbidden = []string{
	"ACL failure in script",
	"The user executing the script can't ",
}

// ErrNoDatabase says what NoDatabase reports, to the operator.
var ErrNoDatabase = errors.New("REDIS_URL: names a database that this Redis does not have; " +
	"redis-cli CONFIG GET databases shows how many there are")

// NoDatabase reports whether an error means that Redis has no database with the
// number in REDIS_URL.
func NoDatabase(err error) bool {
	reply, ok := errors.AsType[redis.Error](err)
	return ok && strings.Contains(reply.Error(), "DB index is out of range")
}
