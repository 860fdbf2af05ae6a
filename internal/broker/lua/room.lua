-- sealed reports whether the workers demand keys. It looks once for all tasks of a call.
local demanded
local function sealed()
  if demanded == nil then demanded = redis.call('EXISTS', R .. 'sealed') == 1 end
  return demanded
end

-- room returns why the queue takes no more tasks; nil if it takes one. It looks once for all
-- tasks of a call.
local waiting, used
local function room()
  if arg.most then
    waiting = waiting
      or redis.call('LLEN', A .. 'pending') + redis.call('ZCARD', A .. 'scheduled') + redis.call('ZCARD', A .. 'retry')
    if waiting >= tonumber(arg.most) then return {'full', tostring(waiting)} end
  end
  if arg.memory and not used then
    local info = redis.pcall('INFO', 'memory') -- an error, as text is not: the user may not ask
    local bytes = type(info) == 'string' and string.match(info, 'used_memory:(%d+)')
    local most = bytes and tonumber(string.match(info, 'maxmemory:(%d+)')) or 0
    used = most > 0 and bytes * 100 / most or 0
  end
  if used and used > 90 then return {'memory', string.format('%.0f', used)} end
end
