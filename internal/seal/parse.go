package seal

import (
	"bytes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// maxKeys bounds a ring; a rotation needs two.
const maxKeys = 16

// Parse reads ENCRYPTION_KEYS: `id:base64(32 bytes)[,older…]`, the active key
// first. An empty text gives a ring without keys. The error lists all problems
// and names the variable, the entries and the rules. It shows no part of an
// entry, because a key pasted without its id looks like an id.
func Parse(text string) (*Ring, error) {
	ring := &Ring{}
	text = strings.TrimSpace(text)
	if text == "" {
		return ring, nil
	}
	entries := strings.Split(text, ",")
	if len(entries) > maxKeys {
		return nil, fmt.Errorf("ENCRYPTION_KEYS: %d keys; at most %d are allowed", len(entries), maxKeys)
	}
	var problems []string
	for i, entry := range entries {
		k, rule := parseKey(strings.TrimSpace(entry))
		switch {
		case rule != "":
		case slices.ContainsFunc(ring.keys, func(o *key) bool { return o.id == k.id }):
			rule = "its id is used twice; a new key needs a new id"
		case slices.ContainsFunc(ring.keys, func(o *key) bool { return bytes.Equal(o.secret, k.secret) }):
			rule = "it repeats the key of an earlier entry"
		default:
			ring.keys = append(ring.keys, k)
		}
		if rule != "" {
			problems = append(problems, fmt.Sprintf("entry %d: %s", i+1, rule))
		}
	}
	if len(problems) > 0 {
		return nil, fmt.Errorf("ENCRYPTION_KEYS: %s", strings.Join(problems, "; "))
	}
	return ring, nil
}

// parseKey reads one entry, or returns the rule that it breaks.
func parseKey(entry string) (k *key, rule string) {
	id, encoded, found := strings.Cut(entry, ":")
	if !found {
		return nil, "must be id:key, such as k1:<base64 of 32 bytes>"
	}
	if !validID(id) {
		return nil, "the id before the colon must be 1 to 32 letters, digits, '.', '_' or '-'"
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(secret) != 32 {
		return nil, "the key after the colon must be base64 of exactly 32 bytes (make one: openssl rand -base64 32)"
	}
	return &key{
		id:     id,
		secret: secret,
		aeads:  map[string]cipher.AEAD{},
	}, ""
}

func validID(id string) bool {
	if len(id) < 1 || len(id) > 32 {
		return false
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
