package bulk

import (
	"crypto/sha256"
	"sync"

	"errand.internal/tasks"
)

// checkedRows tells a dry run which keys the rows of a file have taken. It keeps 32
// bytes a key. The zero value is ready to use.
type checkedRows struct {
	mu       sync.Mutex
	payloads map[[16]byte][16]byte // digests of payloads by those of their identities
}

// add reports whether an earlier row is the same task as p. Its error is
// tasks.ErrKeyConflict if one with another payload has the key.
func (c *checkedRows) add(p *pendingRow, payload tasks.Payload) (duplicate bool, err error) {
	content, err := digest(payload)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256([]byte(p.taskType + "\x00" + p.key))
	identity := [16]byte(sum[:])
	c.mu.Lock()
	defer c.mu.Unlock()
	earlier, taken := c.payloads[identity]
	switch {
	case taken && earlier != content:
		return false, tasks.ErrKeyConflict
	case taken:
		return true, nil
	case c.payloads == nil:
		c.payloads = map[[16]byte][16]byte{}
	}
	c.payloads[identity] = content
	return false, nil
}
