-- adopt completes the record of a task that had none, and puts the task back into the
-- queue: from there it is taken like any other. It may run twice.
--
-- id, owner, fence, asked, once, msg
-- intent: 1 if the task has one; salt: its digest was made with it
-- doubt: an earlier call may have happened
-- of: digests by which the task is found
--
-- Returns 1, 0 if the claim is another's by now, or {'salt', the right one}.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = record(task)
if r.fence ~= arg.fence then return 0 end
if r.once then return 1 end -- the reply was lost
if r.owner ~= arg.owner then return 0 end
local salt = arg.salt and othersalt()
if salt then return {'salt', salt} end
redis.call('HSET', task, 'asked', arg.asked, 'once', arg.once)
if arg.intent then redis.call('HSET', task, 'seq', redis.call('INCR', R .. 'seq')) end
if arg.doubt then redis.call('HSET', task, 'doubt', arg.doubt) end
if arg.of then
  redis.call('HSET', task, 'of', arg.of)
  local _, due, usable = asked(arg.asked)
  local _, retention = once(arg.once)
  index(arg.of, arg.id, due + usable + retention + 3600000)
end
redis.call('HDEL', task, 'owner', 'verdict')
unlist(arg.id)
redis.call('RPUSH', A .. 'pending', arg.id)
redis.call('HSET', t, 'msg', arg.msg, 'state', 'pending', 'pending_since', nanos())
return 1
