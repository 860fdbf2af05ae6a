-- hasten makes a waiting task pending: one that is scheduled, retrying or parked.
--
-- id
--
-- Returns hastened; or why not: gone (no such task), its outcome, pending, running,
-- doubt (the vendor is asked whether an attempt has happened), or closing (it keeps a
-- pause so that an opening that it overtook cannot take effect after it).
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = record(task)
if r.outcome then return r.outcome end
if r.owner then return 'running' end
local state = redis.call('HGET', t, 'state')
if not state then return 'gone' end
if state == 'pending' then return 'pending' end
if state == 'active' then return 'running' end
if state ~= 'scheduled' and state ~= 'retry' then return 'gone' end
local _, _, _, flags, _, _, role = once(r.once)
if r.doubt then return 'doubt' end
if role == 'closes' and r.next and not r.parked then return 'closing' end

if r.asked then
  local created, due, usable, kind = asked(r.asked)
  if due > now then
    redis.call('HSET', task, 'asked', string.format('%s %.0f %s %s', created, now - created, usable, kind))
    if string.find(flags or '', 'a') then redis.call('ZADD', R .. 'audit:open', 'XX', now, arg.id) end
  end
end
if r.parked then redis.call('SREM', R .. 'parked:' .. r.parked, arg.id) end
if r.next or r.parked then redis.call('HDEL', task, 'next', 'parked') end
redis.call('ZREM', A .. state, arg.id)
redis.call('LPUSH', A .. 'pending', arg.id)
redis.call('HSET', t, 'state', 'pending', 'pending_since', nanos())
return 'hastened'
