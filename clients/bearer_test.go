package clients_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/admission/admissiontest"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/secret"
	"errand.internal/internal/tokens"
)

// bearerSource gives the token "old" until it is rejected or suspected, then "new".
type bearerSource struct {
	replay bool
	errs   []error // of the calls of Get, in order; nil after the last
	gets   int
	told   []string // "reject old", "suspect old" and so on
}

func (s *bearerSource) Get(context.Context) (tokens.Token, error) {
	s.gets++
	if s.gets <= len(s.errs) && s.errs[s.gets-1] != nil {
		return tokens.Token{}, s.errs[s.gets-1]
	}
	if len(s.told) > 0 {
		return tokens.Token{Value: secret.New("new"), Gen: 2}, nil
	}
	return tokens.Token{Value: secret.New("old"), Gen: 1}, nil
}

func (s *bearerSource) Reject(_ context.Context, t tokens.Token) bool {
	s.told = append(s.told, "reject "+t.Value.Reveal())
	return s.replay
}

func (s *bearerSource) Suspect(_ context.Context, t tokens.Token) bool {
	s.told = append(s.told, "suspect "+t.Value.Reveal())
	return s.replay
}

// bearerCall places an order; acme answers with the faults one after another.
func bearerCall(t *testing.T, b clients.Bearer, faults ...sandbox.Fault) (*sandbox.Engine, *clients.Answer, error) {
	t.Helper()
	return bearerCallBy(t, clients.NewCaller("acme", clients.Timeouts{}, nil, nil), b, faults...)
}

func bearerCallBy(
	t *testing.T,
	caller *clients.Caller,
	b clients.Bearer,
	faults ...sandbox.Fault,
) (*sandbox.Engine, *clients.Answer, error) {
	t.Helper()
	acme := newAcme()
	for _, f := range faults {
		f.Op, f.Times = opOrder, 1
		acme.Inject(f)
	}
	base := clientstest.Serve(t, acme, "/acme/")
	answer, err := b.Do(
		t.Context(),
		caller,
		opOrder,
		func(token secret.String) (*http.Request, error) {
			req, err := http.NewRequest(http.MethodPost, base+"v1/order", strings.NewReader("the order"))
			if err != nil {
				return nil, err
			}
			req.Header.Set("Authorization", "Bearer "+token.Reveal())
			return req, nil
		},
	)
	return acme, answer, err
}

func TestBearerReplaysOnceWithAFreshToken(t *testing.T) {
	t.Parallel()
	denied, forbidden := sandbox.Fault{Status: 401}, sandbox.Fault{Status: 403}
	odd, dropped := sandbox.Fault{Body: new(`{"success":false}`)}, sandbox.Fault{Drop: true}
	suspicious := func(a *clients.Answer) bool { return strings.Contains(string(a.Body), "false") }
	tests := []struct {
		name   string
		bearer clients.Bearer
		replay bool
		faults []sandbox.Fault
		status int // 0: no answer
		calls  int
		told   []string
	}{
		{
			name:   "good",
			replay: true,
			status: 200,
			calls:  1,
		},
		{
			name:   "401, then good",
			replay: true,
			faults: []sandbox.Fault{denied},
			status: 200,
			calls:  2,
			told:   []string{"reject old"},
		},
		{
			name:   "401 twice",
			replay: true,
			faults: []sandbox.Fault{denied, denied},
			status: 401,
			calls:  2,
			told:   []string{"reject old", "reject new"},
		},
		{
			name:   "401 of a fresh token",
			faults: []sandbox.Fault{denied},
			status: 401,
			calls:  1,
			told:   []string{"reject old"},
		},
		{
			name:   "403 is not about the token",
			replay: true,
			faults: []sandbox.Fault{forbidden},
			status: 403,
			calls:  1,
		},
		{
			name:   "401, then 403",
			replay: true,
			faults: []sandbox.Fault{denied, forbidden},
			status: 403,
			calls:  2,
			told:   []string{"reject old"},
		},
		{
			name:   "401, then no answer",
			replay: true,
			faults: []sandbox.Fault{denied, dropped},
			calls:  2,
			told:   []string{"reject old"},
		},
		{
			name:   "no answer",
			replay: true,
			faults: []sandbox.Fault{dropped},
			calls:  1,
		},
		{
			name:   "odd answer without Suspicious",
			replay: true,
			faults: []sandbox.Fault{odd},
			status: 200,
			calls:  1,
		},
		{
			name:   "odd answer, then good",
			bearer: clients.Bearer{Suspicious: suspicious},
			replay: true,
			faults: []sandbox.Fault{odd},
			status: 200,
			calls:  2,
			told:   []string{"suspect old"},
		},
		{
			name:   "odd answer twice",
			bearer: clients.Bearer{Suspicious: suspicious},
			replay: true,
			faults: []sandbox.Fault{odd, odd},
			status: 200,
			calls:  2,
			told:   []string{"suspect old"},
		},
		{
			name:   "odd answer of a fresh token",
			bearer: clients.Bearer{Suspicious: suspicious},
			faults: []sandbox.Fault{odd},
			status: 200,
			calls:  1,
			told:   []string{"suspect old"},
		},
		{
			name:   "403 of a vendor that means the token",
			bearer: clients.Bearer{Denied: func(a *clients.Answer) bool { return a.Status == 403 }},
			replay: true,
			faults: []sandbox.Fault{forbidden},
			status: 200,
			calls:  2,
			told:   []string{"reject old"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			src := &bearerSource{replay: tt.replay}
			tt.bearer.Source = src
			acme, answer, err := bearerCall(t, tt.bearer, tt.faults...)
			switch e, ok := clients.AsError(err); {
			case tt.status == 0 && (!ok || e.Kind != clients.Unknown || e.NotSent || answer != nil):
				t.Errorf("answer %v, error %v, want Unknown and sent", answer, err)
			case tt.status != 0 && (err != nil || answer.Status != tt.status):
				t.Errorf("answer %+v, %v, want status %d", answer, err, tt.status)
			}
			var bearers []string
			for _, r := range acme.Requests(opOrder) {
				bearers = append(bearers, r.Header.Get("Authorization"))
				if string(r.Body) != "the order" {
					t.Errorf("the body %q was sent", r.Body)
				}
			}
			if want := []string{"Bearer old", "Bearer new"}[:tt.calls]; !slices.Equal(bearers, want) ||
				src.gets != tt.calls {
				t.Errorf("calls with %q, %d tokens asked for, want %q", bearers, src.gets, want)
			}
			if !slices.Equal(src.told, tt.told) {
				t.Errorf("the source was told %q, want %q", src.told, tt.told)
			}
		})
	}
}

