-- end writes what became of a claimed task, and moves asynq's task accordingly. It may
-- run twice, and it may meet a Redis that has forgotten the claim: then the record's
-- fence has a smaller number, or the same with another nonce. What came of the claim is
-- written all the same, unless another call may have left and this is not the end.
--
-- id, fence: the claim
-- asked, once: of the task, if an answer was 2
-- msg: asynq's task; left out if a foreign tool has deleted it
-- plain: a plain asynq client enqueued it, perhaps with a lock of its own
-- outcome; or wait (ms) and, for a parked task, parked (for what; '-' if not known)
-- attempt (JSON), counted, code, message, data
-- change: what the attempt changed; it is kept only if the last one changed something else
-- doubt: how often it was looked for; place: where the lookup broke off
-- confirmed: the vendor did what a closing asked
-- archived: the outcome is a dead letter; dead: how many are kept
-- keep: the key stays taken whatever the outcome; told: it is published as a dead letter
-- trace: what it is published with, and a replay links to
-- day: of asynq's statistics
-- ids: digests of the vendor's IDs, by which the task is found
-- waits: what a parked task waits for, in a word
--
-- Returns 1 if it is written, 0 if the claim was another's by then, 2 if Redis has no
-- record of the task.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = record(task)
if r.finished == arg.fence then return 1 end -- the reply was lost
if not (r.once or arg.once) then return 2 end
local redelivery, retention, ttl, flags, key, subject, role, alone = once(r.once or arg.once)
local held = r.fence or r.finished
if r.outcome and not (held == arg.fence and r.outcome == arg.outcome) then return 0 end
if held and held ~= arg.fence then
  local idle = not r.owner or (redelivery ~= '1' and not r.started)
  if number(held) > number(arg.fence) or not (idle or arg.outcome) then return 0 end
end
if not r.once then rewrite(arg.id) end
local outcome = arg.outcome
local function kind() return select(4, asked(r.once and r.asked or arg.asked)) end -- of few

-- Most tasks have one attempt, which is short: a field of the record is cheaper than a
-- list. '-' says that the first one is in the list.
local first, inlist = nil, r.first
-- An attempt that changed the same as the last one is not kept again.
local change = arg.change or not arg.attempt and r.change
if arg.change and arg.change == r.change then arg.attempt = nil end
if arg.attempt then
  if not r.first then
    inlist = #arg.attempt > 64
    first = inlist and '-' or arg.attempt
  end
  if inlist then redis.call('RPUSH', R .. 'log:' .. arg.id, arg.attempt) end
end
-- It is parked still if Redis has forgotten the claim.
if r.parked then redis.call('SREM', R .. 'parked:' .. r.parked, arg.id) end

unlist(arg.id)
local lifetime -- of the record, ms, once it has ended
if not arg.msg then
  lifetime = retention
elseif not outcome then
  redis.call('ZADD', A .. 'retry', seconds(now + arg.wait), arg.id)
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'retry')
elseif arg.archived then
  redis.call('ZADD', A .. 'archived', time[1], arg.id)
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
  lifetime = '7862400000' -- 91 days: longer than asynq keeps its copy
else
  redis.call('ZADD', A .. 'completed', string.format('%d', (now + retention) / 1000), arg.id)
  -- asynq's copy has no payload any more, so that a hash made anew is a small one.
  if not arg.plain then redis.call('DEL', t) end
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'completed')
  lifetime = string.format('%d', retention + 3600000) -- asynq's janitor may be late
end
if outcome and arg.plain then unlock(arg.id) end

if string.find(flags, 'a') and (arg.attempt or outcome) then
  redis.call('XADD', R .. 'audit', '*', 'id', arg.id, 'type', kind(), 'event', outcome and 'ended' or 'attempt',
    'outcome', outcome or '', 'code', arg.code or '', 'message', arg.message or '')
  if outcome == 'done' then
    redis.call('ZREM', R .. 'audit:open', arg.id)
    -- What is done for the subject confirms its earlier tasks that ended otherwise.
    local of = R .. 'audit:of:' .. subject
    for _, id in ipairs(subject ~= '-' and redis.call('SRANDMEMBER', of, 100) or {}) do
      local other = redis.call('HMGET', R .. 'task:' .. id, 'once', 'outcome')
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
  if role == 'opens' and outcome == 'unknown' then redis.call('HSET', intent, 'unsure', r.seq or 0) end
  if role == 'closes' and arg.confirmed then redis.call('HDEL', intent, 'unsure') end
  redis.call('PEXPIRE', intent, 347000000000) -- 11 years: a task may be enqueued for in ten
