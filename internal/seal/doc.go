// Package seal encrypts the payloads, results and tokens that are kept in Redis.
//
// A Ring holds the keys of ENCRYPTION_KEYS. The first byte of a stored value
// tells a sealed value from a plain one:
//
//	0x00 | plain
//	0x01 | length of the key id (1) | key id | nonce (12) | ciphertext | tag (16)
//
// Values are sealed with AES-256-GCM under a subkey derived from the named key
// with HKDF-SHA256, one subkey per label, so that a payload cannot pass for a
// token. The caller's additional data (where the value is kept: a Redis key and
// a generation, a task type and ID) is authenticated as well, so that a value
// moved to another place does not open. Nonces are random: one key may seal
// 2^32 values per label, which takes decades; rotate it before.
//
// # Rotation
//
// The first key of the ring seals, every key of the ring opens:
//
//  1. deploy ENCRYPTION_KEYS=k1:…,k2:… so that every process can read k2;
//  2. deploy ENCRYPTION_KEYS=k2:…,k1:… so that every process writes k2;
//  3. when the last value sealed with k1 is gone (archived tasks are kept for
//     90 days), deploy ENCRYPTION_KEYS=k2:….
//
// IDs, key names and fingerprints do not depend on these keys. They are keyed
// with Salt, a random value in the same Redis.
package seal
