-- wake makes up to n tasks that are parked for a blocker pending.
--
-- blocker, n
--
-- Returns how many.
local n = 0
for _, id in ipairs(redis.call('SPOP', R .. 'parked:' .. arg.blocker, arg.n)) do
  local task, t = R .. 'task:' .. id, A .. 't:' .. id
  if redis.call('HGET', task, 'parked') == arg.blocker then
    redis.call('HDEL', task, 'parked', 'next')
    if redis.call('ZREM', A .. 'retry', id) == 1 then
      redis.call('LPUSH', A .. 'pending', id)
      redis.call('HSET', t, 'state', 'pending', 'pending_since', nanos())
      n = n + 1
    end
  end
end
return n
