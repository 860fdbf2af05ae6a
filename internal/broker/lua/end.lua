-- end writes what became of a claimed task, and moves asynq's task accordingly. It may
-- run twice, and it may meet a Redis that has forgotten the claim: then the record's
-- fence has a smaller number, or the same with another nonce. What came of the claim is
-- written all the same, unless another call may have left and this is not the end.
--
-- id, fence, type, once, created, due, expires: the claim
-- msg: asynq's task; left out if a foreign tool has deleted it
-- outcome; or wait (ms) and, for a parked task, parked (for what; '-' if not known)
-- attempt (JSON), counted, code, message, data
-- doubt: how often it was looked for; place: where the lookup broke off
-- confirmed: the vendor did what a closing asked
-- archived: the outcome is a dead letter; dead: how many are kept
-- keep: the key stays taken whatever the outcome; told: it is published as a dead letter
-- day, until: asynq's statistics
--
-- Returns 1 if it is written, 0 if the claim was another's by then.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = redis.call('HMGET', task, 'fence', 'outcome', 'finished', 'attempts', 'owner', 'seq', 'waiting', 'type', 'started',
  'first', 'parked')
local FENCE, OUTCOME, FINISHED, ATTEMPTS, OWNER, SEQ, WAITING, TYPE, STARTED, FIRST, PARKED = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
local redelivery, retention, ttl, flags, key, subject, role, alone = once(arg.once)
if r[FINISHED] == arg.fence then return 1 end -- the reply was lost
if r[OUTCOME] and not (r[FENCE] == arg.fence and r[OUTCOME] == arg.outcome) then return 0 end
if r[FENCE] and r[FENCE] ~= arg.fence then
  local idle = not r[OWNER] or (redelivery ~= '1' and not r[STARTED])
  if number(r[FENCE]) > number(arg.fence) or not (idle or arg.outcome) then return 0 end
end
if not r[TYPE] then rewrite(arg.id) end -- also if the record was lost meanwhile
local outcome, ended = arg.outcome, arg.outcome ~= nil

local set, gone = {'fence', arg.fence}, {'owner', 'verdict', 'started', 'reconfirm', 'abandoned'}
local function add(name, value) set[#set + 1] = name; set[#set + 1] = value end
local function drop(name) gone[#gone + 1] = name end
-- Most tasks have one attempt, which is short: a field of the record is cheaper than a
-- list. '-' says that the first one is in the list.
local inlist = r[FIRST]
if arg.attempt then
  if not r[FIRST] then
    inlist = #arg.attempt > 64
    add('first', inlist and '-' or arg.attempt)
  end
  if inlist then redis.call('RPUSH', R .. 'log:' .. arg.id, arg.attempt) end
end
if arg.counted then add('attempts', tonumber(r[ATTEMPTS] or '0') + 1) end
if arg.code then add('code', arg.code) else drop('code') end
if arg.message then add('message', arg.message) else drop('message') end
if arg.doubt then add('doubt', arg.doubt) else drop('doubt') end
if arg.place then add('place', arg.place) else drop('place') end
if r[PARKED] then -- before the claim that Redis has forgotten
  redis.call('SREM', R .. 'parked:' .. r[PARKED], arg.id)
  drop('parked')
end
if ended then
  add('outcome', outcome)
  add('ended', now)
  drop('next')
  drop('waiting')
else
  add('next', now + tonumber(arg.wait))
  if arg.parked then add('parked', arg.parked) end
end
redis.call('HDEL', task, unpack(gone))
redis.call('HSET', task, unpack(set))

-- count adds to asynq's statistics, of the day and in all.
local function count(name)
  local daily = A .. name .. ':' .. arg.day
  if redis.call('INCR', daily) == 1 then redis.call('EXPIREAT', daily, arg['until']) end
  local total = redis.pcall('INCR', A .. name)
  if type(total) == 'table' then redis.call('SET', A .. name, 1) end -- as asynq does at the largest number
end

local _, lock = unlist(arg.id)
local lifetime -- of the record, ms
if not arg.msg then
  lifetime = retention
elseif not ended then
  redis.call('ZADD', A .. 'retry', seconds(now + tonumber(arg.wait)), arg.id)
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'retry')
elseif arg.archived then
  redis.call('ZADD', A .. 'archived', math.floor(now / 1000), arg.id)
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'archived')
  -- Two at the most leave for one that comes, so the archive stays short and no
  -- script long. Their dead letters stay.
  local size = redis.call('ZCARD', A .. 'archived')
  local oldest = redis.call('ZRANGE', A .. 'archived', 0, 1, 'WITHSCORES')
  for i = 1, #oldest, 2 do
    if size > 5000 or tonumber(oldest[i + 1]) < now / 1000 - 7776000 then -- 90 days, as asynq
      redis.call('DEL', A .. 't:' .. oldest[i])
      redis.call('ZREM', A .. 'archived', oldest[i])
      redis.call('PEXPIRE', R .. 'task:' .. oldest[i], retention)
      size = size - 1
    end
  end
  count('processed')
  count('failed')
  lifetime = 7862400000 -- 91 days: longer than asynq keeps its copy
