package admission

import "errand.internal/internal/redisscript"

// The scripts of a Breaker share their keys; those of internal/tokens have further ones:
//
//	KEYS[1] l  lease: the nonce of the one probe under way
//	KEYS[2] n  cool-down: hash until (µs), why (c refused, u login service),
//	           n (refusals), f (failures in a row), r (reason)
//	KEYS[3] p  what is guarded is proven: the breaker is closed
//
// Every script may run twice, because go-redis repeats a command whose reply was lost.

// Prelude is the head of such a script. It defines now, in microseconds; text, which
// writes a large number; and cooldown, which returns the ms left of the cool-down, why,
// the refusals and the reason.
const Prelude = redisscript.NowMicros + `
local function text(x) return string.format('%.0f', x) end
local function cooldown()
  local m = redis.call('HMGET', KEYS[2], 'until', 'why', 'n', 'r')
  local left = 0
  if m[1] then left = math.ceil((tonumber(m[1]) - now) / 1000) end
  return left, m[2] or '', m[3] or '0', m[4] or ''
end
`

// coolDownScript: ARGV nonce, must hold the lease (1/0), why, forced ms (0 = by
// the ladder), random number below 1, reason, ms refusals are kept, ms failures
// are kept, shortest and longest ms for u, then the steps for c in ms. A
// cool-down in force is not extended: one wrong password in 20 calls is one
// refusal. Replies whether the lease was held, the ms left, why, n, reason.
var coolDownScript = redisscript.New(Prelude, `
local held = redis.call('GET', KEYS[1]) == ARGV[1]
local left, why, n, reason = cooldown()
local in_force = left > 0 and (why == 'c' or ARGV[3] == 'u')
if (ARGV[2] == '0' or held) and not in_force then
  local step, keep
  why, reason = ARGV[3], ARGV[6]
  if why == 'c' then
    n = redis.call('HINCRBY', KEYS[2], 'n', 1)
    redis.call('HDEL', KEYS[2], 'f')
    step = tonumber(ARGV[10 + math.min(n, #ARGV - 10)])
    keep = tonumber(ARGV[7])
    n = text(n)
  else
    local base, cap = tonumber(ARGV[9]), tonumber(ARGV[10])
    local f = redis.call('HINCRBY', KEYS[2], 'f', 1)
    local top = math.min(cap, base * 2 ^ math.min(f, 20))
    step = base + math.floor((top - base) * tonumber(ARGV[5]))
    keep = tonumber(ARGV[8])
  end
  if tonumber(ARGV[4]) > 0 then step = tonumber(ARGV[4]) end
  redis.call('HSET', KEYS[2], 'until', text(now + step * 1000), 'why', why, 'r', reason)
  if redis.call('PTTL', KEYS[2]) < keep + step then redis.call('PEXPIRE', KEYS[2], text(keep + step)) end
  left = step
end
if ARGV[3] == 'c' then redis.call('DEL', KEYS[3]) end
if held then redis.call('DEL', KEYS[1]) end
return {held and '1' or '0', text(math.max(left, 0)), why, n, reason}`)

// giveUpScript gives a lease back: ARGV nonce.
var giveUpScript = redisscript.New(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) return {'1'} end
return {'0'}`)

// enterScript: ARGV nonce, lease ms, a call was accepted lately (1/0), proven
// ms. P proven | N cooling down | L you prove it | W another process does. A
// call accepted lately renews the proof, and restores it after Redis was
// emptied, but never against a refusal on record.
var enterScript = redisscript.New(Prelude, `
local left, why, n, reason = cooldown()
if left > 0 then return {'N', text(left), why, n, reason} end
local proven = redis.call('EXISTS', KEYS[3]) == 1
if ARGV[3] == '1' and (proven or redis.call('EXISTS', KEYS[2]) == 0) then
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
  proven = true
end
if proven then return {'P'} end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) or redis.call('GET', KEYS[1]) == ARGV[1] then
  return {'L'}
end
return {'W', text(redis.call('PTTL', KEYS[1]))}`)

// proveScript: ARGV nonce, proven ms.
var proveScript = redisscript.New(`
redis.call('SET', KEYS[3], '1', 'PX', ARGV[2])
redis.call('DEL', KEYS[2])
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return {'1'}`)

// stateScript reads everything and changes nothing. Replies whether the lease is held,
// the ms left of the cool-down, why, n, reason, whether it is proven.
var stateScript = redisscript.New(Prelude, `
local left, why, n, reason = cooldown()
return {
  text(redis.call('EXISTS', KEYS[1])), text(left), why, n, reason, text(redis.call('EXISTS', KEYS[3])),
}`)

// clearScript ends a cool-down.
var clearScript = redisscript.New(`
redis.call('DEL', KEYS[2])
return {'1'}`)
