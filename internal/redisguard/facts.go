package redisguard

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
)

// facts is what one server reports about itself. What it does not report is "":
// managed services forbid CONFIG, and emulations implement little of INFO.
type facts struct {
	info   map[string]string
	policy string // maxmemory-policy
	fsync  string // appendfsync
	saves  string // when snapshots are taken, as in "3600 1 300 100"
	// savesKnown: the server reported saves, which may be empty.
	savesKnown bool
}

// readFacts asks one server. An error means that it could not be asked; a
// command that it refuses only leaves a gap.
func readFacts(ctx context.Context, c *redis.Client) (facts, error) {
	// All sections: only Redis 7 accepts the names of several.
	var info *redis.StringCmd
	var policy, fsync, saves *redis.MapStringStringCmd
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		info = p.Info(ctx)
		policy = p.ConfigGet(ctx, "maxmemory-policy")
		fsync = p.ConfigGet(ctx, "appendfsync")
		saves = p.ConfigGet(ctx, "save")
		return nil
	})
	// Each reply has its own error. If connecting failed, a refused login included,
	// the replies have neither an error nor a value. A Redis that is busy refuses even
	// a new connection's name: it answers, and is asked for writes next.
	connected := info.Err() != nil || info.Val() != "" || redisconn.Code(err) == redisconn.CodeBusy
	if err != nil && (!answered(err) || !connected) {
		return facts{}, err
	}
	f := facts{info: redisconn.ParseInfo(info.Val())}
	f.policy = policy.Val()["maxmemory-policy"]
	if f.policy == "" {
		f.policy = f.info["maxmemory_policy"]
	}
	f.fsync = fsync.Val()["appendfsync"]
	f.saves, f.savesKnown = saves.Val()["save"]
	return f, nil
}

// answered reports whether err is a reply of the server.
func answered(err error) bool {
	_, reply := errors.AsType[redis.Error](err)
	return reply && !redisconn.Unreachable(err)
}
