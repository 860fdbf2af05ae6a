package anna_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"errand.internal/internal/admission"

	"errand.internal/clients"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/tokens"
)

func TestReplay(t *testing.T) {
	t.Parallel()
	var (
		refusal   = answerWith(`{"success":false,"message":"x"}`)
		denied    = sandbox.Fault{Status: http.StatusUnauthorized}
		forbidden = sandbox.Fault{Status: http.StatusForbidden}
		broken    = sandbox.Fault{Status: http.StatusInternalServerError}
		dropped   = sandbox.Fault{Drop: true}
		badType   = answerWith(`{"success":"false"}`)
		truncated = sandbox.Fault{Truncate: true, Body: new(`{"success":false}        `)}
		failed500 = sandbox.Fault{Status: 500, Body: new(`{"success":false}`)}
	)
	const refused clients.Kind = 254 // Declined, or Temporary for an inactivation
	// The tokens that the Source hears about.
	once := []string{oldToken}
	both := []string{oldToken, newToken}
	fresh := []string{newToken}
	tests := []struct {
		name      string
		replay    bool
		faults    []sandbox.Fault // of the first calls
		kind      clients.Kind
		calls     int
		rejected  []string
		suspected []string
	}{
		{"success at once", true, nil, ok, 1, nil, nil},
		{"401, then success", true, []sandbox.Fault{denied}, ok, 2, once, nil},
		{"401 twice", true, []sandbox.Fault{denied, denied}, clients.Credentials, 2, both, nil},
		{"401 of a fresh token", false, []sandbox.Fault{denied}, clients.Credentials, 1, once, nil},
		{"403, then success", true, []sandbox.Fault{forbidden}, ok, 2, once, nil},
		{"403 twice", true, []sandbox.Fault{forbidden, forbidden}, clients.Credentials, 2, both, nil},
		{"403 of a fresh token", false, []sandbox.Fault{forbidden}, clients.Credentials, 1, once, nil},
		{"401, then refused: no second replay", true, []sandbox.Fault{denied, refusal}, refused, 2, once, nil},
		{"401, then 500", true, []sandbox.Fault{denied, broken}, clients.Unknown, 2, once, nil},
		{"401, then no answer", true, []sandbox.Fault{denied, dropped}, clients.Unknown, 2, once, nil},
		{"refused, then success", true, []sandbox.Fault{refusal}, ok, 2, nil, once},
		{"refused twice", true, []sandbox.Fault{refusal, refusal}, refused, 2, nil, once},
		{"refused, token not suspected", false, []sandbox.Fault{refusal}, refused, 1, nil, once},
		{
			"refused, then 401: no second replay",
			true,
			[]sandbox.Fault{refusal, denied},
			clients.Credentials,
			2,
			fresh,
			once,
		},
		{"refused, then unreadable", true, []sandbox.Fault{refusal, badType}, clients.Unknown, 2, nil, once},
		{"unreadable", true, []sandbox.Fault{badType}, clients.Unknown, 1, nil, nil},
		{"refusal truncated", true, []sandbox.Fault{truncated}, clients.Unknown, 1, nil, nil},
		{"500 with a refusal", true, []sandbox.Fault{failed500}, clients.Unknown, 1, nil, nil},
		{"500", true, []sandbox.Fault{broken}, clients.Unknown, 1, nil, nil},
		{"no answer", true, []sandbox.Fault{dropped}, clients.Unknown, 1, nil, nil},
	}
	for _, tt := range tests {
		for _, o := range operations {
			t.Run(tt.name+"/"+o.name, func(t *testing.T) {
				t.Parallel()
				src := &source{replay: tt.replay}
				sb, err := o.callWithFaults(t, src, tt.faults...)
				want := tt.kind
				if want == refused {
					want = clients.Declined
					if o.name == annatest.OpInactivate {
						want = clients.Temporary
					}
				}
				if want == ok {
					if err != nil {
						t.Errorf("error %v, want none", err)
					}
				} else if e := wantKind(t, err, want); e.NotSent {
					t.Error("NotSent is true, but a request arrived")
				}

				var bearers []string
				for _, r := range sb.Requests(o.name) {
					bearers = append(bearers, r.Header.Get("Authorization"))
				}
				wantBearers := []string{"Bearer " + oldToken, "Bearer " + newToken}[:tt.calls]
				if !slices.Equal(bearers, wantBearers) {
					t.Errorf("Authorization headers %q, want %q", bearers, wantBearers)
				}
				if requests := sb.Requests(o.name); tt.calls == 2 &&
					string(requests[0].Body) != string(requests[1].Body) {
					t.Errorf("the replay sent %s after %s", requests[1].Body, requests[0].Body)
				}
				if src.gets != tt.calls {
					t.Errorf("%d tokens requested, want %d", src.gets, tt.calls)
				}
				for name, calls := range map[string]struct{ got, want []string }{
					"rejected":  {src.rejected, tt.rejected},
					"suspected": {src.suspected, tt.suspected},
				} {
					if !slices.Equal(calls.got, calls.want) {
						t.Errorf("%s %q, want %q", name, calls.got, calls.want)
					}
				}
			})
		}
	}
}

