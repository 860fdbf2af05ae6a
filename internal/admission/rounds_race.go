//go:build race

package admission

// pbkdf2Rounds is small with the race detector, which makes each round some 25 times as
// slow: the many worker processes of the tests would spend most of their time on it.
const pbkdf2Rounds = 1 << 8
