package redisguard

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
)

// facts is what one server says about itself. What it keeps to itself is "":
// managed services forbid CONFIG, and emulations know little of INFO.
type facts struct {
	info   map[string]string
	policy string // maxmemory-policy
	fsync  string // appendfsync
	saves  string // points of snapshots, as in "3600 1 300 100"
	// savesKnown: an empty saves means that there are none.
	savesKnown bool
}

// readFacts asks one server. An error means that it could not be asked; a
// question that it refuses only leaves a gap.
func readFacts(ctx context.Context, c *redis.Client) (facts, error) {
	// All sections: only Redis 7 takes the names of several.
	var info *redis.StringCmd
	var policy, fsync, saves *redis.MapStringStringCmd
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		info = p.Info(ctx)
		policy = p.ConfigGet(ctx, "maxmemory-policy")
		fsync = p.ConfigGet(ctx, "appendfsync")
		saves = p.ConfigGet(ctx, "save")
		return nil
	})
	// Each answer has its own error. Where connecting failed, a refused login
	// included, none has an error nor a value.
	if err != nil && (!answered(err) || info.Err() == nil && info.Val() == "") {
		return facts{}, err
	}
	f := facts{info: parseInfo(info.Val())}
	f.policy = policy.Val()["maxmemory-policy"]
	if f.policy == "" {
		f.policy = f.info["maxmemory_policy"]
	}
	f.fsync = fsync.Val()["appendfsync"]
	f.saves, f.savesKnown = saves.Val()["save"]
	return f, nil
}

// answered reports whether err is the server's answer to this question and not
// the lack of one.
func answered(err error) bool {
	_, reply := errors.AsType[redis.Error](err)
	return reply && !redisconn.Unreachable(err)
}

func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); found {
			info[name] = value
		}
	}
	return info
}
