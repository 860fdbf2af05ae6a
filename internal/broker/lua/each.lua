-- The end of every script: the step for each task of the call. Each has its own answer,
-- and what goes wrong with one is its own error.
local msgpack = rawget(_G, 'cmsgpack')
local unpacked = msgpack and msgpack.unpack or byhand

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
