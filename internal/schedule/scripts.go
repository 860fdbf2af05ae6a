package schedule

import "github.com/redis/go-redis/v9"

// A schedule's hash, errand:schedule:{name}:
//
//	spec      timing of the schedule that last is about
//	last      last slot that was enqueued as a whole, Unix s
//	finished  when that was, Unix ms
//	slot      slot under way, if there is one; with it:
//	owner     who enqueues it
//	until     end of the owner's lease, Unix ms; 0 if it was given back
//	begun     when the slot was begun, Unix ms
//	done      how many of its subjects are in the queue for sure
//	digest    of the schedule that done is about
const (
	// leaseMS is how long a worker that died holds a slot back. With the slot's
	// own work it stays below grace, so that the slot is still on time.
	leaseMS = 1000
	// A last slot further ahead than this comes from a clock that was set back.
	aheadMS = 60_000
	// A schedule that nobody runs is forgotten after at least this long.
	keepMS = 31 * 24 * 3600 * 1000
)

// Redis time in milliseconds, the only clock there is.
const luaNow = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

// enterScript is asked when a worker starts to run a schedule. A new one, or one
// with another timing, begins with the next slot.
//
// KEYS: schedule
// ARGV: spec, keep ms, ahead ms
//
// Returns {now, last}.
var enterScript = redis.NewScript(luaNow + `
local h = redis.call('HMGET', KEYS[1], 'last', 'spec')
local last = tonumber(h[1] or '')
if not last or h[2] ~= ARGV[1] or last * 1000 > now + tonumber(ARGV[3]) then
  last = math.floor(now / 1000)
  redis.call('HSET', KEYS[1], 'last', last, 'spec', ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {now, last}
`)

// lookScript reads the clock and the last slot (-1 if there is none).
var lookScript = redis.NewScript(luaNow + `
return {now, tonumber(redis.call('HGET', KEYS[1], 'last') or '-1')}
`)

// beginScript asks for a slot.
//
// KEYS: schedule
// ARGV: slot, owner, lease ms, digest, keep ms, ahead ms
//
// Returns {verdict, now, last, done, begun, dropped, wait, finished}. verdict is begun or
// resumed (it is the caller's: done subjects are enqueued already), held
// (somebody else's for wait ms), done, early, or lost (Redis has forgotten the
// schedule: enter again). dropped is a slot that somebody began and nobody will
// end, 0 if there is none; finished is when the slot before was, 0 if never.
var beginScript = redis.NewScript(luaNow + `
local h = redis.call('HMGET', KEYS[1], 'last', 'slot', 'owner', 'until', 'done', 'digest', 'begun', 'finished')
local last = tonumber(h[1] or '')
if not last or last * 1000 > now + tonumber(ARGV[6]) then return {'lost', now, 0, 0, 0, 0, 0, 0} end
local slot = tonumber(ARGV[1])
if slot <= last then return {'done', now, last, 0, 0, 0, 0, 0} end
if slot * 1000 > now then return {'early', now, last, 0, 0, 0, 0, 0} end
local left = tonumber(h[4] or '0') - now
if h[3] and h[3] ~= ARGV[2] and left > 0 then return {'held', now, last, 0, 0, 0, left, 0} end
local verdict, done, begun, dropped = 'begun', 0, now, 0
local under = tonumber(h[2] or '')
if under == slot then
  verdict, begun = 'resumed', tonumber(h[7])
  if h[6] == ARGV[4] then done = tonumber(h[5]) end
elseif under and under > last then
  dropped = under
end
redis.call('HSET', KEYS[1], 'slot', slot, 'owner', ARGV[2], 'until', now + tonumber(ARGV[3]), 'done', done, 'digest', ARGV[4], 'begun', begun)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {verdict, now, last, done, begun, dropped, 0, tonumber(h[8] or '0')}
`)

// renewScript notes how far the slot is, and renews the lease.
//
// KEYS: schedule
// ARGV: slot, owner, lease ms, done
//
// Returns 1, or 0 if the slot is somebody else's by now.
var renewScript = redis.NewScript(luaNow + `
local h = redis.call('HMGET', KEYS[1], 'slot', 'owner')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'until', now + tonumber(ARGV[3]), 'done', ARGV[4])
return 1
`)

// finishScript says that a slot is in the queue as a whole, whoever holds it.
//
// KEYS: schedule
// ARGV: slot, keep ms
//
// Returns {first, now, last}; first is 0 if it was known.
var finishScript = redis.NewScript(luaNow + `
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
local slot = tonumber(ARGV[1])
local first = 0
if slot > last then
  first, last = 1, slot
  redis.call('HSET', KEYS[1], 'last', slot, 'finished', now)
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if redis.call('HGET', KEYS[1], 'slot') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'slot', 'owner', 'until', 'done', 'digest', 'begun')
end
return {first, now, last}
`)

// releaseScript gives a slot back before it is finished.
//
// KEYS: schedule
// ARGV: owner
var releaseScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('HSET', KEYS[1], 'until', 0) end
return 1
`)

// leaveScript is asked when a schedule was taken out of the file: should it
// come back, it is a new one.
//
// KEYS: schedule
var leaveScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'spec', '') end
return 1
`)
