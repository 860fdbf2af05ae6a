-- asynq's lists. A task is in exactly one of them; the field state of its hash names it.
local function delay(id, set, ms)
  redis.call('ZADD', A .. set, seconds(ms), id)
  redis.call('HSET', A .. 't:' .. id, 'state', set)
end

-- unlist takes a task out of the list that it is in, and returns its state there and
-- the key of a plain asynq client's unique lock.
local function unlist(id)
  local state, lock = unpack(redis.call('HMGET', A .. 't:' .. id, 'state', 'unique_key'))
  if state == 'active' or not state then
    redis.call('LREM', A .. 'active', 0, id)
    redis.call('ZREM', A .. 'lease', id)
  elseif state == 'pending' then
    redis.call('LREM', A .. 'pending', 0, id)
  else
    redis.call('ZREM', A .. state, id)
  end
  return state, lock
end

-- once reads what is written once: redelivery, retention, key TTL, flags, key,
-- intent, role, alone, version; '-' for none. The scripts use all but the last.
local function once(text)
  return string.match(text or '', '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)')
end

-- release frees the lock on an intent's subject.
local function release(id, intent)
  local key = R .. 'intent:' .. intent
  if redis.call('HGET', key, 'runner') == id then redis.call('HDEL', key, 'runner', 'until') end
end

-- number is the number of a fence, which is followed by a nonce.
local function number(fence) return tonumber(string.match(fence, '^%d+')) end
