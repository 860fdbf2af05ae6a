package tokens

import "errand.internal/internal/redisscript"

// The scripts share their keys:
//
//	KEYS[1] t  token: hash g (generation), b (sealed blob); expires with the token
//	KEYS[2] l  lease: the nonce of the process that logs in or proves
//	KEYS[3] n  cool-down: hash until (µs), why (c credential, u login service),
//	           n (refusals), f (failures in a row), r (reason)
//	KEYS[4] a  a 401 came on a fresh token: rejections are off
//	KEYS[5] s  a token was rejected on suspicion lately
//	KEYS[6] p  a static credential is proven
//
// now is in microseconds. Every script may run twice, because go-redis repeats
// a command whose reply was lost.
const prelude = redisscript.NowMicros + `
local function text(x) return string.format('%.0f', x) end
local function cooldown()
  local m = redis.call('HMGET', KEYS[3], 'until', 'why', 'n', 'r')
  local left = 0
  if m[1] then left = math.ceil((tonumber(m[1]) - now) / 1000) end
  return left, m[2] or '', m[3] or '0', m[4] or ''
end
`

// beginScript: ARGV newest generation seen, nonce, lease ms.
// T newer token | N cooling down | L you log in | W another process does.
var beginScript = redisscript.New(prelude, `
local seen = tonumber(ARGV[1])
local t = redis.call('HMGET', KEYS[1], 'g', 'b')
local g = tonumber(t[1] or '0')
if g > seen then
  return {'T', t[1], t[2] or '', text(now), text(redis.call('PTTL', KEYS[1]))}
end
local left, why, n, reason = cooldown()
if left > 0 then return {'N', text(left), why, n, reason} end
if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) or redis.call('GET', KEYS[2]) == ARGV[2] then
  return {'L', text(math.max(now, g + 1, seen + 1))}
end
return {'W', text(redis.call('PTTL', KEYS[2]))}`)

// commitScript: ARGV nonce, generation, blob, ttl ms. Fenced: an older
// generation never replaces a newer one. Replies whether this generation is
// stored, and whether the lease was still held (2: this is a repetition).
var commitScript = redisscript.New(`
local g = redis.call('HGET', KEYS[1], 'g')
redis.call('DEL', KEYS[3])
if g == ARGV[2] then return {'1', '2'} end
local stored = '0'
if not g or tonumber(g) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'g', ARGV[2], 'b', ARGV[3])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  stored = '1'
end
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('DEL', KEYS[2])
  return {stored, '1'}
end
return {stored, '0'}`)

// coolDownScript: ARGV nonce, must hold the lease (1/0), why, forced ms (0 = by
// the ladder), random number below 1, reason, ms refusals are kept, ms failures
// are kept, shortest and longest ms for u, then the steps for c in ms. A
// cool-down in force is not extended: one wrong password in 20 calls is one
// refusal. Replies whether the lease was held, the ms left, why, n, reason.
var coolDownScript = redisscript.New(prelude, `
local held = redis.call('GET', KEYS[2]) == ARGV[1]
local left, why, n, reason = cooldown()
local in_force = left > 0 and (why == 'c' or ARGV[3] == 'u')
if (ARGV[2] == '0' or held) and not in_force then
  local step, keep
  why, reason = ARGV[3], ARGV[6]
  if why == 'c' then
    n = redis.call('HINCRBY', KEYS[3], 'n', 1)
    redis.call('HDEL', KEYS[3], 'f')
    step = tonumber(ARGV[10 + math.min(n, #ARGV - 10)])
    keep = tonumber(ARGV[7])
    n = text(n)
  else
    local base, cap = tonumber(ARGV[9]), tonumber(ARGV[10])
    local f = redis.call('HINCRBY', KEYS[3], 'f', 1)
    local top = math.min(cap, base * 2 ^ math.min(f, 20))
    step = base + math.floor((top - base) * tonumber(ARGV[5]))
    keep = tonumber(ARGV[8])
  end
  if tonumber(ARGV[4]) > 0 then step = tonumber(ARGV[4]) end
  redis.call('HSET', KEYS[3], 'until', text(now + step * 1000), 'why', why, 'r', reason)
  if redis.call('PTTL', KEYS[3]) < keep + step then redis.call('PEXPIRE', KEYS[3], text(keep + step)) end
  left = step
end
if ARGV[3] == 'c' then redis.call('DEL', KEYS[6]) end
if held then redis.call('DEL', KEYS[2]) end
return {held and '1' or '0', text(math.max(left, 0)), why, n, reason}`)

