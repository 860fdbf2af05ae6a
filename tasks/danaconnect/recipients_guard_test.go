package danaconnect_test

import (
	"fmt"
	"strings"
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// startGuarded is start with a guard of recipients, whom the fields tell apart.
func startGuarded(t *testing.T, limit int, fields string) (*danaconnecttest.Sandbox, *tasks.Client) {
	t.Helper()
	f := apptest.New(t)
	f.Only("danaconnect")
	f.Environ["OTP_RECIPIENT_FIELDS"] = fields
	f.Environ["OTP_RECIPIENT_LIMIT"] = fmt.Sprintf("%d/10m", limit)
	return sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes), f.StartQueues(t)
}

func send(t *testing.T, c *tasks.Client, p danaconnect.OTPSend) error {
	t.Helper()
	ticket, err := tasks.Enqueue(t.Context(), c, p)
	if err != nil {
		t.Fatal(err)
	}
	_, err = apptest.Wait(t, ticket)
	return err
}

// The recipient of too many codes gets no more, however the address is written;
// everybody else does.
func TestRecipientGuard(t *testing.T) {
	t.Parallel()
	vendor, c := startGuarded(t, 2, "COD1_EMAIL")
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
		p.Values = append(p.Values, danaconnect.Value{Key: "COD1_NOMBRE", Value: tt.mail}) // names nobody
		err := send(t, c, p)
		if apptest.Outcome(err) != tt.want {
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
	if n := vendor.Calls(danaconnecttest.OpSend); n != 3 {
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
		{"a gateway lost the answer", sandbox.Fault{Status: 503, AfterEffect: true}, tasks.Unknown, tasks.Declined},
		{"a gateway gave up", sandbox.Fault{Status: 524, AfterEffect: true}, tasks.Unknown, tasks.Declined},
		{"redirected after the work", sandbox.Fault{Status: 303, AfterEffect: true}, tasks.Unknown, tasks.Declined},
		{"refused as too busy", sandbox.Fault{Status: 503, RetryAfter: "1"}, tasks.Done, tasks.Declined},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			vendor, c := startGuarded(t, 1, "COD1_EMAIL")
			tt.fault.Op, tt.fault.Times = danaconnecttest.OpSend, 1
			vendor.Inject(tt.fault)
			for i, want := range []tasks.Outcome{tt.first, tt.then} {
				if err := send(t, c, sendTo("ana@example.com")); apptest.Outcome(err) != want {
					t.Errorf("number %d: %v, want %s", i, err, want)
				}
			}
			if n := vendor.Effects(danaconnecttest.OpSend); n > 1 {
				t.Errorf("%d passcodes to a recipient who may get one", n)
			}
		})
	}
}

// A payload that does not say who is meant is refused, not let through.
func TestRecipientIsNotNamed(t *testing.T) {
	t.Parallel()
	vendor, c := startGuarded(t, 5, "COD1_EMAIL,COD1_CELULAR")
	for _, tt := range []struct {
		values  danaconnect.Values
		missing string
	}{
		{danaconnect.Values{{Key: "COD1_EMAIL", Value: "ana@example.com"}}, "values lacks COD1_CELULAR, which OTP_RECIPIENT_FIELDS says"},
		{danaconnect.Values{{Key: "COD1_EMAIL", Value: " "}, {Key: "cod1_celular", Value: "1"}}, "values lacks COD1_CELULAR, COD1_EMAIL, which"},
	} {
		p := sendTo("")
		p.Values = tt.values
		if err := send(t, c, p); apptest.Outcome(err) != tasks.Invalid || !strings.Contains(err.Error(), tt.missing) {
			t.Errorf("%v, want %s", err, tt.missing)
		}
	}
	if n := vendor.Calls(danaconnecttest.OpSend); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// An account sends no more passcodes than OTP_ACCOUNT_LIMIT, whoever gets them: of many at
// once exactly as many, and the rest is declined and not called.
func TestAnAccountSendsNoMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 20
	f := apptest.New(t)
	f.Only("danaconnect")
	f.Environ["OTP_ACCOUNT_LIMIT"] = fmt.Sprintf("%d/1h", limit)
	vendor := sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes)
	c := f.StartQueues(t)
	var list []danaconnect.OTPSend
	for i := range 100 {
		list = append(list, sendTo(fmt.Sprintf("canary-%d@example.com", i)))
	}
	declined := outcomes(t, c, list, "refused by the account guard: the account has had 20 in the last 1h")
	if n := vendor.Calls(danaconnecttest.OpSend); n != limit || declined != len(list)-limit {
		t.Errorf("%d calls and %d declined, want %d and %d", n, declined, limit, len(list)-limit)
	}
}

// outcomes enqueues all at once and returns how many were declined, for the reason given;
// the others must be done.
func outcomes(t *testing.T, c *tasks.Client, list []danaconnect.OTPSend, why string) (declined int) {
	t.Helper()
	tickets, err := tasks.EnqueueAll(t.Context(), c, list, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ticket := range tickets {
		_, err := apptest.Wait(t, ticket)
		switch apptest.Outcome(err) {
		case tasks.Done:
		case tasks.Declined:
			declined++
			if !strings.Contains(err.Error(), why) {
				t.Errorf("%v, want %s", err, why)
			}
		default:
			t.Errorf("%s: %v", ticket.ID, err)
		}
	}
	return declined
}

// A thousand passcodes for one recipient at once: as many calls as the limit says, and the
// rest typed refusals. Neither a key of Redis nor a line of the log holds the recipient.
func TestAFloodForOneRecipientIsCut(t *testing.T) {
	t.Parallel()
	const limit = 5
	f := apptest.New(t)
	f.Only("danaconnect")
	f.Environ["OTP_RECIPIENT_FIELDS"] = "COD1_EMAIL"
	f.Environ["OTP_RECIPIENT_LIMIT"] = fmt.Sprintf("%d/10m", limit)
	vendor := sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes)
	f.Environ["LOG_LEVEL"] = "debug"
	w := f.Start(t)
	list := make([]danaconnect.OTPSend, 1000)
	for i := range list {
		list[i] = sendTo("canary-flood@example.com")
	}
	declined := outcomes(t, w.Client, list, "refused by the recipient guard: the recipient has had 5 in the last 10m")
	if n := vendor.Calls(danaconnecttest.OpSend); n != limit || declined != len(list)-limit {
		t.Errorf("%d calls and %d declined, want %d and %d", n, declined, limit, len(list)-limit)
	}
	keys, err := f.Redis.Client().Keys(t.Context(), "*canary*").Result()
	if err != nil || len(keys) != 0 {
		t.Errorf("keys with the recipient: %q, %v", keys, err)
	}
	if lines := w.Log.Lines(`"outcome":"declined"`); len(lines) != declined {
		t.Errorf("%d lines of the log for %d refusals", len(lines), declined)
	}
	if lines := w.Log.Lines("canary-flood"); len(lines) != 0 {
		t.Errorf("lines with the recipient: %q", lines)
	}
}
