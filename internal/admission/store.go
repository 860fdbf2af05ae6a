package admission

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

// askTimeout bounds one question to Redis.
const askTimeout = time.Second

// storePrelude is the head of the scripts of a store that need the time or write numbers:
// ARGV[1] is the time, 0 for Redis' own. All times are in microseconds, which stay exact in
// Lua's numbers until the year 2255.
const storePrelude = `
local function num(x) return tonumber(x or '0') end
local function text(x) return string.format('%.0f', x) end
local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
`

// store is what Redis holds of one account or recipient.
type store struct {
	options
	rdb      redis.UniversalClient
	salt     *seal.Salt
	name     string
	identity []string
	suffixes []string // of the keys, in the order of the scripts
	keys     atomic.Pointer[storeKeys]
}

type storeKeys struct {
	salt string
	all  []string
}

func newStore(
	rdb redis.UniversalClient,
	salt *seal.Salt,
	name string,
	identity []string,
	opts []Option,
	suffixes ...string,
) store {
	return store{
		options:  newOptions(opts),
		rdb:      rdb,
		salt:     salt,
		name:     name,
		identity: identity,
		suffixes: suffixes,
	}
}

// run asks Redis once, for askTimeout at most. The first argument of the script is the time.
func (s *store) run(ctx context.Context, script *redisscript.Script, args ...any) (redisscript.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	salt, err := s.salt.Get(ctx)
	if err != nil {
		return nil, err
	}
	known := s.keys.Load()
	if known == nil || known.salt != string(salt) {
		known = &storeKeys{salt: string(salt), all: storeKeysOf(salt, s.name, s.identity, s.suffixes)}
		s.keys.Store(known)
	}
	reply, err := script.Run(ctx, s.rdb, known.all, append([]any{s.redisNow()}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("ask redis: %w", err)
	}
	return reply, nil
}

// storeKeysOf returns the keys of one account or recipient. The braces are the hash tag of
// Redis Cluster.
func storeKeysOf(salt []byte, name string, identity, suffixes []string) []string {
	digest := hex.EncodeToString(seal.HMAC(salt, "limit "+name, identity...)[:16])
	var keys []string
	for _, suffix := range suffixes {
		keys = append(keys, "limit:{"+withoutBraces(name)+":"+digest+"}:"+suffix)
	}
	return keys
}

func withoutBraces(name string) string {
	return strings.NewReplacer("{", "_", "}", "_").Replace(name)
}
