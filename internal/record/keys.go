package record

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"strings"
	"sync"
)

// ErrBadID says that a text is no task ID of ours (<queue>_<random>), and that no plain
// asynq client has enqueued a task with it.
var ErrBadID = errors.New("not a task ID; an ID looks like otp_6wk3m5q2c4x7y")

// NewID returns a new ID in a queue. It is random, so it reveals nothing. It has
// no hyphen, because asynqmon's tables cut an ID at the first one.
func NewID(queue string) string {
	return queue + "_" + strings.ToLower(RandomText())
}

// RandomText returns a random text of 80 bits: as much as tells billions of tasks apart,
// and short, because each task has it in five places of Redis. A secret needs more.
func RandomText() string {
	return rand.Text()[:16]
}

// QueueOf returns the queue of an ID that NewID made.
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

// Prefix is the start of all keys of a queue.
func Prefix(queue string) string {
	return "errand:{" + queue + "}:"
}

// QueuesKey is asynq's set of the names of all queues.
const QueuesKey = "asynq:queues"

// Key returns the key of a task's record.
func Key(queue, id string) string {
	return Prefix(queue) + "task:" + id
}

func logKey(queue, id string) string {
	return Prefix(queue) + "log:" + id
}

func dataKey(queue, id string) string {
	return Prefix(queue) + "data:" + id
}

func parkedKey(queue, blocker string) string {
	return Prefix(queue) + "parked:" + blocker
}

// SealedKey is the key that is there while the workers of a queue demand encryption.
func SealedKey(queue string) string {
	return Prefix(queue) + "sealed"
}

func blockersKey(queue string) string {
	return Prefix(queue) + "blockers"
}

func auditKey(queue string) string {
	return Prefix(queue) + "audit"
}

func unconfirmedKey(queue string) string {
	return auditKey(queue) + ":open"
}

func announcedKey(queue string) string {
	return auditKey(queue) + ":announced"
}

func deadKey(queue string) string {
	return Prefix(queue) + "dead"
}

func outboxKey(queue string) string {
	return Prefix(queue) + "outbox"
}

func heartbeatKey(owner string) string {
	return "errand:alive:" + owner
}

// EndChannel is the channel on which the end of a task is published if somebody
// waits for it.
func EndChannel(id string) string {
	return "errand:done:" + id
}

// digestSize is the size of a digest in bytes. 96 bits keep the digests of
// billions of keys apart, and a field that holds one stays short.
const digestSize = 12

// Digest hides a text behind the queue's salt. The salt lies in the same Redis as
// the digests made with it, so it is lost only together with them. It is unrelated
// to the encryption keys, whose rotation would change every digest.
func Digest(salt string, parts ...string) string {
	return base64.RawURLEncoding.EncodeToString(digest(salt, parts...)[:digestSize])
}

// macs are hashes with the salt of a queue, which take as long to make as to use.
var macs sync.Pool

// keptText is the capacity up to which a hash keeps its text.
const keptText = 4 << 10

type saltedMAC struct {
	salt string
	hash hash.Hash
	text []byte // of the parts
}

func digest(salt string, parts ...string) []byte {
	mac, _ := macs.Get().(*saltedMAC)
	if mac == nil || mac.salt != salt {
		mac = &saltedMAC{salt: salt, hash: hmac.New(sha256.New, []byte(salt))}
	}
	defer macs.Put(mac)
	for _, p := range parts {
		mac.text = binary.BigEndian.AppendUint32(mac.text, uint32(len(p)))
		mac.text = append(mac.text, p...)
	}
	mac.hash.Reset()
	mac.hash.Write(mac.text)
	clear(mac.text) // a payload, or a person's address
	if mac.text = mac.text[:0]; cap(mac.text) > keptText {
		mac.text = nil
	}
	return mac.hash.Sum(nil)
}
