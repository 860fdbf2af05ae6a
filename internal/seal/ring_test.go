package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"errand.internal/internal/seal"
)

// The keys of these tests: 32 equal letters.
func key(letter string) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(letter, 32)))
}

func ring(t testing.TB, text string) *seal.Ring {
	t.Helper()
	r, err := seal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	rings := []struct {
		name   string
		ring   *seal.Ring
		sealed bool
	}{
		{"one key", ring(t, "k1:"+key("A")), true},
		{"two keys", ring(t, "k2:"+key("B")+",k1:"+key("A")), true},
		{"long id", ring(t, strings.Repeat("x", 32)+":"+key("A")), true},
		{"no keys", ring(t, ""), false},
		{"nil", nil, false},
	}
	plains := map[string][]byte{
		"nothing":          nil,
		"text":             []byte(`{"otp":"canary"}`),
		"looks sealed":     {1, 2, 'k', '1', 0, 0},
		"looks plain":      {0, 'x'},
		"half a megabyte":  bytes.Repeat([]byte("canary"), 1<<16),
		"one byte of zero": {0},
	}
	for _, r := range rings {
		for name, plain := range plains {
			t.Run(r.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				before := bytes.Clone(plain)
				blob := r.ring.Seal(seal.Payload, "type#id", plain)
				if seal.Sealed(blob) != r.sealed {
					t.Errorf("Sealed = %v, want %v", !r.sealed, r.sealed)
				}
				if r.sealed && bytes.Contains(blob, []byte("canary")) {
					t.Error("the sealed form shows the value")
				}
				kept := bytes.Clone(blob)
				got, err := r.ring.Open(seal.Payload, "type#id", blob)
				if err != nil || !bytes.Equal(got, plain) {
					t.Errorf("Open = %d bytes, %v; want what was sealed", len(got), err)
				}
				if !bytes.Equal(plain, before) || !bytes.Equal(blob, kept) {
					t.Error("an argument was modified")
				}
			})
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	r := ring(t, "k1:"+key("A"))
	blob := r.Seal(seal.Token, "place#1", []byte("secret"))
	change := func(i int) []byte {
		b := bytes.Clone(blob)
		b[i] ^= 1
		return b
	}
	tests := []struct {
		name  string
		label string
		aad   string
		blob  []byte
		want  error
	}{
		{"moved to another place", seal.Token, "place#2", blob, seal.ErrTampered},
		{"passed off as a payload", seal.Payload, "place#1", blob, seal.ErrTampered},
		{"nonce changed", seal.Token, "place#1", change(5), seal.ErrTampered},
		{"text changed", seal.Token, "place#1", change(len(blob) - 17), seal.ErrTampered},
		{"tag changed", seal.Token, "place#1", change(len(blob) - 1), seal.ErrTampered},
		{"cut", seal.Token, "place#1", blob[:len(blob)-1], seal.ErrTampered},
		{"cut to its head", seal.Token, "place#1", blob[:4], seal.ErrTampered},
		{"one byte", seal.Token, "place#1", blob[:1], seal.ErrTampered},
		{"nothing", seal.Token, "place#1", nil, seal.ErrTampered},
		{"longer", seal.Token, "place#1", append(bytes.Clone(blob), 0), seal.ErrTampered},
		{"another first byte", seal.Token, "place#1", append([]byte{2}, blob[1:]...), seal.ErrTampered},
		{"written by another program", seal.Token, "place#1", []byte(`{"json":true}`), seal.ErrTampered},
		{"id changed", seal.Token, "place#1", change(3), seal.ErrNoKey}, // k0
		{"invalid id", seal.Token, "place#1", append([]byte{1, 2, 0xff, '"'}, blob[4:]...), seal.ErrTampered},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := r.Open(tt.label, tt.aad, tt.blob)
			if !errors.Is(err, tt.want) || got != nil {
				t.Errorf("Open = %q, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// The first byte is not authenticated, so a sealed value can be marked as plain.
// It then opens as the ciphertext, never the secret; a strict ring refuses it.
func TestSealedValueMarkedAsPlain(t *testing.T) {
	t.Parallel()
	r := ring(t, "k1:"+key("A"))
	blob := r.Seal(seal.Token, "a", []byte("secret"))
	blob[0] = 0
	if got, err := r.Open(seal.Token, "a", blob); err != nil || bytes.Contains(got, []byte("secret")) {
		t.Errorf("Open = %q, %v", got, err)
	}
	if _, err := r.Strict().Open(seal.Token, "a", blob); !errors.Is(err, seal.ErrNotSealed) {
		t.Errorf("a strict ring gave %v, want ErrNotSealed", err)
	}
}

func TestStrictRingRefusesPlainValues(t *testing.T) {
	t.Parallel()
	var none *seal.Ring
	plain := none.Seal(seal.Payload, "a", []byte("x"))
	strict := ring(t, "k1:"+key("A")).Strict()
	if _, err := strict.Open(seal.Payload, "a", plain); !errors.Is(err, seal.ErrNotSealed) {
		t.Errorf("a plain value gave %v, want ErrNotSealed", err)
	}
	if got, err := strict.Open(seal.Payload, "a", strict.Seal(seal.Payload, "a", []byte("x"))); err != nil ||
		string(got) != "x" {
		t.Errorf("a sealed value gave %q, %v", got, err)
	}
	if _, err := none.Strict().Open(seal.Payload, "a", plain); !errors.Is(err, seal.ErrNotSealed) {
		t.Errorf("a strict ring without keys gave %v, want ErrNotSealed", err)
	}
}

// k1 -> k1,k2 -> k2,k1 -> k2, with values of every stage.
func TestRotation(t *testing.T) {
	t.Parallel()
	one, two := "k1:"+key("A"), "k2:"+key("B")
	stages := []*seal.Ring{ring(t, one), ring(t, one+","+two), ring(t, two+","+one), ring(t, two)}
	blobs := make([][]byte, len(stages))
	for i, r := range stages {
		blobs[i] = r.Seal(seal.Result, "a", []byte("x"))
	}
	// Neighbouring stages run side by side during a deployment.
	for writer := range stages {
		for _, reader := range []int{writer - 1, writer, writer + 1} {
			if reader < 0 || reader >= len(stages) {
				continue
			}
			if got, err := stages[reader].Open(seal.Result, "a", blobs[writer]); err != nil || string(got) != "x" {
				t.Errorf("stage %d read what stage %d wrote: %q, %v", reader, writer, got, err)
			}
		}
	}
	_, err := stages[3].Open(seal.Result, "a", blobs[0])
	if !errors.Is(err, seal.ErrNoKey) || !strings.Contains(err.Error(), "ENCRYPTION_KEYS") ||
		!strings.Contains(err.Error(), `"k1"`) {
		t.Errorf("without its key a value gave %v; want ErrNoKey with the id and the variable", err)
	}
	var none *seal.Ring
	if _, err := none.Open(seal.Result, "a", blobs[0]); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("without any key a value gave %v, want ErrNoKey", err)
	}
}

func TestSameValueNeverLooksTheSame(t *testing.T) {
	t.Parallel()
	r := ring(t, "k1:"+key("A"))
	if bytes.Equal(r.Seal(seal.Token, "a", []byte("x")), r.Seal(seal.Token, "a", []byte("x"))) {
		t.Error("the nonce was used twice")
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	good := "k1:" + key("A")
	const canary = "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E="
	tests := []struct {
		name string
		text string
		want []string // parts of the error; nil if the text is valid
		ids  string
	}{
		{"empty", "", nil, ""},
		{"blank", " \n", nil, ""},
		{"one", good, nil, "k1"},
		{"two, with blanks and a line end", "k2:" + key("B") + " , " + good + "\n", nil, "k2,k1"},
		{"no id", canary, []string{"entry 1", "id:key"}, ""},
		{"empty id", ":" + canary, []string{"entry 1", "the id"}, ""},
		{"wrong way round", canary + ":k1", []string{"entry 1", "the id"}, ""},
		{"id too long", strings.Repeat("x", 33) + ":" + canary, []string{"the id"}, ""},
		{"not base64", "k1:" + canary[:40] + "!!!!", []string{"32 bytes"}, ""},
		{"31 bytes", "k1:" + canary[:40], []string{"32 bytes", "openssl rand -base64 32"}, ""},
		{"loose bits", "k1:" + canary[:42] + "F=", []string{"32 bytes"}, ""},
		{"id twice", good + ",k1:" + key("B"), []string{"entry 2", "used twice"}, ""},
		{"key twice", good + ",k2:" + key("A"), []string{"entry 2", "repeats"}, ""},
		{"trailing comma", good + ",", []string{"entry 2"}, ""},
		{"all problems at once", canary + ",k2:x," + good, []string{"entry 1", "entry 2"}, ""},
		{"too many", strings.Repeat(good+",", 17), []string{"at most"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := seal.Parse(tt.text)
			if tt.want == nil {
				if err != nil || strings.Join(r.KeyIDs(), ",") != tt.ids || r.Enabled() != (tt.ids != "") {
					t.Errorf("Parse = %v, %v; want ids %q", r, err, tt.ids)
				}
				return
			}
			if err == nil {
				t.Fatal("Parse accepted it")
			}
			for _, part := range append(tt.want, "ENCRYPTION_KEYS") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), canary[:20]) {
				t.Errorf("error %q shows the key", err)
			}
		})
	}
}

func TestRingNeverShowsItsKeys(t *testing.T) {
	t.Parallel()
	r := ring(t, "k1:"+key("A"))
	r.Seal(seal.Token, "a", nil)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		for _, shown := range []string{fmt.Sprintf(verb, r), fmt.Sprintf(verb, struct{ R *seal.Ring }{r})} {
			if strings.Contains(shown, "AAAA") || strings.Contains(shown, "65 65") || strings.Contains(shown, "0x41") {
				t.Errorf("%s shows %q", verb, shown)
			}
		}
	}
	if got := fmt.Sprint(r); got != "ring(k1)" {
		t.Errorf("Sprint = %q", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	r := ring(t, "k1:"+key("A"))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for _, label := range []string{seal.Token, seal.Payload, seal.Result, "other"} {
				aad := fmt.Sprint(label, i)
				if got, err := r.Open(label, aad, r.Seal(label, aad, []byte("x"))); err != nil || string(got) != "x" {
					t.Errorf("Open = %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestAllocations(t *testing.T) {
	r := ring(t, "k1:"+key("A"))
	plain := bytes.Repeat([]byte("x"), 1000)
	blob := r.Seal(seal.Token, "a", plain)
	if n := testing.AllocsPerRun(100, func() { r.Seal(seal.Token, "a", plain) }); n > 1 {
		t.Errorf("Seal allocates %v times, want once", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = r.Open(seal.Token, "a", blob) }); n > 1 {
		t.Errorf("Open allocates %v times, want once", n)
	}
}

func FuzzOpen(f *testing.F) {
	r := ring(f, "k2:"+key("B")+",k1:"+key("A"))
	f.Add(r.Seal(seal.Token, "a", []byte("x")))
	f.Add([]byte{0, 'x'})
	f.Add([]byte{1, 255})
	f.Add([]byte{1, 0})
	f.Add(append([]byte{1, 2, 'k', '1'}, make([]byte, 28)...))
	f.Fuzz(func(t *testing.T, blob []byte) {
		kept := bytes.Clone(blob)
		got, err := r.Open(seal.Token, "a", blob)
		if !bytes.Equal(blob, kept) {
			t.Fatal("Open modified its argument")
		}
		switch {
		case err == nil && seal.Sealed(blob):
			// Only a value that the ring has sealed opens.
			if string(got) != "x" {
				t.Fatalf("a forged value opened: %q", got)
			}
		case err == nil:
			if !bytes.Equal(got, blob[1:]) {
				t.Fatalf("a plain value came back as %q", got)
			}
		case !errors.Is(err, seal.ErrTampered) && !errors.Is(err, seal.ErrNoKey):
			t.Fatalf("unexpected error: %v", err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	r := ring(b, "k1:"+key("A"))
	plain := bytes.Repeat([]byte("x"), 1000)
	b.ReportAllocs()
	for b.Loop() {
		r.Seal(seal.Payload, "anna:user:hash#anna-1", plain)
	}
}

func BenchmarkOpen(b *testing.B) {
	r := ring(b, "k1:"+key("A"))
	blob := r.Seal(seal.Payload, "anna:user:hash#anna-1", bytes.Repeat([]byte("x"), 1000))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = r.Open(seal.Payload, "anna:user:hash#anna-1", blob)
	}
}
