-- claim writes a started claim that Redis has forgotten: the record's fence has a
-- smaller number, or the same with another nonce, and no other call may have left.
--
-- id, owner, fence, doubt
-- asked, once, msg
--
-- Returns 1 if the claim stands now.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = record(task)
if r.fence == arg.fence and r.owner == arg.owner then
  redis.call('HSET', task, 'started', 1)
  return 1
end
if r.finished == arg.fence then return 0 end -- its result was faster
local held = r.fence or r.finished
if r.outcome or r.owner and r.started or held and number(held) > number(arg.fence) then return 0 end
if not r.once then rewrite(arg.id) end
redis.call('HSET', task, 'owner', arg.owner, 'fence', arg.fence, 'started', 1)
if arg.doubt then redis.call('HSET', task, 'doubt', arg.doubt) end
redis.call('HDEL', task, 'next', 'parked', 'verdict')
unlist(arg.id)
redis.call('HSET', t, 'msg', arg.msg, 'state', 'active')
redis.call('LPUSH', A .. 'active', arg.id)
return 1
