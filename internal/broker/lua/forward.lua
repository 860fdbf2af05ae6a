-- forward makes the delayed tasks pending whose time has come by Redis' clock, 100 of each
-- set at a time. It is asynq's own script but for the clock, and for both sets in one.
--
-- Returns how many, and 1 if tasks are parked for a blocker.
local function forward(set)
  local ids = redis.call('ZRANGEBYSCORE', A .. set, '-inf', seconds(now), 'LIMIT', 0, 100)
  for _, id in ipairs(ids) do
    local t = A .. 't:' .. id
    local group = redis.call('HGET', t, 'group')
    redis.call('ZREM', A .. set, id)
    if group and group ~= '' then
      redis.call('ZADD', A .. 'g:' .. group, math.floor(now / 1000), id)
      redis.call('HSET', t, 'state', 'aggregating')
    else
      redis.call('LPUSH', A .. 'pending', id)
      redis.call('HSET', t, 'state', 'pending', 'pending_since', nanos())
    end
  end
  return #ids
end
local parked = 0
for _, blocker in ipairs(redis.call('SMEMBERS', R .. 'blockers')) do
  if redis.call('EXISTS', R .. 'parked:' .. blocker) == 1 then parked = 1 end
end
return {forward('scheduled') + forward('retry'), parked}
