package fleet

import (
	"testing"

	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	send := tasks.OTPSend{}
	verify := tasks.OTPVerify{}
	leave := tasks.UserInactivate{}
	create := tasks.InvoiceCreate{}
	for _, tc := range []struct {
		name    string
		task    queue.Payload
		state   ledger.State
		outcome tasks.Outcome
		classes []string
		fault   string
		effects string
	}{
		{
			name:    "sent",
			task:    send,
			outcome: tasks.Done,
			classes: []string{"temporary", "done"},
			effects: "1",
		},
		{
			name:    "maybe sent",
			task:    send,
			outcome: tasks.Unknown,
			classes: []string{"unknown"},
			effects: "0 to 1",
		},
		{
			name:    "given up",
			task:    send,
			outcome: tasks.Failed,
			effects: "0",
		},
		{
			name:    "too late",
			task:    send,
			outcome: tasks.Expired,
			effects: "0",
		},
		{
			name:    "refused",
			task:    send,
			outcome: tasks.Declined,
			effects: "0",
		},
		{
			name:    "a wrong code",
			task:    verify,
			outcome: tasks.Declined,
			effects: "0 to 1",
		},
		{
			name:    "left",
			task:    leave,
			outcome: tasks.Done,
			classes: []string{"unknown", "done"},
			effects: "1 or more",
		},
		{
			name:    "never confirmed",
			task:    leave,
			outcome: tasks.Failed,
			effects: "0 or more",
		},
		{
			name:    "cancelled",
			task:    leave,
			outcome: tasks.Cancelled,
			effects: "0",
		},
		{
			name:    "found, or made again",
			task:    create,
			outcome: tasks.Done,
			classes: []string{"unknown", "not_found", "done"},
			effects: "1",
		},
		{
			name:    "maybe made",
			task:    create,
			outcome: tasks.Unknown,
			classes: []string{"unknown"},
			effects: "0 to 1",
		},
		{
			name:    "not made",
			task:    create,
			outcome: tasks.Failed,
			effects: "0",
		},
		{
			name:    "repeatable and unknown",
			task:    leave,
			outcome: tasks.Unknown,
			fault:   "it is repeatable and must not end unknown",
			effects: "0 to 1",
		},
		{
			name:    "tried again after unknown",
			task:    send,
			outcome: tasks.Done,
			classes: []string{"unknown", "done"},
			fault:   "attempt 1 was unknown, and another followed",
			effects: "1",
		},
		{
			name:    "running",
			task:    send,
			state:   ledger.Running,
			fault:   "it has not ended",
			effects: "0",
		},
		{
			name:    "no outcome",
			task:    send,
			fault:   "it ended without an outcome",
			effects: "0",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := &ledger.Record{State: ledger.Ended, Outcome: tc.outcome}
			if tc.state != "" {
				r.State = tc.state
			}
			for _, class := range tc.classes {
				r.History = append(r.History, ledger.Attempt{Class: class})
			}
			if got := judge(tc.task, r); got != tc.fault {
				t.Errorf("judge = %q, want %q", got, tc.fault)
			}
			if got := allowance(tc.task, r).String(); got != tc.effects {
				t.Errorf("%s effects are allowed, want %s", got, tc.effects)
			}
		})
	}
	if got := (span{1, 1}).plus(span{0, 1}).String(); got != "1 to 2" {
		t.Errorf("one and maybe one more: %s", got)
	}
	if got := (span{1, 1}).plus(span{1, anyNumber}).String(); got != "2 or more" {
		t.Errorf("one and any number: %s", got)
	}
}
