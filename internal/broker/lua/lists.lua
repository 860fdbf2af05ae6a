-- seconds writes a time in ms as asynq's sorted sets have it.
local function seconds(ms) return string.format('%.3f', ms / 1000) end

-- nanos is now as asynq's pending_since has it.
local function nanos() return time[1] .. string.format('%06d', time[2]) .. '000' end

-- asynq's lists. A task is in exactly one of them; the field state of its hash names it.
local function delay(id, set, ms)
  redis.call('ZADD', A .. set, seconds(ms), id)
  redis.call('HSET', A .. 't:' .. id, 'state', set)
end

-- ended counts the tasks of this call for asynq's statistics, by name and day.
local ended = {}
local function count(name)
  local daily = name .. ':' .. arg.day
  ended[daily] = (ended[daily] or 0) + 1
end

-- unlist takes a task out of the list that it is in. Of the tasks in progress those
-- that came first end first: they are at the list's end.
local function unlist(id)
  if redis.call('LREM', A .. 'active', '-1', id) == 1 then return end
  local state = redis.call('HGET', A .. 't:' .. id, 'state')
  if state == 'pending' then
    redis.call('LREM', A .. 'pending', '0', id)
  elseif state and state ~= 'active' then
    redis.call('ZREM', A .. state, id)
  end
end

-- unlock frees the lock of a unique task of a plain asynq client.
local function unlock(id)
  local lock = redis.call('HGET', A .. 't:' .. id, 'unique_key')
  if lock and redis.call('GET', lock) == id then redis.call('DEL', lock) end
end

-- record reads all fields of a task's record. Most have few, so that this is cheaper
-- than to ask for those that matter.
local function record(task)
  local r, all = {}, redis.call('HGETALL', task)
  for i = 1, #all, 2 do r[all[i]] = all[i + 1] end
  return r
end

-- put adds a field to those that are to be written, if it has a value.
local function put(fields, name, value)
  if value then
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
end

-- once reads what is written once: redelivery, retention, key TTL, flags, key,
-- intent, role, alone, version; '-' for none. The scripts use all but the last.
local function once(text)
  return string.match(text or '', '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)')
end

-- asked reads when a task was asked for and is due (ms), for how long from then on it
-- is usable (ms), and its type.
local function asked(text)
  local created, delay, usable, kind = string.match(text, '^(%d+) (%d+) (%d+) (.*)$')
  return created, created + delay, usable, kind
end

-- keyed reads a producer's key: whose it is, the digest of its payload ('-' if not known),
-- and the outcome, '' while there is none. A text is smaller than a hash of the three.
local function keyed(name)
  return string.match(redis.call('GET', name) or '', '^(%S+) (%S+) ?(%S*)$')
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
  redis.call('HSET', task, 'asked', arg.asked, 'once', arg.once)
  if intent ~= '-' then redis.call('HSET', task, 'seq', redis.call('INCR', R .. 'seq')) end
  if key ~= '-' then redis.call('SET', R .. 'key:' .. key, id .. ' -', 'NX') end
  if alone ~= '-' then redis.call('SET', R .. 'alone:' .. alone, id, 'NX') end
  if string.find(flags, 'a') then
    redis.call('ZADD', R .. 'audit:open', 'NX', select(2, asked(arg.asked)), id)
    if intent ~= '-' then redis.call('SADD', R .. 'audit:of:' .. intent, id) end
  end
end

-- othersalt returns Redis' salt if the digests among the arguments were made with another.
local rightsalt -- once it is read
local function othersalt()
  rightsalt = rightsalt or redis.call('GET', R .. 'salt')
  if not rightsalt then
    redis.call('SET', R .. 'salt', arg.salt)
    rightsalt = arg.salt
  end
  return rightsalt ~= arg.salt and rightsalt
end

-- release frees the lock on an intent's subject.
local function release(id, intent)
  local key = R .. 'intent:' .. intent
  if redis.call('HGET', key, 'runner') == id then redis.call('HDEL', key, 'runner', 'until') end
end

-- number is the number of a fence, which is followed by a nonce.
local function number(fence) return tonumber(string.match(fence, '^%d+')) end

-- passing are the fields of a record that an end takes away, beside its claim.
local passing = {'verdict', 'started', 'reconfirm', 'abandoned', 'parked', 'code', 'message', 'doubt', 'place',
  'change'}
