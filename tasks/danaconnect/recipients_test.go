package danaconnect

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/limits"
	"errand.internal/internal/queue"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

// startGuarded is startWorld with a guard of recipients.
func startGuarded(t *testing.T, cfg tasks.RecipientConfig) (*world, *tasks.Client) {
	t.Helper()
	w := newWorld(redistest.New(t))
	t.Cleanup(w.close)
	vendors, err := w.connect(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: w.redis.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	vendors.Recipients = tasks.NewRecipients(cfg, limits.NewGuard(rdb, seal.NewSalt(rdb), "otp-recipient", cfg.Limit))
	if err := w.work(vendors); err != nil {
		t.Fatal(err)
	}
	return w, open(t, w.redis.URL())
}

func codes(n int) tasks.RecipientConfig {
	return tasks.RecipientConfig{
		Fields: tasks.RecipientFields{"COD1_EMAIL"},
		Limit:  settings.Rate{N: n, Per: 10 * time.Minute},
	}
}

func send(t *testing.T, c *tasks.Client, p tasks.OTPSend) error {
	t.Helper()
	ticket, err := tasks.Enqueue(t.Context(), c, p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = wait(t, ticket)
	return err
}

// The recipient of too many codes gets no more, however the address is written;
// everybody else does.
func TestRecipientGuard(t *testing.T) {
	t.Parallel()
	w, c := startGuarded(t, codes(2))
	for _, tt := range []struct {
		mail string
		want tasks.Outcome
	}{
		{"ana@example.com", tasks.Done},
		{" Ana@Example.com", tasks.Done},
		{"ana@example.com", tasks.Declined},
		{"ben@example.com", tasks.Done},
		{"ANA@example.com", tasks.Declined},
	} {
		p := sendTo(tt.mail)
		p.Values = append(p.Values, tasks.Value{Key: "COD1_NOMBRE", Value: tt.mail}) // names nobody
		err := send(t, c, p)
		if outcome(err) != tt.want {
			t.Errorf("%s: %v, want %s", tt.mail, err, tt.want)
		}
		if tt.want != tasks.Declined {
			continue
		}
		const why = "refused by the recipient guard: the recipient has had 2 in the last 10m; again possible in "
		if !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "example") {
			t.Errorf("%v, want %s", err, why)
		}
	}
	if n := w.otp.Calls(danaconnecttest.OpSend); n != 3 {
		t.Errorf("%d calls, want 3", n)
	}
}

// What counts is what may have been sent, and a task once.
func TestWhatCountsAgainstARecipient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault sandbox.Fault
		first tasks.Outcome
		then  tasks.Outcome
	}{
		{"a retry is the same send", sandbox.Fault{Code: "05"}, tasks.Done, tasks.Declined},
		{"refused as wrong", sandbox.Fault{Code: "10"}, tasks.Invalid, tasks.Done},
		{"lost on the way", sandbox.Fault{Drop: true}, tasks.Unknown, tasks.Declined},
		{"the vendor does not know itself", sandbox.Fault{Code: "04"}, tasks.Unknown, tasks.Declined},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w, c := startGuarded(t, codes(1))
			tt.fault.Op, tt.fault.Times = danaconnecttest.OpSend, 1
			w.otp.Inject(tt.fault)
			for i, want := range []tasks.Outcome{tt.first, tt.then} {
				if err := send(t, c, sendTo("ana@example.com")); outcome(err) != want {
					t.Errorf("number %d: %v, want %s", i, err, want)
				}
			}
		})
	}
}

// A payload that does not say who is meant is refused, not let through.
func TestRecipientIsNotNamed(t *testing.T) {
	t.Parallel()
	cfg := codes(5)
	cfg.Fields = append(cfg.Fields, "COD1_CELULAR")
	w, c := startGuarded(t, cfg)
	for _, tt := range []struct {
		values  tasks.Values
		missing string
	}{
		{tasks.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}}, "values lacks COD1_CELULAR, which OTP_RECIPIENT_FIELDS says"},
		{tasks.Values{{Key: "COD1_EMAIL", Value: " "}, {Key: "cod1_celular", Value: "1"}}, "values lacks COD1_CELULAR, COD1_EMAIL, which"},
	} {
		p := sendTo("")
		p.Values = tt.values
		if err := send(t, c, p); outcome(err) != tasks.Invalid || !strings.Contains(err.Error(), tt.missing) {
			t.Errorf("%v, want %s", err, tt.missing)
		}
	}
	if n := w.otp.Calls(danaconnecttest.OpSend); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// ledgerGuard is a guard that keeps what it was asked.
