package ledger

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
)

// ErrBadID says that a text is not a task ID (<queue>_<random>).
var ErrBadID = errors.New("not a task ID; an ID looks like otp_6wk3m5q2c4x7y")

// NewID returns a fresh ID in a queue. It is random, so it reveals nothing. It has
// no hyphen, because asynqmon's tables cut an ID at the first one.
func NewID(queue string) string { return queue + "_" + strings.ToLower(rand.Text()) }

// QueueOf tells the queue from an ID.
func QueueOf(id string) (string, error) {
	i := strings.LastIndexByte(id, '_')
	if i <= 0 || i == len(id)-1 {
		return "", ErrBadID
	}
	for _, r := range id {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return "", ErrBadID
		}
	}
	return id[:i], nil
}

func prefix(queue string) string { return "errand:{" + queue + "}:" }

func taskKey(queue, id string) string { return prefix(queue) + "task:" + id }

func parkedKey(queue, credential string) string { return prefix(queue) + "parked:" + credential }

func sequenceKey(queue string) string { return prefix(queue) + "seq" }

func trailKey(queue string) string { return prefix(queue) + "trail" }

func trailOpenKey(queue string) string { return trailKey(queue) + ":open" }

func deadKey(queue string) string { return prefix(queue) + "dead" }

func noticeKey(queue string) string { return prefix(queue) + "notices" }

func aliveKey(owner string) string { return "errand:alive:" + owner }

func saltKey(queue string) string { return prefix(queue) + "salt" }

func doneChannel(id string) string { return "errand:done:" + id }

// digest hides a text behind the queue's salt. The salt lives in the same
// Redis as the keys made with it, so it is lost only together with them; it
// has nothing to do with the encryption keys, whose rotation would change every
// digest.
func digest(salt string, parts ...string) string {
	mac := hmac.New(sha256.New, []byte(salt))
	for _, p := range parts {
		mac.Write([]byte{byte(len(p) >> 24), byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p))})
		mac.Write([]byte(p))
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
