-- enqueue stores a task: its key, its record, its line in the audit log, and asynq's
-- task. It may run twice.
--
-- id, type, msg (asynq's), once
-- salt: the digests below were made with it
-- key, sum: digests of the producer's key and of the payload
-- alone: digest of the subject that may have one active task
-- intent: 1 if the task has one
-- at or delay, usable: ms
-- before: the last time at which it may be stored
-- subject: of the audit log, sealed
--
-- Returns {answer, id, created, due, expires, outcome}. The answer is created,
-- duplicate, conflict, overlap, late, or salt with the right salt in place of the id.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local salt = arg.salt and othersalt()
if salt then return {'salt', salt} end
local key = arg.key and R .. 'key:' .. arg.key
if key then
  local k = redis.call('HMGET', key, 'id', 'digest', 'outcome')
  if k[1] and k[1] ~= arg.id then
    if k[2] and k[2] ~= arg.sum then return {'conflict', k[1]} end
    local r = redis.call('HMGET', R .. 'task:' .. k[1], 'created', 'due', 'expires', 'outcome')
    return {'duplicate', k[1], r[1] or '0', r[2] or '0', r[3] or '0', r[4] or k[3] or ''}
  end
end
local had = redis.call('HMGET', task, 'created', 'due', 'expires')
if had[1] then return {'created', arg.id, had[1], had[2], had[3], ''} end -- the reply was lost
if arg.before and now > tonumber(arg.before) then return {'late', ''} end
local alone = arg.alone and R .. 'alone:' .. arg.alone
if alone then
  local other = redis.call('GET', alone)
  -- One that a foreign tool has deleted will never end.
  if other and redis.call('EXISTS', A .. 't:' .. other) == 1
    and redis.call('HEXISTS', R .. 'task:' .. other, 'outcome') == 0 then return {'overlap', other} end
end
local due = tonumber(arg.at or '0')
if due == 0 then due = now + tonumber(arg.delay or '0') end
if due < now then due = now end
local expires = due + tonumber(arg.usable)
redis.call('HSET', task, 'type', arg.type, 'once', arg.once, 'created', now, 'due', due, 'expires', expires)
if arg.intent then redis.call('HSET', task, 'seq', redis.call('INCR', R .. 'seq')) end
if arg.subject then
  redis.call('XADD', R .. 'audit', 'MAXLEN', '~', 1000000, '*', 'id', arg.id, 'type', arg.type, 'event', 'asked',
    'subject', arg.subject, 'due', due)
  redis.call('ZADD', R .. 'audit:open', due, arg.id)
  local _, _, _, _, _, intent = once(arg.once)
  if intent ~= '-' then redis.call('SADD', R .. 'audit:of:' .. intent, arg.id) end
end
if alone then redis.call('SET', alone, arg.id) end
if key then redis.call('HSET', key, 'id', arg.id, 'digest', arg.sum) end
if due > now then
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'scheduled')
  redis.call('ZADD', A .. 'scheduled', seconds(due), arg.id)
else
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'pending', 'pending_since', nanos())
  redis.call('LPUSH', A .. 'pending', arg.id)
end
return {'created', arg.id, now, due, expires, ''}
