package record_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"errand.internal/internal/record"
)

// A digest depends on its own salt and parts alone, whatever was hashed before it.
func TestDigestsDoNotMix(t *testing.T) {
	t.Parallel()
	want := func(salt string, parts ...string) string {
		mac := hmac.New(sha256.New, []byte(salt))
		for _, p := range parts {
			mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
			mac.Write([]byte(p))
		}
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
	}
	var group sync.WaitGroup
	for _, salt := range []string{"one", "two"} {
		for _, parts := range [][]string{{"a", "b"}, {"ab", ""}, {}, {strings.Repeat("long", 5000)}} {
			group.Go(func() {
				for range 500 {
					if got := record.Digest(salt, parts...); got != want(salt, parts...) {
						t.Errorf("Digest(%s, %d parts) = %s, want %s", salt, len(parts), got, want(salt, parts...))
						return
					}
				}
			})
		}
	}
	group.Wait()
}
