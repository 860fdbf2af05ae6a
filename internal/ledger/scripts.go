package ledger

import "github.com/redis/go-redis/v9"

// Redis time in milliseconds, the only clock of the ledger.
const luaNow = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

// A fence is a number and a nonce; the number rises with each claim.
const luaOlder = `
local function number(fence) return tonumber(string.match(fence, '^%d+')) end
local function older(a, b) return number(a) < number(b) end
`

// createScript writes a new record, unless the producer's key is taken.
//
// KEYS: task record, salt, key record (the task record again if there is no
// key), sequence, trail, who is alone (the task record again if it need not be)
// ARGV: id, type, salt, payload digest, has key, not before (ms; 0: from delay),
// delay ms, usable ms, key life ms, spare ms, notify, subject of the trail (or
// empty), must be alone, what the keys of tasks in the queue begin with, not
// later than (ms; 0: at any time)
//
// Returns {verdict, id, created, due, expires, started, outcome}; verdict is
// created, duplicate, conflict, overlap, late, or salt (then id holds the right
// salt).
var createScript = redis.NewScript(luaNow + `
if ARGV[5] == '1' or ARGV[13] == '1' then
  local salt = redis.call('GET', KEYS[2])
  if not salt then
    redis.call('SET', KEYS[2], ARGV[3])
  elseif salt ~= ARGV[3] then
    return {'salt', salt}
  end
end
if ARGV[5] == '1' then
  local old = redis.call('HMGET', KEYS[3], 'id', 'digest', 'outcome')
  if old[1] and old[1] ~= ARGV[1] then
    if old[2] and old[2] ~= ARGV[4] then return {'conflict', old[1]} end -- no digest: written by a worker, see finishScript
    local task = string.gsub(KEYS[1], '[^:]*$', '') .. old[1]
    local r = redis.call('HMGET', task, 'created', 'due', 'expires', 'fence', 'outcome')
    local started = '0'
    if not r[1] or r[4] ~= '0' then started = '1' end
    return {'duplicate', old[1], r[1] or '0', r[2] or '0', r[3] or '0', started, r[5] or old[3] or ''}
  end
end
local had = redis.call('HMGET', KEYS[1], 'created', 'due', 'expires')
if had[1] then return {'created', ARGV[1], had[1], had[2], had[3], '0', ''} end -- the reply was lost, go-redis asked again
if ARGV[15] ~= '0' and now > tonumber(ARGV[15]) then return {'late', ''} end
if ARGV[13] == '1' then
  local other = redis.call('GET', KEYS[6])
  if other then
    local r = redis.call('HMGET', (string.gsub(KEYS[1], '[^:]*$', '')) .. other, 'state', 'outcome', 'expires', 'claim_until')
    -- One whose time is up and that is not in the queue has never got there, and nobody will end it.
    if r[1] and not r[2] and (tonumber(r[3] or '0') > now or tonumber(r[4] or '0') > now
      or ARGV[14] == '' or redis.call('EXISTS', ARGV[14] .. other) == 1) then return {'overlap', other} end
  end
end
local due = tonumber(ARGV[6])
if due == 0 then due = now + tonumber(ARGV[7]) end
if due < now then due = now end
local expires = due + tonumber(ARGV[8])
local state = 'pending'
if due > now then state = 'scheduled' end
redis.call('HSET', KEYS[1], 'type', ARGV[2], 'state', state, 'created', now, 'due', due, 'expires', expires, 'fence', 0, 'attempts', 0,
  'seq', redis.call('INCR', KEYS[4]))
if ARGV[12] ~= '' then
  redis.call('HSET', KEYS[1], 'trail', KEYS[5])
  redis.call('XADD', KEYS[5], 'MAXLEN', '~', 1000000, '*', 'id', ARGV[1], 'type', ARGV[2], 'event', 'asked', 'subject', ARGV[12], 'due', due)
  redis.call('ZADD', KEYS[5] .. ':open', due, ARGV[1])
end
if ARGV[11] == '1' then redis.call('HSET', KEYS[1], 'notify', 1) end
if ARGV[13] == '1' then
  redis.call('HSET', KEYS[1], 'alone', KEYS[6])
  redis.call('SET', KEYS[6], ARGV[1], 'PX', expires + tonumber(ARGV[10]) - now)
end
redis.call('PEXPIREAT', KEYS[1], expires + tonumber(ARGV[10]))
if ARGV[5] == '1' then
  redis.call('HSET', KEYS[1], 'key', KEYS[3])
  redis.call('HSET', KEYS[3], 'id', ARGV[1], 'digest', ARGV[4], 'until', due + tonumber(ARGV[9]))
  redis.call('PEXPIREAT', KEYS[3], math.max(due + tonumber(ARGV[9]), expires + tonumber(ARGV[10])))
end
return {'created', ARGV[1], tostring(now), tostring(due), tostring(expires), '0', ''}
`)

