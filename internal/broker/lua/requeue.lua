-- requeue puts a claimed task back into the queue and rules on the claim: a call that
-- was not started has surely not left.
--
-- id, owner ('' for a task that is active although nobody has claimed it)
-- crashed: the worker died
--
-- Returns 1, or 0 if the worker has not claimed it, or if it has ended and is not active.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = record(task)
if r.outcome then
  local state = redis.call('HGET', t, 'state')
  if state and state ~= 'active' then return 0 end -- it is where it belongs
else
  if (r.owner or '') ~= arg.owner then return 0 end
  local redelivery, _, _, _, _, subject = once(r.once)
  if r.started and redelivery == '0' or r.verdict == 'abandoned' then redis.call('HSET', task, 'abandoned', 1) end
  if r.started and redelivery == '2' and not r.doubt then redis.call('HSET', task, 'doubt', 0) end
  if arg.crashed then redis.call('HINCRBY', task, 'crashes', 1) end
  if subject and subject ~= '-' then release(arg.id, subject) end
  redis.call('HDEL', task, 'owner', 'verdict', 'started', 'reconfirm')
end
unlist(arg.id)
if redis.call('EXISTS', t) == 1 then
  redis.call('RPUSH', A .. 'pending', arg.id)
  redis.call('HSET', t, 'state', 'pending', 'pending_since', nanos())
end
return 1
