package events

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

// Receiver is the fleet's shared knowledge about the operator's receiver:
// whether it has answered 410 Gone. Another URL is another receiver.
type Receiver struct {
	rdb  redis.UniversalClient
	salt *seal.Salt
	url  string
}

// NewReceiver returns the receiver of a configuration.
func NewReceiver(cfg Config, rdb redis.UniversalClient, salt *seal.Salt) (*Receiver, error) {
	to, err := cfg.endpoint()
	if err != nil {
		return nil, err
	}
	return &Receiver{
		rdb:  rdb,
		salt: salt,
		url:  to.url,
	}, nil
}

// Gone returns when the receiver answered 410 Gone, by Redis' clock, or the zero
// time if it has not.
func (r *Receiver) Gone(ctx context.Context) (time.Time, error) {
	key, err := r.goneKey(ctx)
	if err != nil {
		return time.Time{}, err
	}
	ms, err := r.rdb.Get(ctx, key).Int64()
	switch {
	case errors.Is(err, redis.Nil):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("read whether the receiver is gone: %w", err)
	}
	return time.UnixMilli(ms), nil
}

// Resume lets events be sent again and reports whether they were stopped.
func (r *Receiver) Resume(ctx context.Context) (wasGone bool, err error) {
	key, err := r.goneKey(ctx)
	if err != nil {
		return false, err
	}
	n, err := r.rdb.Del(ctx, key).Result()
	if err != nil {
		return false, fmt.Errorf("clear the mark of a gone receiver: %w", err)
	}
	return n > 0, nil
}

// markGoneScript records when the receiver answered 410, unless that is recorded
// already. It returns 1 if this call recorded it.
//
// KEYS: the receiver's mark
var markGoneScript = redisscript.New(redisscript.NowMillis, `
return redis.call('SETNX', KEYS[1], now)
`)

// markGone stops delivery for the whole fleet. It reports true to the first
// worker only.
func (r *Receiver) markGone(ctx context.Context) (first bool, err error) {
	key, err := r.goneKey(ctx)
	if err != nil {
		return false, err
	}
	reply, err := markGoneScript.Run(ctx, r.rdb, []string{key})
	if err != nil {
		return false, fmt.Errorf("mark the receiver as gone: %w", err)
	}
	return reply.Bool(0), nil
}

func (r *Receiver) goneKey(ctx context.Context) (string, error) {
	salt, err := r.salt.Get(ctx)
	if err != nil {
		return "", err
	}
	return key("gone", hex.EncodeToString(seal.HMAC(salt, "receiver", r.url)[:16])), nil
}