// releaseScript: ARGV nonce.
var releaseScript = redisscript.New(`
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) return {'1'} end
return {'0'}`)

// rejectScript: ARGV generation. 2 newer token stored | 1 rejected or gone | 0
// rejections are off, with the ms left.
var rejectScript = redisscript.New(`
local g = redis.call('HGET', KEYS[1], 'g')
if g and tonumber(g) > tonumber(ARGV[1]) then return {'2'} end
if g ~= ARGV[1] then return {'1'} end
local off = redis.call('PTTL', KEYS[4])
if off > 0 then return {'0', string.format('%.0f', off)} end
redis.call('DEL', KEYS[1])
return {'1'}`)

// rejectsOffScript: ARGV ms. Switches rejections off for a while.
var rejectsOffScript = redisscript.New(`
redis.call('SET', KEYS[4], '1', 'PX', ARGV[1])
return {'1'}`)

// suspectScript: ARGV generation, window ms. Replies as rejectScript.
var suspectScript = redisscript.New(`
local g = redis.call('HGET', KEYS[1], 'g')
if g and tonumber(g) > tonumber(ARGV[1]) then return {'2'} end
if g ~= ARGV[1] then return {'1'} end
local off = math.max(redis.call('PTTL', KEYS[4]), redis.call('PTTL', KEYS[5]))
if off > 0 then return {'0', string.format('%.0f', off)} end
redis.call('SET', KEYS[5], '1', 'PX', ARGV[2])
redis.call('DEL', KEYS[1])
return {'1'}`)

// enterScript: ARGV nonce, lease ms, a call was accepted lately (1/0), proven
// ms. P proven | N cooling down | L you prove it | W another process does. A
// call accepted lately renews the proof, and restores it after Redis was
// emptied, but never against a refusal on record.
var enterScript = redisscript.New(prelude, `
local left, why, n, reason = cooldown()
if left > 0 then return {'N', text(left), why, n, reason} end
local proven = redis.call('EXISTS', KEYS[6]) == 1
if ARGV[3] == '1' and (proven or redis.call('EXISTS', KEYS[3]) == 0) then
  redis.call('SET', KEYS[6], '1', 'PX', ARGV[4])
  proven = true
end
if proven then return {'P'} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) or redis.call('GET', KEYS[2]) == ARGV[1] then
  return {'L'}
end
return {'W', text(redis.call('PTTL', KEYS[2]))}`)

// proveScript: ARGV nonce, proven ms.
var proveScript = redisscript.New(`
redis.call('SET', KEYS[6], '1', 'PX', ARGV[2])
redis.call('DEL', KEYS[3])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return {'1'}`)

// stateScript reads everything and changes nothing. Replies the ms left of the
// token, whether the lease is held, the ms left of the cool-down, why, n,
// reason, whether the credential is proven.
var stateScript = redisscript.New(prelude, `
local left, why, n, reason = cooldown()
return {
  text(redis.call('PTTL', KEYS[1])), text(redis.call('EXISTS', KEYS[2])),
  text(left), why, n, reason, text(redis.call('EXISTS', KEYS[6])),
}`)

// clearScript ends a cool-down and switches rejections on again.
var clearScript = redisscript.New(`
redis.call('DEL', KEYS[3], KEYS[4])
return {'1'}`)
