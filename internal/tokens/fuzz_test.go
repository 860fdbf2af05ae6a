package tokens

import (
	"bytes"
	"testing"
	"time"
)

// FuzzGrant reads stored tokens. One that is read is the one that was written, and lives
// for a time that a token can have.
func FuzzGrant(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 't'})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 't'})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255, 't'})
	f.Add([]byte{0, 0, 1, 0, 0, 0, 0, 0, 't'})
	f.Fuzz(func(t *testing.T, stored []byte) {
		grant, err := decodeGrant(stored)
		if err != nil {
			if !grant.Value.Empty() || grant.Life != 0 {
				t.Errorf("a grant of %s beside %v", grant.Life, err)
			}
			return
		}
		if grant.Value.Empty() || grant.Life < time.Millisecond || grant.Life > maxLife {
			t.Errorf("%x is a token for %s", stored, grant.Life)
		}
		if again := encodeGrant(grant); !bytes.Equal(again, stored) {
			t.Errorf("%x is written as %x", stored, again)
		}
	})
}
