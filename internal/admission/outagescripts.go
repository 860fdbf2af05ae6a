package admission

import "errand.internal/internal/redisscript"

// The scripts of an Outage share one key, a hash; without it the breaker is closed and no
// call has failed lately:
//
//	state     open | half | ramp; missing: closed
//	why       outage | refused (403) | quota (429 without Retry-After)
//	until     open: until when (µs)
//	level     how often it has opened in a row
//	closed    when it closed last (µs)
//	probe     half: the nonce of the probe; lease its end (µs)
//	keen      until when a repeatable task waits to be the probe (µs)
//	ramp      ramp: since when (µs); second, started: the calls started in its second
//	ok, bad   ramp: the answers so far
//	run       closed: failures in a row; since the first of them (µs)
//	o<n>, b<n> closed: answers and failures of the n-th tenth of the window
const outagePrelude = storePrelude + `
local key = KEYS[1]
local h, flat = {}, redis.call('HGETALL', key)
for i = 1, #flat, 2 do h[flat[i]] = flat[i + 1] end
local function keep() redis.call('PEXPIRE', key, 7200000) end

-- open opens the breaker: for first at the first time in a row, then for twice as long
-- each time, up to most. What opened and closed within a minute goes on where it was.
local function open(why, first, most)
  local level = num(h.level)
  if not h.state and (h.why ~= why or now - num(h.closed) > 60000000 + most) then level = 0 end
  if h.state and h.why ~= why then level = 0 end
  local wait = math.min(first * 2 ^ math.min(level, 20), most)
  redis.call('DEL', key)
  redis.call('HSET', key, 'state', 'open', 'why', why, 'until', text(now + wait), 'level', text(level + 1),
    'keen', h.keen or '0')
  keep()
  return wait
end
`

// Replies of the scripts: closed | open, µs left, why, whether this call changed it | half |
// ramp.

// countScript tells of answers of a closed breaker: ARGV[2] answers, [3] how long ago the
// latest came, [4] failures, [5] share in percent, [6] window, [7] first and [8] longest
// wait. Answers of before the first failure in a row do not end the row. It opens the
// breaker if at least ten calls of the window, or the last 20, say so. It also replies
// whether a call failed within the window.
var countScript = redisscript.New(outagePrelude, `
if h.state then return {h.state, text(math.max(num(h['until']) - now, 0)), h.why or '', '0'} end
local ok, bad, window = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[6])
if bad == 0 and #flat == 0 then return {'closed'} end -- nothing failed: nothing to remember
local tenth = window / 10
local slot = math.floor(now / tenth)
local oks, bads = ok, bad
for field, value in pairs(h) do
  local kind, n = string.match(field, '^([ob])(%d+)$')
  if kind then
    if tonumber(n) <= slot - 10 then
      redis.call('HDEL', key, field)
    elseif kind == 'o' then
      oks = oks + tonumber(value)
    else
      bads = bads + tonumber(value)
    end
  end
end
local run, since = num(h.run), num(h.since)
if ok > 0 and now - tonumber(ARGV[3]) > since then run = 0 end
if run == 0 then since = now end
run = run + bad
if bad > 0 and (oks + bads >= 10 and bads * 100 >= (oks + bads) * tonumber(ARGV[5]) or run >= 20) then
  return {'open', text(open('outage', tonumber(ARGV[7]), tonumber(ARGV[8]))), 'outage', '1'}
end
if ok > 0 then redis.call('HINCRBY', key, 'o' .. text(slot), ok) end
if bad > 0 then redis.call('HINCRBY', key, 'b' .. text(slot), bad) end
redis.call('HSET', key, 'run', run, 'since', text(since))
if redis.call('PTTL', key) < window / 1000 then redis.call('PEXPIRE', key, text(window / 1000 * 2)) end
return {'closed', '0', '', '0', bads > 0 and '1' or '0'}`)

