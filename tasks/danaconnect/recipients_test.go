package danaconnect

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/webtest"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/otp"
	"errand.internal/internal/secret"
	"errand.internal/internal/worker"
)

// fakeGuard records what it is asked.
type fakeGuard struct {
	err   error
	taken [][]string
	tasks []string
	freed int
}

func (g *fakeGuard) Take(_ context.Context, task string, recipient []string) error {
	g.taken = append(g.taken, recipient)
	g.tasks = append(g.tasks, task)
	return g.err
}

func (g *fakeGuard) Free(ctx context.Context, _ string, _ []string) {
	if ctx.Err() == nil {
		g.freed++
	}
}

// accepted is a send that the vendor accepts.
func accepted() (OTPSent, error) {
	return OTPSent{IDRequest: "251"}, nil
}

// Who is the same recipient.
func TestRecipientIdentity(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fields recipientFields
		values Values
		want   []string
	}{
		{
			"named",
			recipientFields{"A", "B"},
			Values{
				{Key: "C", Value: "x"},
				{Key: "B", Value: "Zoë@EXAMPLE.com "},
				{Key: "A", Value: "1"},
			},
			[]string{"A", "1", "B", "zoë@example.com"},
		},
		{
			"all",
			nil,
			Values{{Key: "B", Value: "2"}, {Key: "A", Value: "One "}},
			[]string{"A", "one", "B", "2"},
		},
		{
			"phone",
			recipientFields{"A"},
			Values{{Key: "A", Value: "+55 (11) 98765-4321"}},
			[]string{"A", "5511987654321"},
		},
		{"no phone", recipientFields{"A"}, Values{{Key: "A", Value: "12-34"}}, []string{"A", "12-34"}},
		{
			"dashes in an address",
			recipientFields{"A"},
			Values{{Key: "A", Value: "a-123456@x.com"}},
			[]string{"A", "a-123456@x.com"},
		},
	} {
		g := &fakeGuard{}
		r := &recipients{fields: tt.fields, guard: g}
		ctx := worker.WithTaskID(t.Context(), "task-1")
		if _, err := r.send(ctx, tt.values, accepted); err != nil ||
			len(g.taken) != 1 ||
			!slices.Equal(g.taken[0], tt.want) ||
			g.tasks[0] != "task-1" ||
			g.freed != 0 {
			t.Errorf("%s: %v, %q by %q, want %q", tt.name, err, g.taken, g.tasks, tt.want)
		}
	}
}

// While the count is unknown, nothing is sent; the task tries again.
func TestRecipientGuardFails(t *testing.T) {
	t.Parallel()
	r := &recipients{guard: &fakeGuard{err: errors.New("canary")}}
	_, err := r.send(t.Context(), Values{{Key: "A", Value: "x"}}, func() (OTPSent, error) {
		t.Error("it was sent")
		return OTPSent{}, nil
	})
	if e, ok := clients.AsError(err); !ok || e.Kind != clients.Temporary || !e.NotSent ||
		strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

// A send that never left does not count; one that may have left does.
func TestFreedSends(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault *clients.Error
		freed int
	}{
		"never left":       {&clients.Error{Kind: clients.Temporary, NotSent: true}, 1},
		"refused":          {&clients.Error{Kind: clients.Invalid}, 1},
		"failed unsent":    {&clients.Error{Kind: clients.Failed, NotSent: true}, 1},
		"may have left":    {&clients.Error{Kind: clients.Unknown}, 0},
		"failed when sent": {&clients.Error{Kind: clients.Failed}, 0},
	} {
		g := &fakeGuard{}
		r := &recipients{guard: g}
		_, err := r.send(t.Context(), Values{{Key: "A", Value: "x"}}, func() (OTPSent, error) {
			return OTPSent{}, tt.fault
		})
		if !errors.Is(err, tt.fault) || g.freed != tt.freed {
			t.Errorf("%s: %v, freed %d times, want %d", name, err, g.freed, tt.freed)
		}
	}
}

// A recipient keeps no place for what the account may not send.
func TestAFullAccountFreesTheRecipientsPlace(t *testing.T) {
	t.Parallel()
	recipient := &fakeGuard{}
	account := &fakeGuard{err: &admission.Blocked{Reason: "the account has had 9 in the last 1h", RetryAfter: time.Minute}}
	r := &recipients{
		guard:    recipient,
		account:  account,
		identity: []string{"user", "company"},
	}
	_, err := r.send(t.Context(), Values{{Key: "A", Value: "x"}}, func() (OTPSent, error) {
		t.Error("it was sent")
		return OTPSent{}, nil
	})
	const want = "refused by the account guard: the account has had 9 in the last 1h; again possible in 1m"
	if e, ok := clients.AsError(err); !ok || e.Kind != clients.Declined || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	if recipient.freed != 1 || account.freed != 0 || !slices.Equal(account.taken[0], r.identity) {
		t.Errorf("the recipient's place was freed %d times, the account's %d times", recipient.freed, account.freed)
	}
}

// The handler gives the place back when the vendor refuses connections.
func TestASendThatNeverLeftFreesItsPlace(t *testing.T) {
	t.Parallel()
	client, err := otp.New(danaconnect.BasicConfig{
		Username: "user",
		Company:  "company",
		Password: secret.New("password"),
		OTPURL:   "http://" + webtest.Reserve(t).Addr + "/",
	}, admission.Always(), clients.NewCaller(danaconnect.Vendor, clients.Timeouts{Call: 2 * time.Second}, nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	g := &fakeGuard{}
	send := sendOTP(&basicClient{otp: client, recipients: &recipients{guard: g}})
	_, err = send(t.Context(), OTPSend{
		IDConversation: 1,
		Values:         Values{{Key: "A", Value: "x"}},
		OTPType:        1,
		Length:         6,
	})
	if err == nil || len(g.taken) != 1 || g.freed != 1 {
		t.Errorf("%v, taken %d times, freed %d times", err, len(g.taken), g.freed)
	}
}

func TestRecipientFields(t *testing.T) {
	t.Parallel()
	var read recipientFields
	if err := read.UnmarshalText([]byte(" COD1_EMAIL , B")); err != nil || read.String() != "COD1_EMAIL,B" {
		t.Errorf("%q, %v", read, err)
	}
	for text, want := range map[string]string{"A,,B": "must be field names", ",": "must be field names", "A,B, A": "names the field A twice"} {
		var f recipientFields
		if err := f.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || f != nil {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