// beginScript claims the task for one attempt.
//
// KEYS: task record, intent record (the task record again if there is none)
// ARGV: owner, claim ms, repeatable, expires ms (the header's), type, owner
// known to be dead, nonce, id, role (opens, closes or empty), findable
//
// Returns {verdict, fence, attempts, now, due, key, outcome, code, message,
// reconfirm, doubt}. With go, abandoned, crashed, expired, superseded and lost the
// claim is taken; with ended, busy (fence holds the ms to wait, key the owner)
// and early (fence holds the ms) it is not. go-redis asks again when a reply was lost; the nonce makes it the
// same claim with the same verdict.
var beginScript = redis.NewScript(luaNow + `
local r = redis.call('HMGET', KEYS[1], 'state', 'outcome', 'owner', 'claim_until', 'fence', 'attempts', 'due', 'key', 'code', 'message', 'nonce', 'verdict',
  'seq', 'reconfirm', 'doubt', 'parked')
if r[3] and r[11] == ARGV[7] then
  redis.call('HSET', KEYS[1], 'claim_until', now + tonumber(ARGV[2]))
  return {r[12], r[5], r[6], tostring(now), r[7], r[8] or '', '', '', '', r[14] or '', r[15] or ''}
end
r[6], r[7] = r[6] or '0', r[7] or tostring(now)
local seq, doubt, verdict = tonumber(r[13] or '0'), r[15] or '', 'go'
if not r[1] then
  verdict = 'lost'
  if ARGV[10] == '1' then doubt = '0' end
  redis.call('HSET', KEYS[1], 'type', ARGV[5], 'created', now, 'due', now, 'expires', ARGV[4], 'attempts', 0)
  redis.call('PEXPIREAT', KEYS[1], math.max(now, tonumber(ARGV[4])) + 86400000)
elseif r[2] then
  return {'ended', r[5], r[6], tostring(now), r[7], '', r[2], r[9] or '', r[10] or ''}
elseif r[3] then
  local left = tonumber(r[4]) - now
  if left > 0 and r[3] ~= ARGV[6] then return {'busy', tostring(left), r[6], tostring(now), r[7], r[3]} end
  if ARGV[10] == '1' then
    doubt = '0'
  elseif ARGV[3] ~= '1' then
    verdict = 'abandoned'
  end
  if redis.call('HINCRBY', KEYS[1], 'crashes', 1) >= 3 and verdict == 'go' then verdict = 'crashed' end
elseif tonumber(r[7]) - now > 1000 then
  return {'early', tostring(tonumber(r[7]) - now), r[6], tostring(now), r[7], ''}
end
if verdict == 'go' and now >= tonumber(ARGV[4]) then verdict = 'expired' end
local reconfirm = ''
if ARGV[9] ~= '' and verdict == 'go' then
  local i = redis.call('HMGET', KEYS[2], 'runner', 'until', 'closed', 'unsure')
  if i[1] and i[1] ~= ARGV[8] and tonumber(i[2]) > now then
    return {'busy', tostring(math.min(tonumber(i[2]) - now, 1000)), r[6], tostring(now), r[7], ''} -- the other runs; it ends soon
  end
  if ARGV[9] == 'opens' and tonumber(i[3] or '0') > seq then
    verdict = 'superseded'
  else
    redis.call('HSET', KEYS[2], 'runner', ARGV[8], 'until', now + tonumber(ARGV[2]))
    redis.call('HSET', KEYS[1], 'intent', KEYS[2], 'role', ARGV[9])
    if ARGV[9] == 'closes' then
      redis.call('HSET', KEYS[2], 'closed', math.max(seq, tonumber(i[3] or '0')))
      if i[4] and tonumber(i[4]) < seq then reconfirm = '1' end
    end
    redis.call('PEXPIRE', KEYS[2], 7776000000) -- 90 days, longer than any budget
  end
end
if r[16] then
  redis.call('SREM', r[16], ARGV[8])
  redis.call('HDEL', KEYS[1], 'parked')
end
-- The nonce goes with the number: a record that was lost begins to count anew.
local fence = tostring(tonumber(string.match(r[5] or '0', '^%d+')) + 1) .. '.' .. ARGV[7]
redis.call('HSET', KEYS[1], 'state', 'running', 'fence', fence, 'owner', ARGV[1], 'claim_until', now + tonumber(ARGV[2]), 'nonce', ARGV[7],
  'verdict', verdict, 'reconfirm', reconfirm, 'doubt', doubt)
return {verdict, fence, r[6] or '0', tostring(now), r[7] or tostring(now), r[8] or '', '', '', '', reconfirm, doubt}
`)

