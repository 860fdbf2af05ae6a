-- take pops up to n tasks and claims them. A task that must not run now goes to the
-- list where it belongs. The script may run twice: the second time it returns what
-- the first one claimed.
--
-- n, owner, nonce
-- lease: end of asynq's lease, Unix seconds
-- hold: how long an intent's subject is locked at the most, ms
--
-- Returns {now, claim…}, or nil if the queue is paused or gave nothing. A claim is
-- {id, msg, verdict, fence, attempts, created, due, expires, doubt, reconfirm, once, place}.
local mine = R .. 'taken:' .. arg.owner -- what this worker took last

-- claimed describes a claim; r are the fields that both callers have read.
local fields = {'type', 'once', 'outcome', 'owner', 'fence', 'attempts', 'created', 'due', 'expires',
  'next', 'parked', 'doubt', 'seq', 'crashes', 'abandoned', 'verdict', 'reconfirm', 'place'}
local TYPE, ONCE, OUTCOME, OWNER, FENCE, ATTEMPTS, CREATED, DUE, EXPIRES = 1, 2, 3, 4, 5, 6, 7, 8, 9
local NEXT, PARKED, DOUBT, SEQ, CRASHES, ABANDONED, VERDICT, RECONFIRM, PLACE = 10, 11, 12, 13, 14, 15, 16, 17, 18
local function claimed(id, msg, r)
  return {id, msg, r[VERDICT] or 'go', r[FENCE], r[ATTEMPTS] or '0', r[CREATED], r[DUE], r[EXPIRES] or '0', r[DOUBT] or '',
    r[RECONFIRM] or '', r[ONCE] or '', r[PLACE] or ''}
end

local claims, ids = {now}, {}
local last = redis.call('GET', mine)
if last and string.match(last, '^%S+') == arg.nonce then -- the reply was lost
  for id in string.gmatch(last, ' (%S+)') do
    local r = redis.call('HMGET', R .. 'task:' .. id, unpack(fields))
    if r[OWNER] == arg.owner and string.match(r[FENCE], '%.(.*)$') == arg.nonce then
      claims[#claims + 1] = claimed(id, redis.call('HGET', A .. 't:' .. id, 'msg'), r)
    end
  end
  if #claims == 1 then return false end
  return claims
end
if redis.call('EXISTS', A .. 'paused') == 1 then return false end

-- intent locks the subject of a task. It returns false if another task of the subject
-- runs, else the verdict and whether a closing is to be confirmed once more.
local function intent(id, r)
  local _, _, _, _, _, digest, role = once(r[ONCE])
  local key, seq = R .. 'intent:' .. digest, tonumber(r[SEQ])
  local i = redis.call('HMGET', key, 'runner', 'until', 'closed', 'unsure')
  if i[1] and i[1] ~= id and tonumber(i[2]) > now then return false end
  if role == 'opens' and tonumber(i[3] or '0') > seq then return 'superseded' end
  redis.call('HSET', key, 'runner', id, 'until', now + tonumber(arg.hold))
  if role == 'closes' then
    redis.call('HSET', key, 'closed', math.max(seq, tonumber(i[3] or '0')))
    if i[4] and tonumber(i[4]) < seq then return 'go', '1' end
  end
  return 'go'
end

-- elsewhere moves a task that must not run now to where it belongs; false if it may run.
local function elsewhere(id, r)
  if r[OUTCOME] then
    if archived(r[OUTCOME]) then
      delay(id, 'archived', now)
    else
      delay(id, 'completed', now + 60000)
    end
  elseif r[OWNER] then -- a foreign tool has put a running task back
    delay(id, 'retry', now + 2000)
  elseif r[NEXT] and not r[PARKED] and tonumber(r[NEXT]) > now then
    delay(id, 'retry', tonumber(r[NEXT]))
  elseif r[DUE] and tonumber(r[DUE]) > now then
    delay(id, 'scheduled', tonumber(r[DUE]))
  else
    return false
  end
  return true
end

for _ = 1, arg.n + 32 do
  if #ids >= tonumber(arg.n) then break end
  local id = redis.call('RPOP', A .. 'pending')
  if not id then break end
  local task, t = R .. 'task:' .. id, A .. 't:' .. id
  local m = redis.call('HMGET', t, 'msg', 'pending_since')
  local r = redis.call('HMGET', task, unpack(fields))
  if m[1] and not elsewhere(id, r) then
    local verdict, reconfirm = 'go', nil
    if not r[TYPE] then
      verdict = 'unrecorded'
      r[CREATED] = r[CREATED] or now
      r[DUE] = r[DUE] or m[2] and math.floor(m[2] / 1000000) or now
      redis.call('HSET', task, 'created', r[CREATED], 'due', r[DUE])
    elseif r[ABANDONED] then
      verdict = 'abandoned'
    elseif tonumber(r[CRASHES] or '0') >= 3 then
      verdict = 'crashed'
    elseif now >= tonumber(r[EXPIRES]) then
      verdict = 'expired'
    elseif r[SEQ] then
      verdict, reconfirm = intent(id, r)
    end
    if not verdict then
      delay(id, 'retry', now + 1000)
    else
      -- The nonce goes with the number: a record that was lost counts from 1 again.
      r[FENCE] = tostring(number(r[FENCE] or '0') + 1) .. '.' .. arg.nonce
      r[VERDICT], r[RECONFIRM] = verdict, reconfirm
      redis.call('HSET', task, 'owner', arg.owner, 'fence', r[FENCE])
      if verdict ~= 'go' then redis.call('HSET', task, 'verdict', verdict) end
      if reconfirm then redis.call('HSET', task, 'reconfirm', reconfirm) end
      if r[NEXT] then redis.call('HDEL', task, 'next') end
      if r[PARKED] then
        redis.call('SREM', R .. 'parked:' .. r[PARKED], id)
        redis.call('HDEL', task, 'parked')
      end
      redis.call('LPUSH', A .. 'active', id)
      redis.call('ZADD', A .. 'lease', arg.lease, id)
      redis.call('HSET', t, 'state', 'active')
      redis.call('HDEL', t, 'pending_since')
      ids[#ids + 1] = id
      claims[#claims + 1] = claimed(id, m[1], r)
    end
  end
end
if #ids == 0 then return false end
redis.call('SET', mine, arg.nonce .. ' ' .. table.concat(ids, ' '), 'PX', 60000)
return claims
