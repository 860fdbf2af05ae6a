-- forget erases what an ended task holds of a person: its payload, its result, the digests
-- of its subjects and of the vendor's IDs, and the digest of its payload. Its outcome, its
-- attempts and the key that keeps it from happening twice stay. It may run twice.
--
-- id, digest: by which the task was found; empty for one that was found by what it says
-- lists: '<key> <key>…' of the index, from which the task's entries are taken
--
-- Returns {answer, kept…}. The answer is erased, gone (no such task), other (it is not found
-- by the digest any more), or the state that forbids it. key <ms> is kept with the time for
-- which the key is; audit and intent say what of the off-boarding record is.
local task, t = R .. 'task:' .. arg.id, A .. 't:' .. arg.id
local r = record(task)
if not r.asked then return {'gone'} end
local digests = (r.of or '') .. ' ' .. (r.ids or '')
if not string.find(digests, arg.digest, 1, true) then return {'other'} end
if not r.outcome then
  if r.owner then return {'running'} end
  if r.parked then return {'parked'} end
  return {r.next and 'retrying' or 'pending'}
end
local _, _, _, flags, key, intent = once(r.once)
local kept = {'erased'}
unlist(arg.id)
unlock(arg.id)
redis.call('DEL', t, R .. 'data:' .. arg.id)
for list in string.gmatch(arg.lists, '%S+') do
  for digest in string.gmatch(digests, '%S+') do
    redis.call('LREM', list, 0, digest .. arg.id)
  end
end
redis.call('HDEL', task, 'of', 'ids', 'place')
if redis.call('PTTL', task) < 0 then redis.call('PEXPIRE', task, 86400000) end
local name = R .. 'key:' .. (key or '-')
local holder, _, outcome = keyed(name)
if holder == arg.id then
  redis.call('SET', name, arg.id .. ' - ' .. outcome, 'KEEPTTL')
  kept[#kept + 1] = 'key ' .. string.format('%.0f', redis.call('PTTL', name))
end
if flags and string.find(flags, 'a') then kept[#kept + 1] = 'audit' end
if intent and intent ~= '-' then kept[#kept + 1] = 'intent' end
return kept
