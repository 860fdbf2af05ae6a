package schedule

import "github.com/redis/go-redis/v9"

// A schedule's hash, errand:schedule:{name}:
//
//	spec      timing of the schedule to which last belongs
//	last      last slot that was enqueued completely, Unix s
//	finished  when that was, Unix ms
//	missed    number of slots that were missed when last there were some, and
//	resumed   when the slot after them was begun, Unix ms
//	slot      slot in progress, if any; with it:
//	owner     runner that enqueues it
//	until     end of the owner's lease, Unix ms; 0 if it was released
//	begun     when the slot was begun, Unix ms
//	done      number of its subjects that are certainly in the queue
//	digest    of the schedule to which done belongs
const (
	// leaseMS is how long a worker that died blocks a slot. Together with the time
	// to enqueue the slot it stays below grace, so that the slot is still on time.
	leaseMS = 1000
	// maxAheadMS is how far the last slot may be in the future: a later one comes
	// from a clock that was set back.
	maxAheadMS = 60_000
	// minTTLMS is the least time for which Redis keeps the state of a schedule that
	// no worker runs.
	minTTLMS = 31 * 24 * 3600 * 1000
)

// luaNow sets now to Redis's time in milliseconds.
const luaNow = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

// registerScript runs when a worker starts to run a schedule. A new schedule, or
// one with another timing, begins with the next slot.
//
// KEYS: schedule
// ARGV: spec, TTL ms, max ahead ms
//
// Returns {now, last}.
var registerScript = redis.NewScript(luaNow + `
local h = redis.call('HMGET', KEYS[1], 'last', 'spec')
local last = tonumber(h[1] or '')
if not last or h[2] ~= ARGV[1] or last * 1000 > now + tonumber(ARGV[3]) then
  last = math.floor(now / 1000)
  redis.call('HSET', KEYS[1], 'last', last, 'spec', ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {now, last}
`)

// readScript reads the clock and the last slot (-1 if there is none).
var readScript = redis.NewScript(luaNow + `
return {now, tonumber(redis.call('HGET', KEYS[1], 'last') or '-1')}
`)

// beginScript requests the lease of a slot.
//
// KEYS: schedule
// ARGV: slot, owner, lease ms, digest, TTL ms, max ahead ms
//
// Returns {status, now, last, done, begun, abandoned, wait, finished}. status is
// begun or resumed (the caller has the lease; done subjects are enqueued already),
// held (by another owner, for wait ms), done, early, or lost (Redis has lost the
// schedule's state: register again). abandoned is an older slot that was begun and
// will not be finished, 0 if there is none; finished is when the previous slot
// was, 0 if never.
var beginScript = redis.NewScript(luaNow + `
local h = redis.call('HMGET', KEYS[1], 'last', 'slot', 'owner', 'until', 'done', 'digest', 'begun', 'finished')
local last = tonumber(h[1] or '')
if not last or last * 1000 > now + tonumber(ARGV[6]) then return {'lost', now, 0, 0, 0, 0, 0, 0} end
local slot = tonumber(ARGV[1])
if slot <= last then return {'done', now, last, 0, 0, 0, 0, 0} end
if slot * 1000 > now then return {'early', now, last, 0, 0, 0, 0, 0} end
local left = tonumber(h[4] or '0') - now
if h[3] and h[3] ~= ARGV[2] and left > 0 then return {'held', now, last, 0, 0, 0, left, 0} end
local status, done, begun, abandoned = 'begun', 0, now, 0
local current = tonumber(h[2] or '')
if current == slot then
  status, begun = 'resumed', tonumber(h[7])
  if h[6] == ARGV[4] then done = tonumber(h[5]) end
elseif current and current > last then
  abandoned = current
end
redis.call('HSET', KEYS[1],
  'slot', slot, 'owner', ARGV[2], 'until', now + tonumber(ARGV[3]),
  'done', done, 'digest', ARGV[4], 'begun', begun)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return {status, now, last, done, begun, abandoned, 0, tonumber(h[8] or '0')}
`)

// renewScript records the progress of a slot, and renews its lease.
//
// KEYS: schedule
// ARGV: slot, owner, lease ms, done
//
// Returns 1, or 0 if another owner has the lease by now.
var renewScript = redis.NewScript(luaNow + `
local h = redis.call('HMGET', KEYS[1], 'slot', 'owner')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'until', now + tonumber(ARGV[3]), 'done', ARGV[4])
return 1
`)

// finishScript records that a slot is enqueued completely, also if the caller has
// lost its lease.
//
// KEYS: schedule
// ARGV: slot, TTL ms, number of slots that were missed before it, when it was begun (ms)
//
// Returns {first, now, last}; first is 0 if that was already known.
var finishScript = redis.NewScript(luaNow + `
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or '0')
local slot = tonumber(ARGV[1])
local first = 0
if slot > last then
  first, last = 1, slot
  redis.call('HSET', KEYS[1], 'last', slot, 'finished', now)
  if ARGV[3] ~= '0' then redis.call('HSET', KEYS[1], 'missed', ARGV[3], 'resumed', ARGV[4]) end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
if redis.call('HGET', KEYS[1], 'slot') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'slot', 'owner', 'until', 'done', 'digest', 'begun')
end
return {first, now, last}
`)

// releaseScript gives up the lease of a slot before it is finished.
//
// KEYS: schedule
// ARGV: owner
var releaseScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('HSET', KEYS[1], 'until', 0) end
return 1
`)

// deregisterScript runs when a schedule was removed from the file: if it comes
// back, it is a new one.
//
// KEYS: schedule
var deregisterScript = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'spec', '') end
return 1
`)
