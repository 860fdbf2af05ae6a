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
-- plain: the producer has no keys, so that msg and subject are not sealed
-- most: tasks of the queue that may wait; memory: 1 to look at Redis' memory
-- by: the API key, or the schedule, that asked
-- of: digests by which the task is found
-- replay_of: the dead letter that it replays; seq: its place among the intents; doubt: an
-- earlier call may have happened
--
-- Returns the field asked of a task that it has stored, else {answer, id, asked, outcome}. The
-- answer is duplicate, conflict, overlap, late, unsealed (the workers demand keys), replayed
-- (with the ID of the replay), alive (no dead letter), full with the number of tasks that wait,
-- memory with the percentage in use, or salt with the right salt in place of the id.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
if arg.plain and sealed() then return {'unsealed', ''} end
local salt = arg.salt and othersalt()
if salt then return {'salt', salt} end
local replayed = arg.replay_of and R .. 'task:' .. arg.replay_of
if replayed then
  local old = redis.call('HMGET', replayed, 'replay', 'outcome')
  if old[1] and old[1] ~= arg.id then return {'replayed', old[1]} end
  if not old[2] or not archived(old[2]) then return {'alive', arg.replay_of} end
end
local key = arg.key and R .. 'key:' .. arg.key
if key then
  local holder, sum, outcome = keyed(key)
  if holder and holder ~= arg.id and holder ~= arg.replay_of then
    if sum ~= '-' and sum ~= arg.sum then return {'conflict', holder} end
    local r = redis.call('HMGET', R .. 'task:' .. holder, 'asked', 'outcome')
    return {'duplicate', holder, r[1] or '', r[2] or outcome}
  end
end
local had = redis.call('HGET', task, 'asked')
if had then return had end -- the reply was lost
if arg.before and now > tonumber(arg.before) then return {'late', ''} end
local alone = arg.alone and R .. 'alone:' .. arg.alone
if alone then
  local other = redis.call('GET', alone)
  -- One that a foreign tool has deleted will never end.
  if other and redis.call('EXISTS', A .. 't:' .. other) == 1
    and redis.call('HEXISTS', R .. 'task:' .. other, 'outcome') == 0 then return {'overlap', other} end
end
local refused = room()
if refused then return refused end
local delay = arg.at and math.max(arg.at - now, 0) or arg.delay or '0'
local due = now + delay
local asked = string.format('%s %s %s %s', stamp, delay, arg.usable, arg.type)
local fields = {'asked', asked, 'once', arg.once}
put(fields, 'by', arg.by)
put(fields, 'of', arg.of)
put(fields, 'seq', arg.intent and (arg.seq or redis.call('INCR', R .. 'seq')))
put(fields, 'replay_of', replayed and arg.replay_of)
put(fields, 'doubt', replayed and arg.doubt)
redis.call('HSET', task, unpack(fields))
if replayed then redis.call('HSET', replayed, 'replay', arg.id) end
if arg.of then
  local _, retention = once(arg.once)
  index(arg.of, arg.id, due + arg.usable + retention + 3600000)
end
if arg.subject then
  redis.call('XADD', R .. 'audit', 'MAXLEN', '~', 1000000, '*', 'id', arg.id, 'type', arg.type, 'event', 'asked',
    'subject', arg.subject, 'due', string.format('%.0f', due), unpack(arg.by and {'by', arg.by} or {}))
  redis.call('ZADD', R .. 'audit:open', due, arg.id)
  local _, _, _, _, _, intent = once(arg.once)
  if intent ~= '-' then redis.call('SADD', R .. 'audit:of:' .. intent, arg.id) end
end
if alone then redis.call('SET', alone, arg.id) end
-- The key that a replayed task has kept loses its outcome and its expiry.
if key then redis.call('SET', key, arg.id .. ' ' .. arg.sum) end
if due > now then
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'scheduled')
  redis.call('ZADD', A .. 'scheduled', seconds(due), arg.id)
else
  redis.call('HSET', t, 'msg', arg.msg, 'state', 'pending', 'pending_since', nanos())
  redis.call('LPUSH', A .. 'pending', arg.id)
end
if waiting then waiting = waiting + 1 end
return asked
