-- take pops up to n tasks and claims them. A task that must not run now goes to the
-- list where it belongs. The script may run twice: the second time it returns what
-- the first one claimed.
--
-- n, owner, nonce
-- hold: how long an intent's subject is locked at the most, ms
--
-- Returns {now, claim…}, or nil if the queue is paused or gave nothing. A claim is
-- {id, msg, verdict, fence, asked, once, attempts}, where attempts is empty if the vendor
-- was surely never called, followed by
-- {doubt, reconfirm, place} if there is any of them.
local mine = R .. 'taken:' .. arg.owner -- what this worker took last

-- called reports whether an earlier claim may have called the vendor, also where that
-- counted as no attempt.
local function called(r)
  return r.first or r.doubt or r.crashes and r.once and once(r.once) == '1'
end

local function claimed(id, msg, r)
  local attempts = r.attempts or called(r) and '0' or ''
  local claim = {id, msg, r.verdict or 'go', r.fence, r.asked, r.once or '', attempts}
  if r.doubt or r.reconfirm or r.place then
    claim[8], claim[9], claim[10] = r.doubt or '', r.reconfirm or '', r.place or ''
  end
  return claim
end

local claims, ids = {now}, {}
local last = redis.call('GET', mine)
if last and string.match(last, '^%S+') == arg.nonce then -- the reply was lost
  for id in string.gmatch(last, ' (%S+)') do
    local r = record(R .. 'task:' .. id)
    if r.owner == arg.owner and string.match(r.fence, '%.(.*)$') == arg.nonce then
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
  local _, _, _, _, _, digest, role = once(r.once)
  local key, seq = R .. 'intent:' .. digest, tonumber(r.seq)
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
local function elsewhere(id, r, due)
  if r.outcome then
    if archived(r.outcome) then
      delay(id, 'archived', now)
    else
      delay(id, 'completed', now + 60000)
    end
  elseif r.owner then -- a foreign tool has put a running task back
    delay(id, 'retry', now + 2000)
  elseif r.next and not r.parked and tonumber(r.next) > now then
    delay(id, 'retry', tonumber(r.next))
  elseif due and due > now then
    delay(id, 'scheduled', due)
  else
    return false
  end
  return true
end

-- judge returns the verdict of a claim, and whether a closing is to be confirmed once
-- more; false if another task of the subject runs.
local function judge(id, r, expires)
  if r.abandoned then return 'abandoned' end
  if tonumber(r.crashes or '0') >= 3 then return 'crashed' end
  if now >= expires then return 'expired' end
  if r.seq then return intent(id, r) end
  return 'go'
end

-- claim claims a popped task for the worker.
local function claim(id)
  local task, t = R .. 'task:' .. id, A .. 't:' .. id
  local msg, r = redis.call('HGET', t, 'msg'), record(task)
  local _, due, usable, kind
  if r.asked then _, due, usable, kind = asked(r.asked) end
  if not msg or elsewhere(id, r, due) then return end
  local verdict, reconfirm
  if r.asked and kind ~= '' then
    verdict, reconfirm = judge(id, r, due + usable)
  else
    verdict = 'unrecorded'
    if not r.asked then
      local since = redis.call('HGET', t, 'pending_since')
      r.asked = string.format('%.0f 0 0 ', since and math.floor(since / 1000000) or now)
      redis.call('HSET', task, 'asked', r.asked)
    end
  end
  if not verdict then return delay(id, 'retry', now + 1000) end
  -- The nonce goes with the number: a record that was lost counts from 1 again.
  r.fence = tostring(number(r.fence or r.finished or '0') + 1) .. '.' .. arg.nonce
  r.verdict, r.reconfirm = verdict, reconfirm
  redis.call('HSET', task, 'owner', arg.owner, 'fence', r.fence)
  if verdict ~= 'go' then redis.call('HSET', task, 'verdict', verdict) end
  if reconfirm then redis.call('HSET', task, 'reconfirm', reconfirm) end
  if r.next then redis.call('HDEL', task, 'next') end
  if r.parked then
    redis.call('SREM', R .. 'parked:' .. r.parked, id)
    redis.call('HDEL', task, 'parked')
  end
  redis.call('HSET', t, 'state', 'active')
  ids[#ids + 1] = id
  claims[#claims + 1] = claimed(id, msg, r)
end

-- What a foreign hand has done to the keys of one task must not take the others along.
-- It waits behind them, and is the queue's error once it is alone.
local trouble
for _ = 1, 4 do -- in case some must not run now
  local popped = #ids < tonumber(arg.n) and redis.call('RPOP', A .. 'pending', arg.n - #ids)
  if not popped then break end
  for _, id in ipairs(popped) do
    local fine, fault = pcall(claim, id)
    if not fine then
      trouble = fault
      redis.call('LPUSH', A .. 'pending', id)
    end
  end
end
if #ids == 0 and trouble then return type(trouble) == 'table' and trouble or redis.error_reply(trouble) end
if #ids == 0 then return false end
redis.call('LPUSH', A .. 'active', unpack(ids))
redis.call('SET', mine, arg.nonce .. ' ' .. table.concat(ids, ' '), 'PX', 60000)
return claims