// finishScript writes what became of the claimed attempt.
//
// KEYS: task record, key record (the task record again if there is none), set
// of tasks parked for the same reason (likewise), dead letters, notices to send
// ARGV: id, fence, attempt (JSON or empty), counted, state, outcome, code,
// message, data, keep ms, free the key, wait ms, done channel, dead letters
// kept (0: it is none), type, the vendor confirmed a closing, doubt (or empty),
// tell of it as a dead letter
//
// A record that knows a smaller fence is older than the claim: Redis has
// forgotten that. What came of the claim is written all the same, unless somebody
// runs the task again and this is not its end.
//
// Returns 1 if it was written, 0 if the claim was somebody else's by then.
var finishScript = redis.NewScript(luaNow + luaOlder + `
local r = redis.call('HMGET', KEYS[1], 'fence', 'outcome', 'finished', 'trail', 'intent', 'role', 'seq', 'log', 'attempts', 'notify', 'alone', 'owner')
if r[3] == ARGV[2] then return 1 end -- the reply was lost, go-redis asked again
if r[2] or (r[1] and r[1] ~= ARGV[2] and not (older(r[1], ARGV[2]) and (not r[12] or ARGV[6] ~= ''))) then return 0 end
local log = tonumber(r[8] or '0')
local set = {'state', ARGV[5], 'fence', ARGV[2], 'finished', ARGV[2], 'doubt', ARGV[17], 'code', ARGV[7], 'message', ARGV[8]}
local function add(name, value) set[#set + 1] = name; set[#set + 1] = value end
if not r[1] then -- the record was lost meanwhile: what we know is still worth a day
  add('type', ARGV[15])
  add('created', now)
  add('due', now)
end
if ARGV[3] ~= '' then
  log = log + 1
  add('log', log)
  add('a' .. log, ARGV[3])
end
if ARGV[4] == '1' then add('attempts', tonumber(r[9] or '0') + 1) end
if ARGV[6] == '' then
  add('next', now + tonumber(ARGV[12]))
  if KEYS[3] ~= KEYS[1] then add('parked', KEYS[3]) end
else
  add('outcome', ARGV[6])
  add('ended', now)
  if ARGV[9] ~= '' then add('data', ARGV[9]) end
end
redis.call('HSET', KEYS[1], unpack(set))
redis.call('HDEL', KEYS[1], 'owner', 'claim_until', 'nonce', 'verdict')
if not r[1] then redis.call('PEXPIRE', KEYS[1], 86400000) end
if r[4] and (ARGV[3] ~= '' or ARGV[6] ~= '') then
  local event = 'attempt'
  if ARGV[6] ~= '' then event = 'ended' end
  redis.call('XADD', r[4], '*', 'id', ARGV[1], 'type', ARGV[15], 'event', event, 'outcome', ARGV[6], 'code', ARGV[7], 'message', ARGV[8])
  if ARGV[6] == 'done' or ARGV[6] == 'cancelled' then redis.call('ZREM', r[4] .. ':open', ARGV[1]) end
end
if r[5] and redis.call('HGET', r[5], 'runner') == ARGV[1] then
  redis.call('HDEL', r[5], 'runner', 'until')
  if r[6] == 'opens' and ARGV[6] == 'unknown' then redis.call('HSET', r[5], 'unsure', r[7]) end
  if r[6] == 'closes' and ARGV[16] == '1' then redis.call('HDEL', r[5], 'unsure') end
end
if ARGV[6] == '' then
  if KEYS[3] ~= KEYS[1] then redis.call('SADD', KEYS[3], ARGV[1]) end
  return 1
end
if ARGV[14] ~= '0' then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[14], '*', 'id', ARGV[1], 'type', ARGV[15], 'outcome', ARGV[6], 'code', ARGV[7],
    'message', ARGV[8], 'attempts', log)
end
redis.call('PEXPIRE', KEYS[1], ARGV[10])
local tell = ''
if r[10] then tell = 'finished' end
if ARGV[18] == '1' then tell = tell .. ' dead' end
if tell ~= '' and redis.call('HLEN', KEYS[5]) < 100000 then
  redis.call('HSET', KEYS[5], ARGV[1], cjson.encode({type = ARGV[15], outcome = ARGV[6], code = ARGV[7], message = ARGV[8], attempts = log, ended = now, tell = tell}))
end
if r[11] and redis.call('GET', r[11]) == ARGV[1] then redis.call('DEL', r[11]) end
if not r[1] and KEYS[2] ~= KEYS[1] and ARGV[11] ~= '1' and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('HSET', KEYS[2], 'id', ARGV[1]) -- the key was lost, too
  redis.call('PEXPIRE', KEYS[2], 604800000)
end
if KEYS[2] ~= KEYS[1] and redis.call('HGET', KEYS[2], 'id') == ARGV[1] then
  if ARGV[11] == '1' then
    redis.call('DEL', KEYS[2])
  else
    redis.call('HSET', KEYS[2], 'outcome', ARGV[6])
    local kept = redis.call('HGET', KEYS[2], 'until') -- while the task was under way it may have been kept longer
    if kept then redis.call('PEXPIREAT', KEYS[2], kept) end
  end
end
redis.call('PUBLISH', ARGV[13], ARGV[6])
return 1
`)

