// Package seal keeps payloads, results and tokens unreadable in Redis.
//
// A Ring holds the keys of ENCRYPTION_KEYS. Every stored value starts with one
// byte that says what follows, so that a sealed value and a plain one are never
// mistaken for each other:
//
//	0x00 | plain
//	0x01 | length of the key id (1) | key id | nonce (12) | ciphertext | tag (16)
//
// Values are sealed with AES-256-GCM under a subkey derived from the named key
// with HKDF-SHA256, one subkey per label, so a payload can never be passed off
// as a token. The caller's additional data (the place where the value lies: a
// Redis key and a generation, a task type and ID) is authenticated with it, so
// a value moved to another place does not open. Nonces are random: one key may
// seal 2^32 values per label, which is decades of work; rotate it before.
//
// # Rotation
//
// The first key of the ring seals, every key of the ring opens:
//
//  1. deploy ENCRYPTION_KEYS=k1:…,k2:… so that every process can read k2;
//  2. deploy ENCRYPTION_KEYS=k2:…,k1:… so that every process writes k2;
//  3. when the longest kept value (archived tasks: 90 days) has gone, deploy
//     ENCRYPTION_KEYS=k2:….
//
// IDs, key names and fingerprints never depend on these keys: they are salted
// with Salt, a random value that lives in the same Redis as the state it
// protects.
package seal
