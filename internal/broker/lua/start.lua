-- start says that the claimed task's call may leave now. A worker that dies before
-- has surely not called the vendor.
--
-- id, fence
--
-- Returns 1, or 0 if the claim is another's by now.
local task = R .. 'task:' .. arg.id
local r = redis.call('HMGET', task, 'fence', 'owner')
if r[1] ~= arg.fence or not r[2] then return 0 end
redis.call('HSET', task, 'started', 1)
return 1
