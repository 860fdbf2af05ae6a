package broker

import (
	"maps"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
)

// The arguments of a step arrive in a script, and at who watches, as they were given.
func TestArgumentsArrive(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	a := newArguments("id", "x", "n", 12, "big", int64(1)<<60, "empty", "", "bytes", []byte("\x00\xff\xc1"))
	for _, size := range []int{31, 32, 255, 256, 1<<16 - 1, 1 << 16, 1 << 20} {
		a.add(strings.Repeat("n", size%1000)+"-", strings.Repeat("v", size))
	}
	for i := range 20 { // more than a small map has
		a.add(strings.Repeat("i", i+1), i)
	}
	packed := string(a)
	found := Arguments(packed)
	if found["n"] != "12" || found["big"] != "1152921504606846976" || found["bytes"] != "\x00\xff\xc1" || found["iii"] != "2" {
		t.Errorf("who watches reads %q", found)
	}
	byHand, err := luaFiles.ReadFile("lua/unpack.lua")
	if err != nil {
		t.Fatal(err)
	}
	for _, reader := range []string{"cmsgpack.unpack", "byhand"} {
		reply, err := redis.NewScript(string(byHand)+`
			local list = {}
			for name, value in pairs(`+reader+`(ARGV[1])) do
				list[#list + 1] = name
				list[#list + 1] = type(value) == 'string' and value or 'no text'
			end
			return list`).Run(t.Context(), rdb, nil, packed).StringSlice()
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]string{}
		for i := 0; i < len(reply); i += 2 {
			in[reply[i]] = reply[i+1]
		}
		if !maps.Equal(in, found) || len(in) != a.len() {
			t.Errorf("%s reads %d arguments, who watches %d; want %d", reader, len(in), len(found), a.len())
		}
	}
}

// A script has each function of the library that it uses, in front of its use, and not all of
// the others.
func TestScriptsHaveWhatTheyUse(t *testing.T) {
	t.Parallel()
	declared, absent := 0, 0
	for name := range maps.Values(steps) {
		script := scriptOf(name)
		for _, p := range library {
			for _, function := range p.declares {
				declaration := strings.Index(script, p.text)
				use := regexp.MustCompile(`(?m)^[^-\n]*?(?:^|[^.\w']|\.\.)` + function + `\b`).FindStringIndex(
					strings.ReplaceAll(script, p.text, strings.Repeat("\n", len(p.text))),
				)
				switch {
				case declaration >= 0:
					declared++
				default:
					absent++
				}
				if use != nil && (declaration < 0 || use[0] < declaration) {
					t.Errorf("%s uses %s in front of its declaration, or has none", name, function)
				}
			}
		}
	}
	if declared == 0 || absent == 0 {
		t.Errorf("%d declarations are there and %d are not; the library was not looked at", declared, absent)
	}
}

// Whatever is taken for arguments is read without a panic, and what a step was given
// comes back.
func FuzzArguments(f *testing.F) {
	f.Add("name", "value")
	f.Add("\xde\x00\x01\xa1i", "\xdb\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, name, value string) {
		Arguments(name)
		Arguments("\xde\x00\x01" + value)
		if got := Arguments(string(newArguments(name, value))); got[name] != value {
			t.Errorf("%q is %q, want %q", name, got[name], value)
		}
	})
}