end
if outcome then
  local attempts = (r.first and r.first ~= '-' or arg.attempt and not r.first and not inlist) and 1 or 0
  if inlist then
    attempts = attempts + redis.call('LLEN', R .. 'log:' .. arg.id)
    redis.call('PEXPIRE', R .. 'log:' .. arg.id, lifetime)
  end
  if arg.data then redis.call('SET', R .. 'data:' .. arg.id, arg.data, 'PX', retention) end
  if arg.ids then index(arg.ids, arg.id, now + lifetime) end
  if arg.archived and r.of then index(r.of, arg.id, now + lifetime) end -- for longer than was expected
  if arg.archived then
    redis.call('XADD', R .. 'dead', 'MAXLEN', '~', arg.dead, '*', 'id', arg.id, 'type', kind(), 'outcome', outcome,
      'code', arg.code or '', 'message', arg.message or '', 'attempts', attempts)
  end
  local tell = string.find(flags, 'n') and 'finished' or ''
  if arg.told then tell = tell .. ' dead' end
  if tell ~= '' and redis.call('HLEN', R .. 'outbox') < 100000 then
    redis.call('HSET', R .. 'outbox', arg.id, cjson.encode({type = kind(), outcome = outcome, code = arg.code or '',
      message = arg.message or '', attempts = attempts, ended = now, tell = tell,
      trace = arg.trace}))
  end
  if alone ~= '-' and redis.call('GET', R .. 'alone:' .. alone) == arg.id then redis.call('DEL', R .. 'alone:' .. alone) end
  if key ~= '-' then
    local name = R .. 'key:' .. key
    local holder, sum = keyed(name)
    if arg.keep and (holder or arg.id) == arg.id then -- it may have been lost with the record
      redis.call('SET', name, arg.id .. ' ' .. (sum or '-') .. ' ' .. outcome, 'PX', ttl)
    elseif holder == arg.id then
      redis.call('DEL', name)
    end
  end
  redis.call('PEXPIRE', task, lifetime)
elseif arg.parked then
  redis.call('SADD', R .. 'parked:' .. arg.parked, arg.id)
  redis.call('SADD', R .. 'blockers', arg.parked)
  redis.call('PEXPIRE', R .. 'blockers', 7862400000) -- 91 days: longer than any task waits
end

-- The record is the last step: a script that broke off runs again.
local set = {'finished', arg.fence}
put(set, 'first', first)
put(set, 'attempts', arg.counted and tostring((r.attempts or 0) + 1))
put(set, 'code', arg.code)
put(set, 'message', arg.message)
put(set, 'doubt', arg.doubt)
put(set, 'place', arg.place)
local gone = {'owner', 'fence'}
for _, name in ipairs(passing) do
  if r[name] then gone[#gone + 1] = name end
end
if outcome then
  put(set, 'outcome', outcome)
  put(set, 'ended', stamp)
  put(set, 'ids', arg.ids)
  put(set, 'trace', arg.archived and arg.trace)
  if r.next then gone[#gone + 1] = 'next' end
  if r.waiting then gone[#gone + 1] = 'waiting' end
else
  put(set, 'next', string.format('%.0f', now + arg.wait))
  put(set, 'parked', arg.parked)
  put(set, 'change', change)
  if arg.parked then
    local since, n = string.match(r.waited or '', '^(%d+) (%d+)')
    put(set, 'waited', (since or stamp) .. ' ' .. (n or 0) + 1 .. ' ' .. (arg.waits or '-'))
  end
end
redis.call('HDEL', task, unpack(gone))
redis.call('HSET', task, unpack(set))
if outcome and arg.msg then count('processed') end
if arg.archived and arg.msg then count('failed') end
if outcome and r.waiting then redis.pcall('PUBLISH', 'errand:done:' .. arg.id, outcome) end
return 1
