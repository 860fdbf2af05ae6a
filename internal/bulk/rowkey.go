package bulk

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"errand.internal/tasks"
)

// rowKey returns the key of a row: the payload's own, else the given one, else a
// digest. A digest never stands in for the payload's own key: after a typo is mended,
// it would be another task for the same reference.
func rowKey(payload tasks.Payload, given string) (string, error) {
	key, err := tasks.KeyOf(payload, given)
	if key == "" && err == nil {
		key, err = payloadDigest(payload)
	}
	return key, err
}

// payloadDigest digests the decoded payload, so white space and the order of fields
// do not matter.
func payloadDigest(payload tasks.Payload) (string, error) {
	sum, err := digest(payload)
	return "sha256:" + hex.EncodeToString(sum[:]), err
}

func digest(payload tasks.Payload) (short [16]byte, err error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return short, fmt.Errorf("encode the payload: %w", err)
	}
	sum := sha256.Sum256([]byte(payload.Type() + "\x00" + string(raw)))
	return [16]byte(sum[:]), nil
}
