-- cancel ends a task that was never attempted, and deletes asynq's task.
--
-- id
-- type, once: what to record of a task that a plain asynq client enqueued and nobody has
-- taken
--
-- Returns cancelled, gone (no such task), the state that forbids it, or {unrecorded,
-- asynq's message} if type and once are needed.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = record(task)
if not r.once then
  local state, msg = unpack(redis.call('HMGET', t, 'state', 'msg'))
  if state == 'active' then return 'running' end
  if state == 'retry' then return 'retrying' end
  if state ~= 'pending' and state ~= 'scheduled' then return 'gone' end
  if not arg.type then return {'unrecorded', msg} end
  r.asked, r.once = (r.asked or stamp .. ' 0 0 ') .. arg.type, arg.once
  redis.call('HSET', task, 'asked', r.asked, 'once', r.once)
end
if r.outcome then return r.outcome end
if r.owner then return 'running' end
-- One whose worker died has been tried, though nobody could note how.
if r.crashes or r.doubt or r.first then
  if r.parked then return 'parked' end
  return r.next and 'retrying' or 'pending'
end
local _, _, _, kind = asked(r.asked)
local _, retention, _, flags, key, subject, _, alone = once(r.once)
local message = 'cancelled before it was attempted'
redis.call('HSET', task, 'outcome', 'cancelled', 'ended', now, 'message', message)
redis.call('HDEL', task, 'next', 'parked', 'waiting', 'code')
if r.parked then redis.call('SREM', R .. 'parked:' .. r.parked, arg.id) end
unlist(arg.id)
unlock(arg.id)
redis.call('DEL', t)
local name = R .. 'key:' .. key
if key ~= '-' and keyed(name) == arg.id then redis.call('DEL', name) end
if string.find(flags, 'a') then
  redis.call('XADD', R .. 'audit', '*', 'id', arg.id, 'type', kind, 'event', 'ended', 'outcome', 'cancelled')
  redis.call('ZREM', R .. 'audit:open', arg.id)
  if subject ~= '-' then redis.call('SREM', R .. 'audit:of:' .. subject, arg.id) end
end
if alone ~= '-' and redis.call('GET', R .. 'alone:' .. alone) == arg.id then redis.call('DEL', R .. 'alone:' .. alone) end
if string.find(flags, 'n') and redis.call('HLEN', R .. 'outbox') < 100000 then
  redis.call('HSET', R .. 'outbox', arg.id, cjson.encode({type = kind, outcome = 'cancelled', message = message,
    attempts = 0, ended = now, tell = 'finished'}))
end
redis.call('PEXPIRE', task, retention)
if r.waiting then redis.pcall('PUBLISH', 'errand:done:' .. arg.id, 'cancelled') end
return 'cancelled'
