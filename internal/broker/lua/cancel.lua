-- cancel ends a task that was never attempted, and deletes asynq's task.
--
-- id
-- type, once: what to record of a task that a plain asynq client enqueued and nobody has
-- taken
--
-- Returns cancelled, gone (no such task), the state that forbids it, or {unrecorded,
-- asynq's message} if type and once are needed.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = redis.call('HMGET', task, 'type', 'once', 'outcome', 'owner', 'crashes', 'doubt', 'parked', 'next', 'waiting', 'first')
local TYPE, ONCE, OUTCOME, OWNER, CRASHES, DOUBT, PARKED, NEXT, WAITING, FIRST = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
if not r[TYPE] then
  local state, msg = unpack(redis.call('HMGET', t, 'state', 'msg'))
  if state == 'active' then return 'running' end
  if state == 'retry' then return 'retrying' end
  if state ~= 'pending' and state ~= 'scheduled' then return 'gone' end
  if not arg.type then return {'unrecorded', msg} end
  redis.call('HSET', task, 'type', arg.type, 'once', arg.once, 'created', now, 'due', now)
  r[TYPE], r[ONCE] = arg.type, arg.once
end
if r[OUTCOME] then return r[OUTCOME] end
if r[OWNER] then return 'running' end
-- One whose worker died has been tried, though nobody could note how.
if r[CRASHES] or r[DOUBT] or r[FIRST] then
  if r[PARKED] then return 'parked' end
  return r[NEXT] and 'retrying' or 'pending'
end
local _, retention, _, flags, key, subject, _, alone = once(r[ONCE])
local message = 'cancelled before it was attempted'
redis.call('HSET', task, 'outcome', 'cancelled', 'ended', now, 'message', message)
redis.call('HDEL', task, 'next', 'parked', 'waiting', 'code')
if r[PARKED] then redis.call('SREM', R .. 'parked:' .. r[PARKED], arg.id) end
unlist(arg.id)
local lock = redis.call('HGET', t, 'unique_key') -- a plain asynq client's
if lock and redis.call('GET', lock) == arg.id then redis.call('DEL', lock) end
redis.call('DEL', t)
local name = R .. 'key:' .. key
if key ~= '-' and redis.call('HGET', name, 'id') == arg.id then redis.call('DEL', name) end
if string.find(flags, 'a') then
  redis.call('XADD', R .. 'audit', '*', 'id', arg.id, 'type', r[TYPE], 'event', 'ended', 'outcome', 'cancelled')
  redis.call('ZREM', R .. 'audit:open', arg.id)
  if subject ~= '-' then redis.call('SREM', R .. 'audit:of:' .. subject, arg.id) end
end
if alone ~= '-' and redis.call('GET', R .. 'alone:' .. alone) == arg.id then redis.call('DEL', R .. 'alone:' .. alone) end
if string.find(flags, 'n') and redis.call('HLEN', R .. 'outbox') < 100000 then
  redis.call('HSET', R .. 'outbox', arg.id, cjson.encode({type = r[TYPE], outcome = 'cancelled', message = message,
    attempts = 0, ended = now, tell = 'finished'}))
end
redis.call('PEXPIRE', task, retention)
if r[WAITING] then redis.pcall('PUBLISH', 'errand:done:' .. arg.id, 'cancelled') end
return 'cancelled'
