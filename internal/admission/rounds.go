//go:build !race

package admission

// pbkdf2Rounds makes a fingerprint cost about 5 ms. Key names are visible,
// passwords are guessable and the salt is in the same Redis: a plain hash in a
// stolen dump would let an attacker try passwords by the billion.
const pbkdf2Rounds = 1 << 15
