package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"errand.internal/internal/events/deliver"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/tasks/all"
)

// A queue that no worker runs by default would fill unnoticed.
func TestEveryQueueRunsByDefault(t *testing.T) {
	t.Parallel()
	c, _ := Read(nil)
	var used []string
	for _, d := range append(all.Vendors.Definitions(), deliver.Definition(nil)) {
		if !slices.Contains(used, d.Base.Queue) {
			used = append(used, d.Base.Queue)
		}
	}
	slices.Sort(used)
	if have := slices.Sorted(maps.Keys(c.Queues)); !slices.Equal(have, used) {
		t.Errorf("WORKER_QUEUES has %s by default, the task types name %s", have, used)
	}
}

func TestQueuesNameTheProblem(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, text, want string }{
		{"good", "otp=20, dinero=1", ""},
		{"unknown", "otp=20,nosuch=1", `names the queue "nosuch"; there are otp, danaconnect, `},
		{"no number", "otp", "must give queue otp a concurrency from 1 to 10000, as in otp=10"},
		{"none", "otp=0", "must give queue otp a concurrency from 1 to 10000, as in otp=10"},
		{"too many", "otp=10001", "must give queue otp a concurrency from 1 to 10000, as in otp=10"},
		{"twice", "otp=1,otp=2", "names the queue otp twice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var q Queues
			got := ""
			if err := q.UnmarshalText([]byte(tc.text)); err != nil {
				got = err.Error()
			}
			if !strings.HasPrefix(got, tc.want) || (got == "") != (tc.want == "") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// ENCRYPTION_REQUIRED demands keys, and refuses what is not sealed.
func TestRing(t *testing.T) {
	t.Parallel()
	key := "k1:" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	plain := (*seal.Ring)(nil).Seal(seal.Payload, "", []byte("plain"))
	const missing = "ENCRYPTION_KEYS: must be set, because ENCRYPTION_REQUIRED is true"
	for _, tc := range []struct {
		name, keys string
		required   bool
		want       string
		strict     bool
	}{
		{"neither", "", false, "", false},
		{"keys", key, false, "", false},
		{"both", key, true, "", true},
		{"no keys", "", true, missing, true},
		{"blank", " ", true, missing, true},
		{"broken", "k1", true, "ENCRYPTION_KEYS: entry 1: must be id:key, such as k1:<base64 of 32 bytes>", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			ring, err := Ring(secret.New(tc.keys), tc.required)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			_, err = ring.Open(seal.Payload, "", plain)
			if strict := errors.Is(err, seal.ErrNotSealed); strict != tc.strict {
				t.Errorf("strict is %t (%v), want %t", strict, err, tc.strict)
			}
		})
	}
}

// A worker refuses what is not sealed if ENCRYPTION_REQUIRED is set.
func TestReadMakesTheRingStrict(t *testing.T) {
	t.Parallel()
	v, _ := Read(map[string]string{"ENCRYPTION_REQUIRED": "true"})
	plain := (*seal.Ring)(nil).Seal(seal.Payload, "", []byte("plain"))
	if _, err := v.Ring.Open(seal.Payload, "", plain); !errors.Is(err, seal.ErrNotSealed) {
		t.Errorf("a plain payload opens: %v", err)
	}
}

// The problems of SHUTDOWN_GRACE are in the order of the vendors.
func TestGraceNamesTheVendorsInOrder(t *testing.T) {
	t.Parallel()
	_, err := Read(map[string]string{"SHUTDOWN_GRACE": "1s"})
	var got, want []string
	for line := range strings.Lines(fmt.Sprint(err)) {
		if _, than, found := strings.Cut(strings.TrimSpace(line), " more than "); found {
			got = append(got, than)
		}
	}
	for _, v := range all.Vendors {
		want = append(want, v.Prefix()+"TIMEOUT")
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v\nnames %q, want %q", err, got, want)
	}
}
