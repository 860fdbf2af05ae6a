package admission

import "errand.internal/internal/redisscript"

// The scripts share their keys:
//
//	KEYS[1] s  state: hash of
//	           tat     when the bucket is full again (the virtual time of a GCRA)
//	           closed  until when nobody goes, by the vendor's word
//	           took    how long calls take, about
//	           seq     numbers those who join the line
//	           policy  the settings by which the line was told
//	KEYS[2] q  the line in its order: task -> number
//	KEYS[3] t  what each in the line was told: task -> when to come
//	KEYS[4] p  permits: nonce -> end of its lease
//
// Every script may run twice: the client repeats a command whose reply was lost.
const limitPrelude = storePrelude + `
-- All keys end together, an hour after what is ahead.
local function keep(...)
  local last = math.max(now, num(redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2]), ...)
  for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], text((last - now) / 1000 + 3600000)) end
end
`

// acquireScript: ARGV[2] interval and [3] slack of the bucket (0: no rate), [4]
// permits (0: no end of them), [5] policy, [6] nonce, [7] lease, [8] task (or
// empty), [9] under way (1/0), [10] patience, [11] horizon.
//
// go, after a wait | soon: ask again after a wait | wait, with the reason.
var acquireScript = redisscript.New(limitPrelude, `
local interval, slack, most, patience = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[10])
local task, underway = ARGV[8], ARGV[9] == '1'
local s = redis.call('HMGET', KEYS[1], 'tat', 'closed', 'took', 'policy')
local tat, closed, took = num(s[1]), num(s[2]), num(s[3] or '200000')
if s[4] and s[4] ~= ARGV[5] then
  redis.call('UNLINK', KEYS[2], KEYS[3])
  tat = math.min(tat, now + slack + interval) -- a slow rate that was a mistake ends at once, with an empty bucket
end

local used = 0
if most > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', text(now))
  used = redis.call('ZCARD', KEYS[4])
  if redis.call('ZSCORE', KEYS[4], ARGV[6]) then used = used - 1 end -- the reply was lost
end
local full = most > 0 and used >= most

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now - 60000000), 'LIMIT', 0, 100)) do
  redis.call('ZREM', KEYS[2], gone) -- a minute late: it does not come any more
  redis.call('ZREM', KEYS[3], gone)
end
local rank, mine = false, false
if task ~= '' then rank = redis.call('ZRANK', KEYS[2], task) end
if rank then mine = num(redis.call('ZSCORE', KEYS[3], task)) <= now end
local due = redis.call('ZCOUNT', KEYS[3], '-inf', text(now))
local ahead = rank or redis.call('ZCARD', KEYS[2])
if underway then
  ahead = 0
elseif not rank then
  patience = math.min(patience, 500000) -- who waits here takes a worker's slot from other accounts
end

local free = math.max(now, tat - slack, closed) -- when the bucket has one
local function save()
  redis.call('HSET', KEYS[1], 'tat', text(tat), 'policy', ARGV[5])
  keep(tat, closed)
end
-- The first in line; or what is left now, for whom it is time or where it is
-- time for nobody; or nobody takes anything though there is a line.
local may = ahead == 0 or (free <= now and (mine or due == 0)) or (tat <= now and used == 0 and closed <= now)
if may and not full and free - now <= patience and (most == 0 or free <= now) then
  if interval > 0 then tat = math.max(tat, free) + interval end
  if rank then
    redis.call('ZREM', KEYS[2], task)
    redis.call('ZREM', KEYS[3], task)
  end
  if most > 0 then redis.call('ZADD', KEYS[4], text(now + tonumber(ARGV[7])), ARGV[6]) end
  save()
  return {'go', text(free - now)}
end

local why = 'rate'
if closed > now then
  why = 'closed'
elseif full or (most > 0 and took / most > interval) then
  why = 'concurrency'
end
local at = free + ahead * interval
if most > 0 and (full or ahead > 0) then
  -- Nobody knows when a call ends. Who is told too late leaves a permit unused, so
  -- it is rather too early; and who is next looks often.
  local soon = (ahead + 1) * took / most * 0.75
  if ahead < most then soon = math.min(soon, 100000) end
  at = math.max(at, free + math.max(soon, 10000))
end
if not rank and task ~= '' and at - now <= tonumber(ARGV[11]) then
  redis.call('ZADD', KEYS[2], underway and '0' or text(redis.call('HINCRBY', KEYS[1], 'seq', 1)), task)
  rank = true
end
if rank then redis.call('ZADD', KEYS[3], text(at), task) end
save()
if at - now <= patience then return {'soon', text(at - now)} end
return {'wait', text(at - now), why}`)

// releaseScript: ARGV[2] nonce, [3] how long the call took (0: it was not made).
var releaseScript = redisscript.New(limitPrelude, `
redis.call('ZREM', KEYS[4], ARGV[2])
local new = tonumber(ARGV[3])
if new > 0 then
  local took = num(redis.call('HGET', KEYS[1], 'took') or ARGV[3])
  redis.call('HSET', KEYS[1], 'took', text(took + (new - took) / 4))
end
return {'1'}`)

// pauseScript: ARGV[2] how long nobody goes.
var pauseScript = redisscript.New(limitPrelude, `
local over = now + tonumber(ARGV[2])
local s = redis.call('HMGET', KEYS[1], 'closed', 'tat')
if over > num(s[1]) then
  redis.call('HSET', KEYS[1], 'closed', text(over))
  keep(over, num(s[2]))
end
return {'1'}`)

// limitStateScript reads and changes nothing: how long it is closed, how many stand
// in line, how many calls are under way.
var limitStateScript = redisscript.New(limitPrelude, `
return {
  text(math.max(num(redis.call('HGET', KEYS[1], 'closed')) - now, 0)),
  text(redis.call('ZCARD', KEYS[2])),
  text(redis.call('ZCOUNT', KEYS[4], text(now), '+inf')),
}`)

// takeScript: a recipient's place. KEYS[1] is a set task -> when it sent. ARGV[2]
// task, [3] how many, [4] in what time.
//
// 1, or 0 with the time until there is a place again.
var takeScript = redisscript.New(storePrelude, `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', text(now - tonumber(ARGV[4])))
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
  return {'0', text(tonumber(first[2]) + tonumber(ARGV[4]) - now)}
end
redis.call('ZADD', KEYS[1], text(now), ARGV[2])
redis.call('PEXPIRE', KEYS[1], text(tonumber(ARGV[4]) / 1000 + 1000))
return {'1'}`)

// freeScript: ARGV[2] task.
var freeScript = redisscript.New(`
redis.call('ZREM', KEYS[1], ARGV[2])
return {'1'}`)
