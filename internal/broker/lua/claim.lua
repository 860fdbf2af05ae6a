-- claim writes a started claim that Redis has forgotten: the record's fence has a
-- smaller number, or the same with another nonce, and no other call may have left.
--
-- id, owner, fence, doubt
-- type, once, created, due, expires, msg, lease
--
-- Returns 1 if the claim stands now.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = redis.call('HMGET', task, 'fence', 'outcome', 'owner', 'type', 'started', 'finished')
local FENCE, OUTCOME, OWNER, TYPE, STARTED, FINISHED = 1, 2, 3, 4, 5, 6
if r[FENCE] == arg.fence and r[OWNER] == arg.owner then
  redis.call('HSET', task, 'started', 1)
  return 1
end
if r[FINISHED] == arg.fence then return 0 end -- its result was faster
if r[OUTCOME] or r[OWNER] and r[STARTED] or r[FENCE] and number(r[FENCE]) > number(arg.fence) then return 0 end
if not r[TYPE] then rewrite(arg.id) end
redis.call('HSET', task, 'owner', arg.owner, 'fence', arg.fence, 'started', 1)
if arg.doubt then redis.call('HSET', task, 'doubt', arg.doubt) end
redis.call('HDEL', task, 'next', 'parked', 'verdict')
unlist(arg.id)
redis.call('HSET', t, 'msg', arg.msg, 'state', 'active')
redis.call('HDEL', t, 'pending_since')
redis.call('LPUSH', A .. 'active', arg.id)
redis.call('ZADD', A .. 'lease', arg.lease, arg.id)
return 1
