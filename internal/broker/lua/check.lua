-- check compares a task's record with asynq's queue at one moment.
--
-- id
--
-- Returns 'ok', or each disagreement in words.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local found = {}
local function expect(holds, text) if not holds then found[#found + 1] = text end end

local state, msg = unpack(redis.call('HMGET', t, 'state', 'msg'))
local lists = {
  pending = redis.call('LPOS', A .. 'pending', arg.id),
  active = redis.call('LPOS', A .. 'active', arg.id),
}
for _, set in ipairs({'scheduled', 'retry', 'archived', 'completed'}) do
  lists[set] = redis.call('ZSCORE', A .. set, arg.id)
end
for list, place in pairs(lists) do
  if list == state then
    expect(place, 'asynq says ' .. list .. ', and it is not in that list')
  else
    expect(not place, 'it is in the list ' .. list .. ', and asynq says ' .. (state or 'nothing of it'))
  end
end
expect(not state or msg, "asynq's task has no message")

local r = record(task)
if not r.asked or select(4, asked(r.asked)) == '' then
  -- Only workers of ours complete tasks, and what they keep of one has no header.
  local ours = state == 'completed' or msg and string.find(msg, 'errand-usable', 1, true)
  expect(not ours or r.owner, 'a task of ours has no record')
  if #found == 0 then return 'ok' end
  return found
end
local _, _, _, flags, key, subject, _, alone = once(r.once)
expect(flags, 'the record does not say what was written once')
expect((state == 'active') == (r.owner and true or false), 'asynq says ' .. (state or 'nothing') .. ', the record names '
  .. (r.owner and 'the owner ' .. r.owner or 'no owner'))
local ttl = redis.call('PTTL', task)
if r.outcome then
  expect(not state or state == (archived(r.outcome) and 'archived' or 'completed') or state == 'pending',
    'it ended ' .. r.outcome .. ', and asynq says ' .. (state or ''))
  expect(ttl > 0, 'the record of an ended task is kept for ever')
  expect(not r.next and not r.parked and not r.owner, 'an ended task is to run again')
else
  expect(state, 'it has not ended, and asynq has no such task')
  expect(state ~= 'completed' and state ~= 'archived', 'it has not ended, and asynq says ' .. (state or ''))
  expect(ttl == -1, 'the record of a task that has not ended expires')
  expect(not (r.owner and (r.next or r.parked)), 'it runs and waits')
  expect(not r.next or state == 'retry' or state == 'pending' or state == 'scheduled', 'it is to run again, and asynq says '
    .. (state or ''))
end
expect(not r.parked or redis.call('SISMEMBER', R .. 'parked:' .. r.parked, arg.id) == 1, 'nobody would wake it')
if key and key ~= '-' then
  local holder, _, outcome = keyed(R .. 'key:' .. key)
  if not r.outcome then
    expect(holder == arg.id, 'its key is not its own')
    expect(redis.call('PTTL', R .. 'key:' .. key) == -1, 'the key of a task that has not ended expires')
  elseif holder == arg.id then
    expect(outcome == r.outcome, 'its key says ' .. (outcome == '' and 'nothing' or outcome) .. ' of its outcome')
  end
end
if alone and alone ~= '-' then
  local active = redis.call('GET', R .. 'alone:' .. alone) == arg.id
  expect(active == not r.outcome, 'it keeps others of its subject away, or does not')
end
if subject and subject ~= '-' and redis.call('HGET', R .. 'intent:' .. subject, 'runner') == arg.id then
  expect(r.owner, 'it locks its subject and does not run')
end
if flags and string.find(flags, 'a') then
  local open = redis.call('ZSCORE', R .. 'audit:open', arg.id)
  if not r.outcome then expect(open, 'it is not among the unconfirmed') end
  if r.outcome == 'done' then expect(not open, 'it is still among the unconfirmed') end
end
if #found == 0 then return 'ok' end
return found