func TestBearerSendsNothingWithoutAToken(t *testing.T) {
	t.Parallel()
	cooling := &admission.Blocked{Refused: true, Key: "acme", RetryAfter: 40 * time.Second}
	unavailable := &admission.Blocked{Key: "acme", RetryAfter: 3 * time.Second}
	other := errors.New("canary-cause")
	tests := []struct {
		name string
		err  error
		kind clients.Kind
		wait time.Duration
		keep bool
	}{
		{"cooling", cooling, clients.Blocked, 40 * time.Second, true},
		{"unavailable", unavailable, clients.Blocked, 3 * time.Second, true},
		{"cancelled", context.Canceled, clients.Temporary, 0, true},
		{"out of time", context.DeadlineExceeded, clients.Temporary, 0, true},
		{"something else", other, clients.Temporary, 0, false},
	}
	for _, tt := range tests {
		for _, first := range []bool{true, false} {
			name := tt.name + " before the replay"
			src := &bearerSource{replay: true, errs: []error{nil, tt.err}}
			if first {
				name, src.errs = tt.name, []error{tt.err}
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				acme, answer, err := bearerCall(t, clients.Bearer{Source: src}, sandbox.Fault{Status: 401})
				e, ok := clients.AsError(err)
				if !ok || answer != nil || e.Kind != tt.kind || e.RetryAfter != tt.wait || e.NotSent != first ||
					e.Vendor != "acme" ||
					e.Op != opOrder {
					t.Fatalf("answer %v, error %#v", answer, err)
				}
				if errors.Is(err, tt.err) != tt.keep || strings.Contains(err.Error(), "canary") {
					t.Errorf("error %v; the cause is in the chain: %v", err, errors.Is(err, tt.err))
				}
				if want := map[bool]int{false: 1}[first]; acme.Calls(opOrder) != want {
					t.Errorf("%d calls, want %d", acme.Calls(opOrder), want)
				}
			})
		}
	}
}

func TestBearerReportsARequestThatCannotBeBuilt(t *testing.T) {
	t.Parallel()
	own := &clients.Error{
		Vendor:  "acme",
		Op:      "own",
		Kind:    clients.Invalid,
		NotSent: true,
	}
	for name, cause := range map[string]error{
		"foreign error": errors.New("canary-cause"),
		"own error":     own,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil)
			bearer := clients.Bearer{Source: &bearerSource{}}
			build := func(secret.String) (*http.Request, error) { return nil, cause }
			_, err := bearer.Do(t.Context(), caller, opOrder, build)
			e, ok := clients.AsError(err)
			if !ok || e.Kind != clients.Invalid || !e.NotSent || strings.Contains(err.Error(), "canary") ||
				errors.Is(cause, own) != (e == own) {
				t.Errorf("error %#v", err)
			}
		})
	}
}

// A 403 that is not interpreted, because there is no token for the replay, keeps nobody
// from probing the account.
func TestBearerSaysThatNothingIsRefused(t *testing.T) {
	t.Parallel()
	account := &admissiontest.Admitter{}
	b := clients.Bearer{
		Source: &bearerSource{replay: true, errs: []error{nil, errors.New("no token")}},
		Denied: func(a *clients.Answer) bool { return a.Status == http.StatusForbidden },
	}
	caller := clients.NewCaller("acme", clients.Timeouts{}, nil, nil).AdmittedBy(account)
	if _, _, err := bearerCallBy(t, caller, b, sandbox.Fault{Status: 403}); err == nil {
		t.Error("no error without a token for the replay")
	}
	account.ExpectConcluded(t, 1)
}
