-- The end of every script: the step for each task of the call. Each has its own answer,
-- and what goes wrong with one is its own error.
--
-- The demo's embedded Redis has no cmsgpack: there a map of texts is read by hand.
local msgpack = rawget(_G, 'cmsgpack')
local unpacked = msgpack and msgpack.unpack or function(packed)
  local map, name, at = {}, nil, 4
  while at <= #packed do
    local head, a, b, c, d = string.byte(packed, at, at + 4)
    local size
    if head == 0xda then
      size, at = a * 256 + b, at + 3
    elseif head == 0xdb then
      size, at = ((a * 256 + b) * 256 + c) * 256 + d, at + 5
    else
      size, at = head - 0xa0, at + 1
    end
    local text = string.sub(packed, at, at + size - 1)
    at = at + size
    if name then map[name] = text end
    name = not name and text or nil
  end
  return map
end

local function one(packed)
  arg = unpacked(packed)
  return step()
end

-- tally adds to asynq's statistics, of the day and in all. They are not worth an end that
-- fails.
local function tally()
  for daily, n in pairs(ended) do
    local sum = redis.pcall('INCRBY', A .. daily, n)
    if sum == n then redis.call('PEXPIRE', A .. daily, 7776000000) end -- 90 days, as asynq
    local total = A .. string.match(daily, '^%a+')
    if type(redis.pcall('INCRBY', total, n)) == 'table' then
      redis.pcall('SET', total, n) -- as asynq does at the largest number
    end
  end
end

if #ARGV == 1 then
  local answer = one(ARGV[1])
  tally()
  return answer
end
local answers = {}
for i = 1, #ARGV do
  local fine, answer = pcall(one, ARGV[i])
  if not fine and type(answer) ~= 'table' then answer = redis.error_reply(answer) end
  answers[i] = answer or false
end
tally()
return answers
