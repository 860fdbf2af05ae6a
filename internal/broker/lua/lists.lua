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

-- archived tells whether asynq keeps a task with the outcome as archived
-- (record.Outcome.Archived).
local function archived(outcome)
  return outcome == 'unknown' or outcome == 'failed' or outcome == 'invalid' or outcome == 'expired'
end

-- rewrite writes what enqueue wrote of a task that Redis has forgotten.
local function rewrite(id)
  local task = R .. 'task:' .. id
  local _, _, _, flags, key, intent, _, alone = once(arg.once)
  redis.call('HSET', task, 'type', arg.type, 'once', arg.once, 'created', arg.created, 'due', arg.due,
    'expires', arg.expires)
  if intent ~= '-' then redis.call('HSET', task, 'seq', redis.call('INCR', R .. 'seq')) end
  if key ~= '-' and redis.call('EXISTS', R .. 'key:' .. key) == 0 then redis.call('HSET', R .. 'key:' .. key, 'id', id) end
  if alone ~= '-' then redis.call('SET', R .. 'alone:' .. alone, id, 'NX') end
  if string.find(flags, 'a') then
    redis.call('ZADD', R .. 'audit:open', 'NX', arg.due, id)
    if intent ~= '-' then redis.call('SADD', R .. 'audit:of:' .. intent, id) end
  end
end

-- othersalt returns Redis' salt if the digests among the arguments were made with another.
local function othersalt()
  local salt = redis.call('GET', R .. 'salt')
  if not salt then redis.call('SET', R .. 'salt', arg.salt) end
  return salt and salt ~= arg.salt and salt
end

-- release frees the lock on an intent's subject.
local function release(id, intent)
  local key = R .. 'intent:' .. intent
  if redis.call('HGET', key, 'runner') == id then redis.call('HDEL', key, 'runner', 'until') end
end

-- number is the number of a fence, which is followed by a nonce.
local function number(fence) return tonumber(string.match(fence, '^%d+')) end
