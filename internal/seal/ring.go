package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// The labels name what is sealed. Each has its own subkeys.
const (
	Token   = "token"
	Payload = "payload"
	Result  = "result"
)

// The first byte of a stored value.
const (
	markPlain  = 0x00
	markSealed = 0x01
)

// overhead is what AES-GCM with a random nonce adds: nonce and tag.
const overhead = 12 + 16

var (
	// ErrNoKey means that the value is sealed with a key that this process lacks.
	ErrNoKey = errors.New(
		"sealed with a key this process does not have: set ENCRYPTION_KEYS to the keys the workers use",
	)
	// ErrTampered means that the value was changed, cut short or moved from another
	// place, or that this package did not write it.
	ErrTampered = errors.New(
		"the sealed value does not open: it was changed, cut short or moved from another place",
	)
	// ErrNotSealed means that the value is plain and the ring is strict.
	ErrNotSealed = errors.New(
		"the value is not sealed, and ENCRYPTION_REQUIRED allows only sealed ones",
	)
)

// Ring seals with its first key and opens with any of them. The zero value and
// nil have no keys and write plain values, marked as such. Safe for concurrent
// use.
type Ring struct {
	keys   []*key // the first one seals
	strict bool
}

// key is one entry of the ring. Its subkeys are derived on first use.
type key struct {
	id     string
	secret []byte

	mu    sync.RWMutex
	aeads map[string]cipher.AEAD // by label
}

// Enabled reports whether the ring has keys.
func (r *Ring) Enabled() bool {
	return r != nil && len(r.keys) > 0
}

// Strict returns a ring with the same keys that refuses to open plain values
// (ENCRYPTION_REQUIRED). Other rings open them, because tasks from before the
// keys were set may still be waiting.
func (r *Ring) Strict() *Ring {
	if r == nil {
		return &Ring{strict: true}
	}
	return &Ring{keys: r.keys, strict: true}
}

// KeyIDs returns the ids of the keys, the active one first. Ids are not secret.
func (r *Ring) KeyIDs() []string {
	if r == nil {
		return nil
	}
	ids := make([]string, len(r.keys))
	for i, k := range r.keys {
		ids[i] = k.id
	}
	return ids
}

// Format implements fmt.Formatter, so that no verb reaches the keys.
func (r *Ring) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "ring(%s)", strings.Join(r.KeyIDs(), ","))
}

// Sealed reports whether a stored value is sealed, not whether it opens.
func Sealed(blob []byte) bool {
	return len(blob) > 0 && blob[0] == markSealed
}

// Seal returns the stored form of plain for the place that aad names. It does
// not modify plain.
func (r *Ring) Seal(label, aad string, plain []byte) []byte {
	if !r.Enabled() {
		return append(append(make([]byte, 0, 1+len(plain)), markPlain), plain...)
	}
	k := r.keys[0]
	size := 2 + len(k.id) + len(plain) + overhead
	// One allocation: the additional data is behind the value, outside its
	// capacity.
	buf := make([]byte, size+len(aad))
	extra := buf[size:]
	copy(extra, aad)
	out := buf[:0:size]
	out = append(out, markSealed, byte(len(k.id)))
	out = append(out, k.id...)
	return k.aead(label).Seal(out, nil, plain, extra)
}

// OpenPlain returns a value that was stored without any mark, by somebody who knows
// nothing of rings. It fails with ErrNotSealed if the ring is strict.
func (r *Ring) OpenPlain(value []byte) ([]byte, error) {
	if r != nil && r.strict {
		return nil, ErrNotSealed
	}
	return value, nil
}

// Open returns the plain value of blob. It fails with ErrNoKey, ErrTampered or,
// if the ring is strict, ErrNotSealed. It does not modify blob.
func (r *Ring) Open(label, aad string, blob []byte) ([]byte, error) {
	if len(blob) == 0 {
		return nil, ErrTampered
	}
	switch blob[0] {
	case markPlain:
		if r != nil && r.strict {
			return nil, ErrNotSealed
		}
		return append(make([]byte, 0, len(blob)-1), blob[1:]...), nil
	case markSealed:
	default:
		return nil, ErrTampered
	}
	if len(blob) < 2 || len(blob) < 2+int(blob[1])+overhead {
		return nil, ErrTampered
	}
	id, sealed := blob[2:2+int(blob[1])], blob[2+int(blob[1]):]
	k := r.find(id)
	if k == nil {
		if !validID(string(id)) {
			return nil, ErrTampered
		}
		return nil, fmt.Errorf("key id %q: %w", id, ErrNoKey)
	}
	size := len(sealed) - overhead
	buf := make([]byte, size+len(aad))
	extra := buf[size:]
	copy(extra, aad)
	plain, err := k.aead(label).Open(buf[:0:size], nil, sealed, extra)
	if err != nil {
		return nil, ErrTampered // the cipher's own error says less
	}
	return plain, nil
}

func (r *Ring) find(id []byte) *key {
	if r == nil {
		return nil
	}
	for _, k := range r.keys {
		if k.id == string(id) {
			return k
		}
	}
	return nil
}

// aead returns the cipher of one label.
func (k *key) aead(label string) cipher.AEAD {
	k.mu.RLock()
	a, ok := k.aeads[label]
	k.mu.RUnlock()
	if ok {
		return a
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if a, ok := k.aeads[label]; ok {
		return a
	}
	a = newAEAD(k.secret, label)
	k.aeads[label] = a
	return a
}

// newAEAD derives one subkey. No step can fail: HKDF-SHA256 yields 32 bytes for
// any secret, and AES accepts any 32 bytes.
func newAEAD(secret []byte, label string) cipher.AEAD {
	sub, err := hkdf.Key(sha256.New, secret, nil, "errand seal v1 "+label, 32)
	if err != nil {
		panic("seal: derive a subkey: " + err.Error())
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		panic("seal: make the cipher: " + err.Error())
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("seal: make the cipher: " + err.Error())
	}
	return a
}