else
  redis.call('ZADD', A .. 'completed', math.floor((now + tonumber(retention)) / 1000), arg.id)
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'completed')
  count('processed')
  lifetime = retention + 3600000 -- asynq's janitor may be late
end
if ended and lock and redis.call('GET', lock) == arg.id then redis.call('DEL', lock) end

if string.find(flags, 'a') and (arg.attempt or ended) then
  redis.call('XADD', R .. 'audit', '*', 'id', arg.id, 'type', arg.type, 'event', ended and 'ended' or 'attempt',
    'outcome', outcome or '', 'code', arg.code or '', 'message', arg.message or '')
  if outcome == 'done' then
    redis.call('ZREM', R .. 'audit:open', arg.id)
    -- What is done for the subject confirms its earlier tasks that ended otherwise.
    local of = R .. 'audit:of:' .. subject
    for _, id in ipairs(subject ~= '-' and redis.call('SRANDMEMBER', of, 100) or {}) do
      local other = redis.call('HMGET', R .. 'task:' .. id, 'type', 'outcome')
      if id == arg.id or other[2] or not other[1] then
        redis.call('ZREM', R .. 'audit:open', id)
        redis.call('SREM', of, id)
      end
    end
  end
end
if subject ~= '-' then
  release(arg.id, subject)
  local intent = R .. 'intent:' .. subject
  if role == 'opens' and outcome == 'unknown' then redis.call('HSET', intent, 'unsure', r[SEQ] or 0) end
  if role == 'closes' and arg.confirmed then redis.call('HDEL', intent, 'unsure') end
  redis.call('PEXPIRE', intent, 347000000000) -- 11 years: a task may be enqueued for in ten
end
if not ended then
  if arg.parked then redis.call('SADD', R .. 'parked:' .. arg.parked, arg.id) end
  redis.call('HSET', task, 'finished', arg.fence)
  return 1
end

local attempts = r[FIRST] and r[FIRST] ~= '-' and 1 or 0
if arg.attempt and not r[FIRST] and not inlist then attempts = 1 end
if inlist then
  attempts = attempts + redis.call('LLEN', R .. 'log:' .. arg.id)
  redis.call('PEXPIRE', R .. 'log:' .. arg.id, lifetime)
end
if arg.data then redis.call('SET', R .. 'data:' .. arg.id, arg.data, 'PX', retention) end
if arg.archived then
  redis.call('XADD', R .. 'dead', 'MAXLEN', '~', arg.dead, '*', 'id', arg.id, 'type', arg.type, 'outcome', outcome,
    'code', arg.code or '', 'message', arg.message or '', 'attempts', attempts)
end
local tell = string.find(flags, 'n') and 'finished' or ''
if arg.told then tell = tell .. ' dead' end
if tell ~= '' and redis.call('HLEN', R .. 'outbox') < 100000 then
  redis.call('HSET', R .. 'outbox', arg.id, cjson.encode({type = arg.type, outcome = outcome, code = arg.code or '',
    message = arg.message or '', attempts = attempts, ended = now, tell = tell}))
end
if alone ~= '-' and redis.call('GET', R .. 'alone:' .. alone) == arg.id then redis.call('DEL', R .. 'alone:' .. alone) end
if key ~= '-' then
  local name = R .. 'key:' .. key
  local holder = redis.call('HGET', name, 'id')
  if not holder and arg.keep then -- the key was lost with the record
    redis.call('HSET', name, 'id', arg.id)
    holder = arg.id
  end
  if holder == arg.id then
    if arg.keep then
      redis.call('HSET', name, 'outcome', outcome)
      redis.call('PEXPIRE', name, ttl)
    else
      redis.call('DEL', name)
    end
  end
end
redis.call('PEXPIRE', task, lifetime)
if r[WAITING] then redis.pcall('PUBLISH', 'errand:done:' .. arg.id, outcome) end
redis.call('HSET', task, 'finished', arg.fence) -- last: a script that broke off runs again
return 1
