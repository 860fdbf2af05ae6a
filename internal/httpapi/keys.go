package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"errand.internal/internal/produce"
	"errand.internal/internal/secret"
	"errand.internal/tasks/all"
)

// readMark in a key's list of types lets it read the tasks of every key.
const readMark = "read"

// key is one entry of API_KEYS.
type key struct {
	name string
	sum  [sha256.Size]byte
	// types are those that it may enqueue; none means all.
	types []string
	// readAll lets it read the tasks, and the results, of every key.
	readAll bool
}

// allows reports whether the key may enqueue tasks of a type.
func (k *key) allows(taskType string) bool {
	return len(k.types) == 0 || slices.Contains(k.types, taskType)
}

// keyName is what a key may be called: the name stands in metrics, logs and records.
var keyName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

const keyNameRule = "must have 1 to 32 lower-case letters, digits and hyphens"

// parseKeys reads API_KEYS. No error quotes what may be a key itself.
func parseKeys(list secret.String) ([]*key, error) {
	var keys []*key
	var faults []error
	seen := map[string]bool{}
	for i, entry := range strings.Fields(list.Reveal()) {
		k, err := parseKey(entry)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("API_KEYS: key %d: %w", i+1, err))
		case seen[k.name]:
			faults = append(faults, fmt.Errorf("API_KEYS: key %d: the name %s is taken by an earlier one", i+1, k.name))
		default:
			seen[k.name] = true
			keys = append(keys, k)
		}
	}
	return keys, errors.Join(faults...)
}

func parseKey(entry string) (*key, error) {
	parts := strings.SplitN(entry, ":", 3)
	if len(parts) < 2 || !keyName.MatchString(parts[0]) {
		return nil, errors.New("must be name:sha256-of-key[:type,type...]; the name " + keyNameRule)
	}
	sum, err := hex.DecodeString(parts[1])
	if err != nil || len(sum) != sha256.Size {
		return nil, errors.New("must have the SHA-256 of the key, 64 hexadecimal digits, after its name")
	}
	k := &key{name: parts[0], sum: [sha256.Size]byte(sum)}
	if len(parts) < 3 {
		return k, nil
	}
	for _, word := range strings.Split(parts[2], ",") {
		if word == readMark {
			k.readAll = true
			continue
		}
		if err := checkType(word); err != nil {
			return nil, err
		}
		k.types = append(k.types, word)
	}
	return k, nil
}

func checkType(taskType string) error {
	if _, known := all.Vendors.Find(taskType); known {
		return nil
	}
	if similar := produce.SimilarTypes(taskType); len(similar) > 0 {
		return fmt.Errorf("names a type that does not exist; did you mean %s?", strings.Join(similar, " or "))
	}
	return errors.New("names a type that does not exist; 'enqueue types' lists them")
}

// find returns the client of a key. It compares all of them, so that the time that it
// takes says nothing.
func find(clients []*client, given string) *client {
	sum := sha256.Sum256([]byte(given))
	var found *client
	for _, c := range clients {
		if subtle.ConstantTimeCompare(sum[:], c.sum[:]) == 1 {
			found = c
		}
	}
	return found
}

// NewKey is a key that was just made. Only its Entry is kept.
type NewKey struct {
	// Key is what the application sends.
	Key string `json:"key"`
	// Entry is the line for API_KEYS.
	Entry string `json:"entry"`
}

// MakeKey makes a key. types are those that it may enqueue, none for all; readAll lets
// it read the results of every key.
func MakeKey(name string, types []string, readAll bool) (NewKey, error) {
	if !keyName.MatchString(name) {
		return NewKey{}, errors.New("the name " + keyNameRule)
	}
	for _, t := range types {
		if err := checkType(t); err != nil {
			return NewKey{}, fmt.Errorf("--types %w", err)
		}
	}
	if readAll {
		types = append(slices.Clone(types), readMark)
	}
	made := NewKey{Key: "errand_" + strings.ToLower(rand.Text())}
	made.Entry = Entry(name, made.Key)
	if len(types) > 0 {
		made.Entry += ":" + strings.Join(types, ",")
	}
	return made, nil
}

// Entry returns the entry of API_KEYS for a key that may enqueue all types.
func Entry(name, key string) string {
	sum := sha256.Sum256([]byte(key))
	return name + ":" + hex.EncodeToString(sum[:])
}
