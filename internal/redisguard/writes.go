package redisguard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
)

const (
	// probeTTL is how long Redis keeps what a probe has written.
	probeTTL     = 10 * time.Second
	probeChannel = "errand:probe"
	// maxTags is how many hash tags are tried to find one for each master of a
	// cluster.
	maxTags = 512
)

// prefixes are those of all keys: records, asynq's, logins, limits.
var prefixes = []string{"errand:", "asynq:", "tok:", "limit:"}

// probeID is part of the keys of this process's probes.
var probeID = strings.ToLower(rand.Text()[:8])

// probe writes a key, sets it again in a script, and publishes, which is what
// enqueueing and running a task needs.
var probe = redis.NewScript(`
redis.call('SET', KEYS[1], '', 'PX', ARGV[1])
return redis.call('PUBLISH', ARGV[2], '')
`)

// Writes reports whether Redis, or each master of a cluster, takes what a task
// needs: a write, a script and a message, under Errand's own keys and those of
// asynq. A Redis that answers may refuse them: it is full, or forbids them to the
// user.
func Writes(ctx context.Context, rdb redis.UniversalClient) Finding {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		client := rdb.(*redis.Client)
		return writes(client, probeOn(ctx, client, probeID))
	}
	tags := clusterTags(ctx, cluster)
	var mu sync.Mutex
	found := writes(nil, nil)
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		f := writes(c, probeOn(ctx, c, tags[c.Options().Addr]))
		mu.Lock()
		defer mu.Unlock()
		if f.Level == Fail {
			found = f
		}
		return nil
	})
	if err != nil {
		return writes(nil, err)
	}
	return found
}

// clusterTags returns a hash tag of each master, by its address.
func clusterTags(ctx context.Context, cluster *redis.ClusterClient) map[string]string {
	tags := map[string]string{}
	for i := range maxTags {
		tag := fmt.Sprintf("%s-%d", probeID, i)
		master, err := cluster.MasterForKey(ctx, "{"+tag+"}")
		if err != nil {
			return tags
		}
		if _, known := tags[master.Options().Addr]; !known {
			tags[master.Options().Addr] = tag
		}
	}
	return tags
}

// probeOn probes one server. tag is a hash tag of it; without one, as a master of
// a cluster without slots has none, nothing is probed.
func probeOn(ctx context.Context, c *redis.Client, tag string) error {
	if tag == "" {
		return nil
	}
	own := "errand:probe:{" + tag + "}"
	keys := []string{own}
	for _, prefix := range prefixes[1:] {
		keys = append(keys, prefix+"{"+tag+"}:probe")
	}
	_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			p.Set(ctx, key, "", probeTTL)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return probe.Run(ctx, c, []string{own}, probeTTL.Milliseconds(), probeChannel).Err()
}

// refusedWrites are why a Redis that answers takes no writes, by the error's code.
var refusedWrites = map[string]diagnosis{
	redisconn.CodeFull: {
		"it is full (maxmemory): no task can be stored",
		"raise maxmemory, or delete what else is stored there: redis-cli INFO memory",
	},
	redisconn.CodeReadOnly: {
		"it is a replica, which takes no writes",
		"name its master in REDIS_URL, or use redis-sentinel://",
	},
	redisconn.CodeNoReplicas: {
		"it has fewer replicas than min-replicas-to-write demands",
		"start the replicas, or: redis-cli CONFIG SET min-replicas-to-write 0",
	},
	redisconn.CodeNotSaving: {
		"it cannot save to disk, so it refuses to write",
		"free disk space on the Redis host and read its log",
	},
	redisconn.CodeBusy: {
		"a script of another client keeps it busy",
		"redis-cli SCRIPT KILL",
	},
}

// writes is the finding about a probe of c that ended with err.
func writes(c *redis.Client, err error) Finding {
	if err == nil {
		return Finding{OK, Writable, "takes writes, scripts and messages", ""}
	}
	code := redisconn.Code(err)
	d, known := refusedWrites[code]
	switch {
	case known:
	case code == redisconn.CodeNoPermission:
		d = forbidden(c, err)
	case redisconn.Unreachable(err):
		d = diagnosis{"no answer from Redis", diagnose(err).fix}
	default:
		d = diagnosis{
			"it refuses what a task needs: a write, a script or a message",
			"run the commands SET, EVAL and PUBLISH with redis-cli as the user of REDIS_URL, and read the answer",
		}
	}
	return Finding{Fail, Writable, d.seen, d.fix}
}

// forbidden says what an ACL forbids to the user of c.
func forbidden(c *redis.Client, err error) diagnosis {
	user := "default"
	if c != nil && c.Options().Username != "" {
		user = c.Options().Username
	}
	what, rule := "commands", "+@all"
	switch text := err.Error(); {
	case strings.Contains(text, "channel"):
		what, rule = "channels", "resetchannels &errand:* &asynq:*"
	case strings.Contains(text, " key"):
		what, rule = "keys", "resetkeys ~"+strings.Join(prefixes, "* ~")+"*"
	}
	return diagnosis{
		"the user lacks permissions: " + what,
		"redis-cli ACL SETUSER " + user + " " + rule + ", and the same in the ACL file",
	}
}

// Err is nil unless the check has failed. Its text includes the fix.
func (f Finding) Err() error {
	if f.Level != Fail {
		return nil
	}
	return errors.New(f.Seen + "; " + f.Fix)
}
