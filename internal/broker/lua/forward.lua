-- forward makes the tasks of a set pending whose time has come by Redis' clock, 100 at
-- a time. It is asynq's own script but for the clock.
--
-- set: scheduled or retry
--
-- Returns how many.
local ids = redis.call('ZRANGEBYSCORE', A .. arg.set, '-inf', seconds(now), 'LIMIT', 0, 100)
for _, id in ipairs(ids) do
  local t = A .. 't:' .. id
  local group = redis.call('HGET', t, 'group')
  redis.call('ZREM', A .. arg.set, id)
  if group and group ~= '' then
    redis.call('ZADD', A .. 'g:' .. group, math.floor(now / 1000), id)
    redis.call('HSET', t, 'state', 'aggregating')
  else
    redis.call('LPUSH', A .. 'pending', id)
    redis.call('HSET', t, 'state', 'pending', 'pending_since', nanos())
  end
end
return #ids
