package admission

import (
	"context"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/redisscript"
)

// usersKept is how long a worker counts as a user after it said so last. Workers say so
// several times as often.
const usersKept = time.Minute

// Users are the workers that have lately used the credentials of one name.
type Users struct {
	// Same use this very credential, Others one with another secret or login.
	Same   []string
	Others []string
}

// announceScript: KEYS[1] the users of a profile's name, a sorted set of worker and
// fingerprint by time; ARGV member, prefix of the worker's other members, ms kept.
var announceScript = redisscript.New(redisscript.NowMillis, `
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, 1, #ARGV[2]) == ARGV[2] and member ~= ARGV[1] then redis.call('ZREM', KEYS[1], member) end
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`)

// usersScript: KEYS[1] as above; ARGV ms kept. Replies the members.
var usersScript = redisscript.New(redisscript.NowMillis, `
local found = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', now - ARGV[1]), '+inf')
return {#found, found}`)

// usersKey is the key of the users of a profile's name.
func (b *Breaker) usersKey() []string {
	return []string{"tok:{" + withoutBraces(b.profile.Name) + "}:w"}
}

// Announce says that a worker uses the profile. What it said before of another profile of
// the same name is forgotten.
func (b *Breaker) Announce(ctx context.Context, worker string) error {
	return b.ForOperator(ctx, func(keys *Keys) error {
		_, err := b.RunDirect(
			maxPatience,
			announceScript,
			b.usersKey(),
			worker+" "+keys.fingerprint,
			worker+" ",
			usersKept.Milliseconds(),
		)
		return err
	})
}

// Users lists the workers that have announced a profile of the same name lately.
func (b *Breaker) Users(ctx context.Context) (Users, error) {
	var users Users
	err := b.ForOperator(ctx, func(keys *Keys) error {
		reply, err := b.RunDirect(maxPatience, usersScript, b.usersKey(), usersKept.Milliseconds())
		if err != nil {
			return err
		}
		members := reply.List(1)
		for i := range members {
			worker, fingerprint, _ := strings.Cut(members.Text(i), " ")
			if fingerprint == keys.fingerprint {
				users.Same = append(users.Same, worker)
			} else {
				users.Others = append(users.Others, worker)
			}
		}
		slices.Sort(users.Same)
		slices.Sort(users.Others)
		return nil
	})
	return users, err
}
