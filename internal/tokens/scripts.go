package tokens

import (
	"strconv"

	"errand.internal/internal/admission"
	"errand.internal/internal/redisscript"
)

// The scripts share their keys, the first three with the breaker of the credential:
//
//	KEYS[1] l  lease: the nonce of the process that logs in
//	KEYS[2] n  cool-down
//	KEYS[3] p  not used
//	KEYS[4] t  token: hash g (generation), b (sealed blob); expires with the token
//	KEYS[5] a  a 401 came on a fresh token: rejections are off
//	KEYS[6] s  a token was rejected on suspicion lately
//
// now is in microseconds. Every script may run twice, because go-redis repeats
// a command whose reply was lost.
func scriptKeys(k *admission.Keys) []string {
	return k.With("t", "a", "s")
}

// aad ties a sealed token to its credential and generation.
func aad(k *admission.Keys, gen int64) string {
	return k.With("t")[3] + "#" + strconv.FormatInt(gen, 10)
}

// beginScript: ARGV newest generation seen, nonce, lease ms.
// T newer token | N cooling down | L you log in | W another process does.
var beginScript = redisscript.New(admission.Prelude, `
local seen = tonumber(ARGV[1])
local t = redis.call('HMGET', KEYS[4], 'g', 'b')
local g = tonumber(t[1] or '0')
if g > seen then
  return {'T', t[1], t[2] or '', text(now), text(redis.call('PTTL', KEYS[4]))}
end
local left, why, n, reason = cooldown()
if left > 0 then return {'N', text(left), why, n, reason} end
if redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) or redis.call('GET', KEYS[1]) == ARGV[2] then
  return {'L', text(math.max(now, g + 1, seen + 1))}
end
return {'W', text(redis.call('PTTL', KEYS[1]))}`)

// commitScript: ARGV nonce, generation, blob, ttl ms. Fenced: an older
// generation never replaces a newer one. Replies whether this generation is
// stored, and whether the lease was still held (2: this is a repetition).
var commitScript = redisscript.New(`
local g = redis.call('HGET', KEYS[4], 'g')
redis.call('DEL', KEYS[2])
if g == ARGV[2] then return {'1', '2'} end
local stored = '0'
if not g or tonumber(g) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[4], 'g', ARGV[2], 'b', ARGV[3])
  redis.call('PEXPIRE', KEYS[4], ARGV[4])
  stored = '1'
end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  return {stored, '1'}
end
return {stored, '0'}`)

// rejectScript: ARGV generation. 2 newer token stored | 1 rejected or gone | 0
// rejections are off, with the ms left.
var rejectScript = redisscript.New(`
local g = redis.call('HGET', KEYS[4], 'g')
if g and tonumber(g) > tonumber(ARGV[1]) then return {'2'} end
if g ~= ARGV[1] then return {'1'} end
local off = redis.call('PTTL', KEYS[5])
if off > 0 then return {'0', string.format('%.0f', off)} end
redis.call('DEL', KEYS[4])
return {'1'}`)

// rejectsOffScript: ARGV ms. Switches rejections off for a while.
var rejectsOffScript = redisscript.New(`
redis.call('SET', KEYS[5], '1', 'PX', ARGV[1])
return {'1'}`)

// suspectScript: ARGV generation, window ms. Replies as rejectScript.
var suspectScript = redisscript.New(`
local g = redis.call('HGET', KEYS[4], 'g')
if g and tonumber(g) > tonumber(ARGV[1]) then return {'2'} end
if g ~= ARGV[1] then return {'1'} end
local off = math.max(redis.call('PTTL', KEYS[5]), redis.call('PTTL', KEYS[6]))
if off > 0 then return {'0', string.format('%.0f', off)} end
redis.call('SET', KEYS[6], '1', 'PX', ARGV[2])
redis.call('DEL', KEYS[4])
return {'1'}`)

// lifeScript replies the ms left of the token.
var lifeScript = redisscript.New(`
return {string.format('%.0f', redis.call('PTTL', KEYS[4]))}`)

// trustScript switches rejections on again.
var trustScript = redisscript.New(`
redis.call('DEL', KEYS[5])
return {'1'}`)