// recallScript writes a claim that Redis has forgotten: the record is older than
// the claim, and nobody has the task.
//
// KEYS: task record
// ARGV: fence, owner, claim ms, nonce, verdict, doubt, type, expires ms
//
// Returns 1 if the claim stands now.
var recallScript = redis.NewScript(luaNow + luaOlder + `
local r = redis.call('HMGET', KEYS[1], 'fence', 'outcome', 'owner')
if r[1] == ARGV[1] then return 1 end
if r[2] or r[3] or (r[1] and not older(r[1], ARGV[1])) then return 0 end
if not r[1] then
  redis.call('HSET', KEYS[1], 'type', ARGV[7], 'created', now, 'due', now, 'expires', ARGV[8], 'attempts', 0)
  redis.call('PEXPIREAT', KEYS[1], math.max(now, tonumber(ARGV[8])) + 86400000)
end
redis.call('HSET', KEYS[1], 'state', 'running', 'fence', ARGV[1], 'owner', ARGV[2], 'claim_until', now + tonumber(ARGV[3]), 'nonce', ARGV[4],
  'verdict', ARGV[5], 'doubt', ARGV[6])
return 1
`)

// cancelScript ends a task that was never attempted.
//
// KEYS: task record, key record (the task record again if there is none),
// notices to send
// ARGV: id, keep ms, done channel
//
// Returns cancelled, gone (no such record), or the state that forbids it.
var cancelScript = redis.NewScript(luaNow + `
local r = redis.call('HMGET', KEYS[1], 'state', 'outcome', 'owner', 'log', 'trail', 'type', 'notify', 'alone', 'crashes', 'doubt')
if not r[1] then return 'gone' end
if r[2] then return r[2] end
-- One whose worker died has been tried, though nobody could note how.
if r[3] or r[4] or r[9] or (r[10] and r[10] ~= '') then return r[1] end
redis.call('HSET', KEYS[1], 'state', 'ended', 'outcome', 'cancelled', 'ended', now, 'code', '', 'message', 'cancelled before it was attempted')
redis.call('HDEL', KEYS[1], 'next')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
if KEYS[2] ~= KEYS[1] and redis.call('HGET', KEYS[2], 'id') == ARGV[1] then redis.call('DEL', KEYS[2]) end
if r[5] then
  redis.call('XADD', r[5], '*', 'id', ARGV[1], 'type', r[6], 'event', 'ended', 'outcome', 'cancelled')
  redis.call('ZREM', r[5] .. ':open', ARGV[1])
end
if r[8] and redis.call('GET', r[8]) == ARGV[1] then redis.call('DEL', r[8]) end
if r[7] and redis.call('HLEN', KEYS[3]) < 100000 then
  redis.call('HSET', KEYS[3], ARGV[1], cjson.encode({type = r[6], outcome = 'cancelled', message = 'cancelled before it was attempted', attempts = 0, ended = now}))
end
redis.call('PUBLISH', ARGV[3], 'cancelled')
return 'cancelled'
`)