// The sandbox refuses an expired token in each of three ways.
func TestReplayOfAnExpiredToken(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusOK} {
		for _, o := range operations {
			t.Run(fmt.Sprint(status, " ", o.name), func(t *testing.T) {
				t.Parallel()
				sb := newSandbox(annatest.Options{RefusedStatus: status})
				sb.RevokeTokens()
				sb.PutToken(newToken)
				c := newClient(t, config(clientstest.Serve(t, sb, mount)), &source{replay: true}, clients.Timeouts{})
				if err := o.run(t.Context(), c); err != nil {
					t.Fatal(err)
				}
				if n := sb.Calls(o.name); n != 2 {
					t.Errorf("%d calls, want 2", n)
				}
				if n := sb.Effects(o.name); n > 1 {
					t.Errorf("%d effects, want at most 1", n)
				}
			})
		}
	}
}

func TestReplayCancelledBeforeItIsSent(t *testing.T) {
	t.Parallel()
	sb := newSandbox(annatest.Options{})
	sb.Inject(sandbox.Fault{Status: http.StatusUnauthorized})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := newClient(
		t,
		config(clientstest.Serve(t, sb, mount)),
		&cancelling{source{replay: true}, cancel},
		clients.Timeouts{},
	)
	if e := wantKind(t, c.Inactivate(ctx, userID), clients.Temporary); e.NotSent {
		t.Error("NotSent is true, but the first request arrived")
	}
	if n := sb.Calls(annatest.OpInactivate); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
}

// cancelling is a source that cancels the caller's context on Reject.
type cancelling struct {
	source
	cancel context.CancelFunc
}

func (c *cancelling) Reject(ctx context.Context, t tokens.Token) bool {
	defer c.cancel()
	return c.source.Reject(ctx, t)
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	inner := errors.New("dial " + company)
	tests := []struct {
		name  string
		err   error
		kind  clients.Kind
		wait  time.Duration
		wraps func(error) bool
	}{
		{
			name: "cooling",
			err:  &admission.Blocked{Refused: true, Key: "anna", RetryAfter: 40 * time.Second},
			kind: clients.Blocked,
			wait: 40 * time.Second,
			wraps: func(err error) bool {
				_, found := errors.AsType[*admission.Blocked](err)
				return found
			},
		},
		{
			name: "unavailable",
			err: &admission.Blocked{
				Key:        "anna",
				RetryAfter: 3 * time.Second,
				Err:        errors.New("connection refused"),
			},
			kind: clients.Blocked,
			wait: 3 * time.Second,
			wraps: func(err error) bool {
				_, found := errors.AsType[*admission.Blocked](err)
				return found
			},
		},
		{
			name:  "cancelled",
			err:   context.Canceled,
			kind:  clients.Temporary,
			wraps: func(err error) bool { return errors.Is(err, context.Canceled) },
		},
		{
			name:  "out of time",
			err:   fmt.Errorf("get %s: %w", company, context.DeadlineExceeded),
			kind:  clients.Temporary,
			wraps: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) },
		},
		{
			name:  "unknown error is not wrapped",
			err:   inner,
			kind:  clients.Temporary,
			wraps: func(err error) bool { return !errors.Is(err, inner) },
		},
	}
	for _, tt := range tests {
		for _, o := range operations {
			t.Run(tt.name+" at first/"+o.name, func(t *testing.T) {
				t.Parallel()
				sb, err := o.callWithFaults(t, &source{errs: []error{tt.err}})
				e := wantKind(t, err, tt.kind)
				if !e.NotSent || e.RetryAfter != tt.wait || !tt.wraps(err) {
					t.Errorf("NotSent %v, RetryAfter %v, want true, %v: %v", e.NotSent, e.RetryAfter, tt.wait, err)
				}
				if n := sb.Calls(o.name); n != 0 {
					t.Errorf("%d calls without a token", n)
				}
			})
			t.Run(tt.name+" before the replay/"+o.name, func(t *testing.T) {
				t.Parallel()
				src := &source{replay: true, errs: []error{nil, tt.err}}
				sb, err := o.callWithFaults(t, src, answerWith(`{"success":false}`))
				e := wantKind(t, err, tt.kind)
				if e.NotSent || e.RetryAfter != tt.wait || !tt.wraps(err) {
					t.Errorf("NotSent %v, RetryAfter %v, want false, %v: %v", e.NotSent, e.RetryAfter, tt.wait, err)
				}
				if n := sb.Calls(o.name); n != 1 {
					t.Errorf("%d calls, want 1", n)
				}
			})
		}
	}
}
