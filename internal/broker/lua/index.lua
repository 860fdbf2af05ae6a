-- index has a task found by digests until its record expires (internal/record: IndexKeys).
-- Only the first entry of a list costs more than one command.
local function index(digests, id, expires)
  local span, kind = 3600000, 'h'
  if expires - now >= 100 * 24 * span then
    span, kind = 365 * 24 * span, 'y'
  elseif expires - now >= 48 * span then
    span, kind = 24 * span, 'd'
  end
  local last = math.floor(expires / span) + 1
  for digest in string.gmatch(digests, '%S+') do
    local list = R .. 'index:' .. kind .. string.format('%.0f', last) .. ':' .. string.sub(digest, 1, 2)
    if redis.call('RPUSH', list, digest .. id) == 1 then
      redis.call('PEXPIREAT', list, string.format('%.0f', last * span))
    end
  end
end
