package dinero

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"errand.internal/clients"
)

// place is how far a lookup has read a list. It is kept between the tries of a lookup,
// so it holds no personal data.
type place struct {
	// Since is the changesSince of the list. It stays, so that the pages do.
	Since string `json:"since"`
	// Page is the next page to read.
	Page int `json:"page,omitempty"`
	// Count is how many records the pages before it have.
	Count int `json:"count,omitempty"`
	// Print is the fingerprint of the last of them.
	Print string `json:"print,omitempty"`
}

// parsePlace reads a kept place. One that it cannot read is the start of the list.
func parsePlace(kept string) place {
	var p place
	if json.Unmarshal([]byte(kept), &p) != nil || p.Since == "" || p.Page < 0 || p.Page > 0 && p.Print == "" {
		return place{}
	}
	return p
}

// keep has the next lookup of the task go on at p.
func (p place) keep(ctx context.Context) {
	kept := ""
	if p.Page > 0 {
		raw, err := json.Marshal(p)
		if err != nil {
			return // never: it holds texts and numbers
		}
		kept = string(raw)
	}
	clients.KeepPlace(ctx, kept)
}

// print returns a fingerprint of the records on a page and their order.
func (p listPage) print(kind recordKind) string {
	hash := sha256.New()
	for _, r := range p.records {
		_, _ = hash.Write([]byte(r.id(kind) + "\n"))
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}