type ledgerGuard struct {
	err   error
	taken [][]string
	tasks []string
	freed int
}

func (g *ledgerGuard) Take(_ context.Context, task string, recipient []string) error {
	g.taken, g.tasks = append(g.taken, recipient), append(g.tasks, task)
	return g.err
}

func (g *ledgerGuard) Free(ctx context.Context, _ string, _ []string) {
	if ctx.Err() == nil {
		g.freed++
	}
}

// sendVia runs the task's own definition with a guard.
func sendVia(t *testing.T, w *world, cfg tasks.RecipientConfig, g *ledgerGuard, values tasks.Values) error {
	t.Helper()
	vendors, err := w.connect(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	vendors.Recipients = tasks.NewRecipients(cfg, g)
	defs := tasks.Definitions(vendors)
	p := sendTo("")
	p.Values = values
	at := slices.IndexFunc(defs, func(d queue.Definition) bool { return d.Type == p.Type() })
	_, err = defs[at].Run(queue.WithTaskID(t.Context(), "otp-1"), p)
	return err
}

// Who is the same recipient.
func TestRecipientIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(redistest.New(t))
	t.Cleanup(w.close)
	for _, tt := range []struct {
		name   string
		fields tasks.RecipientFields
		values tasks.Values
		want   []string
	}{
		{"named", tasks.RecipientFields{"B", "A"}, tasks.Values{{Key: "C", Value: "x"}, {Key: "B", Value: "Zoë@EXAMPLE.com "}, {Key: "A", Value: "1"}}, []string{"A", "1", "B", "zoë@example.com"}},
		{"all", nil, tasks.Values{{Key: "B", Value: "2"}, {Key: "A", Value: "One "}}, []string{"A", "one", "B", "2"}},
		{"phone", tasks.RecipientFields{"A"}, tasks.Values{{Key: "A", Value: "+55 (11) 98765-4321"}}, []string{"A", "5511987654321"}},
		{"no phone", tasks.RecipientFields{"A"}, tasks.Values{{Key: "A", Value: "12-34"}}, []string{"A", "12-34"}},
		{"dashes in an address", tasks.RecipientFields{"A"}, tasks.Values{{Key: "A", Value: "a-123456@x.com"}}, []string{"A", "a-123456@x.com"}},
	} {
		g := &ledgerGuard{}
		if err := sendVia(t, w, tasks.RecipientConfig{Fields: tt.fields}, g, tt.values); err != nil ||
			len(g.taken) != 1 ||
			!slices.Equal(g.taken[0], tt.want) ||
			g.tasks[0] != "otp-1" ||
			g.freed != 0 {
			t.Errorf("%s: %v, %q, want %q", tt.name, err, g.taken, tt.want)
		}
	}
}

// While nobody knows how many there were, nothing is sent; the task tries again.
func TestRecipientGuardCannotBeAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(redistest.New(t))
	t.Cleanup(w.close)
	err := sendVia(t, w, tasks.RecipientConfig{}, &ledgerGuard{err: errors.New("canary")}, tasks.Values{{Key: "A", Value: "x"}})
	if e, ok := clients.AsError(err); !ok || e.Kind != clients.Temporary || !e.NotSent ||
		strings.Contains(err.Error(), "canary") ||
		w.otp.Calls(danaconnecttest.OpSend) != 0 {
		t.Errorf("%v", err)
	}
}

// What never left gives its place back.
func TestASendThatNeverLeftFreesItsPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(redistest.New(t))
	t.Cleanup(w.close)
	g := &ledgerGuard{}
	w.web.Close()
	if err := sendVia(t, w, tasks.RecipientConfig{}, g, tasks.Values{{Key: "A", Value: "x"}}); err == nil || g.freed != 1 {
		t.Errorf("%v, freed %d times", err, g.freed)
	}
}

func TestRecipientFields(t *testing.T) {
	t.Parallel()
	var read tasks.RecipientFields
	if err := read.UnmarshalText([]byte(" COD1_EMAIL , B")); err != nil || read.String() != "COD1_EMAIL,B" {
		t.Errorf("%q, %v", read, err)
	}
	for text, want := range map[string]string{"A,,B": "must be field names", ",": "must be field names", "A,B, A": "names the field A twice"} {
		var f tasks.RecipientFields
		if err := f.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || f != nil {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}
