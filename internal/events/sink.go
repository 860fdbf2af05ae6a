package events

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/seal"
)

// Sink is the operator's receiver as the fleet knows it: whether it has said
// that it is gone. Another URL is another sink.
type Sink struct {
	rdb  redis.UniversalClient
	salt *seal.Salt
	url  string
}

// NewSink returns the sink of a configuration.
func NewSink(cfg Config, rdb redis.UniversalClient, salt *seal.Salt) (*Sink, error) {
	url, _, _, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Sink{
		rdb:  rdb,
		salt: salt,
		url:  url,
	}, nil
}

// Gone tells since when nothing is sent, by Redis' clock; zero if it is not
// gone.
func (s *Sink) Gone(ctx context.Context) (time.Time, error) {
	mark, err := s.mark(ctx)
	if err != nil {
		return time.Time{}, err
	}
	ms, err := s.rdb.Get(ctx, mark).Int64()
	switch {
	case errors.Is(err, redis.Nil):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("read whether the sink is gone: %w", err)
	}
	return time.UnixMilli(ms), nil
}

// Resume has events sent again, and reports whether they were not.
func (s *Sink) Resume(ctx context.Context) (was bool, err error) {
	mark, err := s.mark(ctx)
	if err != nil {
		return false, err
	}
	n, err := s.rdb.Del(ctx, mark).Result()
	if err != nil {
		return false, fmt.Errorf("clear that the sink is gone: %w", err)
	}
	return n > 0, nil
}

// goneScript marks the sink, and returns 1 to the first only.
var goneScript = redis.NewScript(`
local t = redis.call('TIME')
return redis.call('SETNX', KEYS[1], t[1] * 1000 + math.floor(t[2] / 1000))
`)

func (s *Sink) stop(ctx context.Context) (first bool, err error) {
	mark, err := s.mark(ctx)
	if err != nil {
		return false, err
	}
	first, err = goneScript.Run(ctx, s.rdb, []string{mark}).Bool()
	if err != nil {
		return false, fmt.Errorf("write that the sink is gone: %w", err)
	}
	return first, nil
}

func (s *Sink) mark(ctx context.Context) (string, error) {
	salt, err := s.salt.Get(ctx)
	if err != nil {
		return "", err
	}
	return key("gone", hex.EncodeToString(seal.HMAC(salt, "sink", s.url)[:16])), nil
}
