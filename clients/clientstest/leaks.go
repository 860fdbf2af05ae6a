package clientstest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/sandbox"
)

// prose stands for personal data that a vendor may put into any field of an answer.
const prose = "canary-prose-5215512345678"

// Leaks checks that no error shows a canary, the vendor's prose or a URL.
func Leaks(t *testing.T, s Subject) {
	t.Helper()
	if len(s.Canaries) == 0 {
		t.Fatal("no canaries to look for")
	}
	echo := fmt.Sprintf(
		`{"success":false,"message":%[1]q,"responseCode":%[1]q,"responseDescription":%[1]q,`+
			`"error":%[1]q,"error_description":%[1]q,"code":%[1]q,"idRequest":%[1]q}`,
		prose+strings.Join(s.Canaries, " "),
	)
	faults := map[string]sandbox.Fault{
		"dropped":  {Drop: true},
		"cut off":  {Truncate: true},
		"not JSON": {Body: new(prose + strings.Join(s.Canaries, " "))},
		"wrong types": {
			Body: new(`{"success":"` + prose + `","responseCode":["` + prose + `"],"message":5215512345678}`),
		},
		"redirect": {
			Redirect: "https://" + prose + ".example/?token=" + url.QueryEscape(s.Canaries[0]),
		},
		"retry after":   {Status: 429, RetryAfter: prose},
		"echo with 200": {Body: new(echo)},
	}
	for _, status := range []int{400, 401, 403, 404, 408, 422, 429, 500, 503} {
		faults[fmt.Sprintf("echo with %d", status)] = sandbox.Fault{
			Status: status,
			Body:   new(echo),
		}
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := s.New(t)
			base := Serve(t, sb, s.Mount)
			fault.Op = s.Op
			sb.Inject(fault)
			err := s.Call(t, base, clients.Timeouts{})(t.Context())
			if err == nil {
				t.Fatal("the call succeeded, so there is no error to check")
			}
			NoLeak(t, err, append([]string{prose, "5215512345678", base}, s.Canaries...)...)
		})
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		base := refusing(t) + s.Mount
		err := s.Call(t, base, clients.Timeouts{})(t.Context())
		NoLeak(t, err, append([]string{base}, s.Canaries...)...)
	})
}

// NoLeak checks that err, printed with any verb, shows none of the canaries, neither
// plain nor escaped nor in base64.
func NoLeak(t *testing.T, err error, canaries ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error to check")
	}
	var printed strings.Builder
	for _, e := range chain(err) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&printed, verb+"\n", e)
		}
	}
	for _, canary := range canaries {
		forms := []string{
			canary,
			url.QueryEscape(canary),
			base64.StdEncoding.EncodeToString([]byte(canary)),
		}
		for _, form := range forms {
			if form != "" && strings.Contains(printed.String(), form) {
				t.Errorf("the error shows the canary %q:\n%s", canary, printed.String())
				break
			}
		}
	}
}

// chain returns err and every error that it wraps.
func chain(err error) []error {
	var all []error
	for err != nil {
		all = append(all, err)
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				all = append(all, chain(e)...)
			}
		}
		err = errors.Unwrap(err)
	}
	return all
}
