// Package redisscript runs Lua scripts in Redis and reads their replies.
//
// A script replies with a list, or with one text or number, which counts as a
// list of one. Scripts of this module may run twice: go-redis repeats a command
// whose reply was lost.
package redisscript

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Scripts that need the time take it from Redis, so that no two machines'
// clocks are ever compared. Each of these chunks of Lua defines a local
// variable now, a Unix time, and is put in front of a script.
//
// Lua's numbers hold microseconds exactly until the year 2255, but its ..
// operator rounds numbers of that size: write them with string.format('%.0f').
const (
	NowMillis = `
local redis_time = redis.call('TIME')
local now = redis_time[1] * 1000 + math.floor(redis_time[2] / 1000)
`
	NowMicros = `
local redis_time = redis.call('TIME')
local now = redis_time[1] * 1000000 + redis_time[2]
`
)

// Script is a Lua script. Redis keeps it, so that a call sends its hash only.
// Safe for concurrent use.
type Script struct{ lua *redis.Script }

// New makes a script of chunks of Lua, one after the other.
func New(chunks ...string) *Script {
	return &Script{redis.NewScript(strings.Join(chunks, ""))}
}

// Run runs the script. The reply of a nil error has at least one element. A
// script that replies nil gives redis.Nil.
func (s *Script) Run(ctx context.Context, rdb redis.Scripter, keys []string, args ...any) (Reply, error) {
	value, err := s.lua.Run(ctx, rdb, keys, args...).Result()
	if err != nil {
		return nil, err
	}
	return newReply(value)
}

// Load has Redis keep the script before its first call.
func (s *Script) Load(ctx context.Context, rdb redis.Scripter) error {
	return s.lua.Load(ctx, rdb).Err()
}

// Hash is the SHA-1 under which Redis keeps the script.
func (s *Script) Hash() string {
	return s.lua.Hash()
}

// Reply is what a script replied: texts (string, may be binary) and numbers
// (int64). An element that is missing, nil or not of the wanted kind reads as
// the zero value.
type Reply []any

func newReply(value any) (Reply, error) {
	switch value := value.(type) {
	case []any:
		if len(value) == 0 {
			return nil, errors.New("empty reply from a Redis script")
		}
		return value, nil
	case string, int64:
		return Reply{value}, nil
	default:
		return nil, fmt.Errorf("reply of type %T from a Redis script", value)
	}
}

// Part reads element i as the reply of one of n calls that a script made together, as Run
// would have returned it.
func (r Reply) Part(i, n int) (Reply, error) {
	if len(r) != n {
		return nil, fmt.Errorf("redis answered for %d tasks of %d", len(r), n)
	}
	switch part := r[i].(type) {
	case nil:
		return nil, redis.Nil
	case error:
		return nil, part
	default:
		return newReply(part)
	}
}

// Text reads element i as text; a number is written in decimal.
func (r Reply) Text(i int) string {
	switch value := r.at(i).(type) {
	case string:
		return value
	case int64:
		return strconv.FormatInt(value, 10)
	}
	return ""
}

// Int reads element i as a number, which may be written as text.
func (r Reply) Int(i int) int64 {
	switch value := r.at(i).(type) {
	case int64:
		return value
	case string:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0
		}
		return n
	}
	return 0
}

// Bool reports whether element i is a number other than 0.
func (r Reply) Bool(i int) bool {
	return r.Int(i) != 0
}

// Millis reads element i as a duration in milliseconds, negative ones as 0:
// PTTL replies -1 or -2 where there is no expiry.
func (r Reply) Millis(i int) time.Duration {
	return time.Duration(max(r.Int(i), 0)) * time.Millisecond
}

// Micros reads element i as a duration in microseconds, negative ones as 0.
func (r Reply) Micros(i int) time.Duration {
	return time.Duration(max(r.Int(i), 0)) * time.Microsecond
}

// Time reads element i as a Unix time in milliseconds.
func (r Reply) Time(i int) time.Time {
	return time.UnixMilli(r.Int(i))
}

func (r Reply) at(i int) any {
	if i < len(r) {
		return r[i]
	}
	return nil
}