// admitScript asks for one call of a breaker that is not closed: ARGV[2] nonce, [3] lease,
// [4] repeatable (1/0), [5] how long a repeatable task that must wait counts as waiting.
//
// closed | open, µs left, why | probe | ramp: go | wait, µs, why.
var admitScript = redisscript.New(outagePrelude, `
if not h.state then return {'closed'} end
local repeatable = ARGV[4] == '1'
local function wait(state, left)
  if repeatable then redis.call('HSET', key, 'keen', text(now + tonumber(ARGV[5]))) end
  return {state, text(left), h.why or '', '0'}
end
if h.state == 'open' then
  local left = num(h['until']) - now
  if left > 0 then return wait('open', left) end
  redis.call('HSET', key, 'state', 'half')
  h.state = 'half'
end
if h.state == 'half' then
  if h.probe == ARGV[2] then return {'probe'} end -- the reply was lost
  local busy = num(h.lease) - now
  if h.probe and busy > 0 then return wait('wait', busy) end
  if not repeatable and num(h.keen) > now then return wait('wait', 1000000) end
  redis.call('HSET', key, 'probe', ARGV[2], 'lease', text(now + tonumber(ARGV[3])))
  keep()
  return {'probe'}
end
local second = math.floor((now - num(h.ramp)) / 1000000)
local started = h.second == text(second) and num(h.started) or 0
if started >= 2 ^ second then return wait('wait', (second + 1) * 1000000 - (now - num(h.ramp))) end
redis.call('HSET', key, 'second', text(second), 'started', started + 1)
return {'ramp'}`)

// openScript opens the breaker: ARGV[2] why, [3] first and [4] longest wait. One that is open
// is not extended: of 20 calls that are refused together one speaks for all.
var openScript = redisscript.New(outagePrelude, `
if h.state == 'open' and num(h['until']) > now then return {'open', text(num(h['until']) - now), h.why, '0'} end
return {'open', text(open(ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))), ARGV[2], h.state and '0' or '1'}`)

// forgetScript closes the breaker and forgets everything.
var forgetScript = redisscript.New(`
redis.call('DEL', KEYS[1])
return {'1'}`)

// reportScript tells how a call of a half-open breaker or of a ramp ended: ARGV[2] nonce (of
// the probe; empty: of the ramp), [3] good | bad | none, [4] share in percent, [5] first and
// [6] longest wait, [7] why.
var reportScript = redisscript.New(outagePrelude, `
local first, most = tonumber(ARGV[5]), tonumber(ARGV[6])
local function as_is() return {h.state or 'closed', text(num(h['until']) - now), h.why or '', '0'} end
local function reopen()
  return {'open', text(open(ARGV[7], first, most)), ARGV[7], '0'}
end
if ARGV[2] ~= '' then
  if h.state ~= 'half' or h.probe ~= ARGV[2] then return as_is() end
  redis.call('HDEL', key, 'probe', 'lease')
  if ARGV[3] == 'bad' then return reopen() end
  if ARGV[3] == 'none' then return {'half'} end
  redis.call('HSET', key, 'state', 'ramp', 'ramp', text(now), 'ok', 1, 'bad', 0)
  redis.call('HDEL', key, 'second', 'started')
  keep()
  return {'ramp'}
end
if h.state ~= 'ramp' then return as_is() end
local ok, bad = num(h.ok), num(h.bad)
if ARGV[3] == 'good' then ok = ok + 1 end
if ARGV[3] == 'bad' then bad = bad + 1 end
redis.call('HSET', key, 'ok', ok, 'bad', bad)
if ARGV[3] == 'bad' and (ARGV[7] ~= 'outage' or bad * 100 >= (ok + bad) * tonumber(ARGV[4])) then return reopen() end
if now - num(h.ramp) >= 7000000 then
  redis.call('DEL', key)
  redis.call('HSET', key, 'why', h.why, 'level', h.level or '1', 'closed', text(now))
  redis.call('PEXPIRE', key, text((60000000 + most) / 1000))
  return {'closed', '0', h.why, '1'}
end
return {'ramp'}`)

// outageStateScript reads and changes nothing.
var outageStateScript = redisscript.New(outagePrelude, `
if not h.state then return {'closed'} end
local left = math.max(num(h['until']) - now, 0)
if h.state == 'open' and left == 0 then return {'half', '0', h.why or ''} end
return {h.state, text(left), h.why or ''}`)
