package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// limitHook bounds each command with all its retries. The timeouts of a client
// bound one dial or one read; a cluster or a set of sentinels multiplies them.
type limitHook struct{ limit time.Duration }

// DialHook implements redis.Hook.
func (limitHook) DialHook(next redis.DialHook) redis.DialHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h limitHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return h.bound(ctx, func(ctx context.Context) error { return next(ctx, cmd) })
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h limitHook) ProcessPipelineHook(
	next redis.ProcessPipelineHook,
) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return h.bound(ctx, func(ctx context.Context) error { return next(ctx, cmds) })
	}
}

func (h limitHook) bound(ctx context.Context, call func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, h.limit)
	defer cancel()
	err := call(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("no answer from Redis within %v: %w", h.limit, err)
	}
	return err
}

// Unreachable reports whether an error means that Redis could not be asked: no
// connection, no answer in time, a refused login, or a Redis that is loading or
// has no master. A command that got no answer may have been carried out all the
// same.
func Unreachable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if _, ok := errors.AsType[net.Error](err); ok { // timeouts and deadlines too
		return true
	}
	for _, known := range []error{io.EOF, io.ErrUnexpectedEOF, redis.ErrPoolTimeout, redis.ErrPoolExhausted} {
		if errors.Is(err, known) {
			return true
		}
	}
	if handshakeFailed(err) {
		return true
	}
	for _, is := range []func(error) bool{
		redis.IsLoadingError, redis.IsClusterDownError, redis.IsMasterDownError,
		redis.IsMaxClientsError, redis.IsAuthError,
	} {
		if is(err) {
			return true
		}
	}
	return false
}

// handshakeFailed reports whether TLS could not be agreed on: the certificate
// is not trusted, or the server does not speak TLS.
func handshakeFailed(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.RecordHeaderError](err)
	return ok
}
