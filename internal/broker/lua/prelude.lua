-- The prelude of every script. KEYS are two prefixes, of the record's keys and of
-- asynq's keys of the same queue. Each of ARGV is one task's arguments: a map of texts,
-- as MessagePack. An argument that does not apply is left out.
local redis, string = redis, string -- as locals they cost less
local R, A = KEYS[1], KEYS[2]
local arg -- of the task at hand
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local stamp = string.format('%.0f', now) -- now as text: a number costs redis.call as much as the command
