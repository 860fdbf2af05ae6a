package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/tasks"
)

// patience is how long a step of the story may take.
const patience = 20 * time.Second

// step is one line of the story: what happens, and how it came out.
type step struct {
	title string
	play  func(ctx context.Context) (came string, err error)
}

// play tells the story and fails at the first step that comes out wrong.
func (d *demo) play(ctx context.Context, out io.Writer) error {
	_, _ = fmt.Fprintln(
		out,
		"Errand demo: embedded Redis (not for production), vendor sandboxes, worker, web UI",
	)
	_, _ = fmt.Fprintln(out)
	for _, s := range d.story() {
		ctx, cancel := context.WithTimeout(ctx, patience)
		start := time.Now()
		came, err := s.play(ctx)
		cancel()
		if err != nil {
			_, _ = fmt.Fprintf(out, "  WRONG  %s\n         %v\n", s.title, err)
			return fmt.Errorf("the story went wrong at %q", s.title)
		}
		_, _ = fmt.Fprintf(
			out,
			"  ok     %-52s %s (%s)\n",
			s.title,
			came,
			time.Since(start).Round(time.Millisecond),
		)
	}
	_, _ = fmt.Fprintln(out)
	return nil
}

func (d *demo) story() []step {
	var sent tasks.OTPSent
	verify := func(ctx context.Context, code string) (tasks.OTPVerdict, error) {
		return do(ctx, d, tasks.OTPVerify{IDRequest: tasks.ID(sent.IDRequest), OTP: code})
	}
	alerts := func(n int) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			if err := d.vendors.anna.SetAlerts(staying, n); err != nil {
				return "", err
			}
			got, err := do(
				ctx,
				d,
				tasks.MessengerAlerts{
					MessengerUser: tasks.MessengerUser{UserID: staying},
				},
			)
			if err == nil && got.AlertCounter != n {
				err = fmt.Errorf("the counter reads %d, want %d", got.AlertCounter, n)
			}
			return fmt.Sprintf("done: alertCounter %d", got.AlertCounter), err
		}
	}
	return []step{
		{"an OTP is sent", func(ctx context.Context) (came string, err error) {
			sent, err = do(ctx, d, tasks.OTPSend{
				IDConversation: danaconnecttest.Conversation,
				OTPType:        1,
				Length:         6,
				Values: tasks.Values{
					{Key: "COD1_EMAIL", Value: "ana@example.com"},
				},
			}, tasks.Key("login-1"))
			return "done: idRequest " + sent.IDRequest, err
		}},
		{"the same key again sends nothing", func(ctx context.Context) (string, error) {
			before := d.vendors.danaconnect.Effects(danaconnecttest.OpSend)
			again, err := tasks.Enqueue(ctx, d.client, tasks.OTPSend{
				IDConversation: danaconnecttest.Conversation,
				OTPType:        1,
				Length:         6,
				Values: tasks.Values{
					{Key: "COD1_EMAIL", Value: "ana@example.com"},
				},
			}, tasks.Key("login-1"))
			if err == nil &&
				(!again.Duplicate || d.vendors.danaconnect.Effects(danaconnecttest.OpSend) != before) {
				err = errors.New("a second code went out")
			}
			return "duplicate", err
		}},
		{"a wrong code is declined", func(ctx context.Context) (string, error) {
			verdict, err := verify(ctx, "000000x")
			if o, ok := errors.AsType[*tasks.OutcomeError](err); !ok ||
				o.Outcome != tasks.Declined {
				return "", fmt.Errorf("it was not declined: %w", err)
			}
			return "declined: " + verdict.Verdict, nil
		}},
		{"the code from the mail is verified", func(ctx context.Context) (string, error) {
			verdict, err := verify(ctx, d.vendors.danaconnect.Code(sent.IDRequest))
			return "done: " + verdict.Verdict, err
		}},
		{"a leaver is inactivated", func(ctx context.Context) (string, error) {
			_, err := do(ctx, d, tasks.UserInactivate{UserID: leaving})
			if err == nil && d.vendors.anna.Active(leaving) {
				err = errors.New("the user is still active")
			}
			return "done", err
		}},
		{"and gets no login any more", func(ctx context.Context) (string, error) {
			_, err := do(ctx, d, tasks.UserHash{UserID: leaving})
			if o, ok := errors.AsType[*tasks.OutcomeError](err); !ok ||
				o.Outcome != tasks.Declined {
				return "", fmt.Errorf("it was not declined: %w", err)
			}
			return "declined", nil
		}},
		{"an alert counter is read", alerts(2)},
		{"and again after it has changed", alerts(3)},
		{"so an event arrives, signed", func(ctx context.Context) (string, error) {
			sequence, err := d.events.counter(ctx, staying, 3)
			return fmt.Sprintf("messenger.alerts.changed, sequence %d", sequence), err
		}},
		{
			"a schedule notices the next change by itself",
			func(ctx context.Context) (string, error) {
				if err := d.vendors.anna.SetAlerts(staying, 4); err != nil {
					return "", err
				}
				sequence, err := d.events.counter(ctx, staying, 4)
				return fmt.Sprintf("messenger.alerts.changed, sequence %d", sequence), err
			},
		},
	}
}

// do enqueues a task and waits for its end.
func do[R any](
	ctx context.Context,
	d *demo,
	task tasks.Task[R],
	opts ...tasks.Option,
) (R, error) {
	ticket, err := tasks.Enqueue(ctx, d.client, task, opts...)
	if err != nil {
		var none R
		return none, err
	}
	return ticket.Wait(ctx)
}

// invite prints what to try next.
func (d *demo) invite(out io.Writer) {
	_, _ = fmt.Fprintf(out, `Now it is your turn. In another terminal:

  export REDIS_URL=%s
  go run ./cmd/enqueue danaconnect:otp:send --set idConversation=%d --set values.COD1_EMAIL=you@example.com --set type=1 --set length=6 --wait 10s --json
  curl -s %s/danaconnect/_sandbox/otps/ID_REQUEST        # the code that was "mailed"
  go run ./cmd/enqueue danaconnect:otp:verify --set idRequest=ID_REQUEST --set otp=CODE --wait 10s
  go run ./cmd/enqueue anna:user:inactivate --set userId=%s --wait 10s
  go run ./cmd/enqueue types

  web UI    http://%s/monitoring/
  metrics   http://%s/metrics
  events    docs/events.md; those that come are printed here, as after
            go run ./cmd/enqueue anna:user:hash --set userId=%s --notify
  faults    curl -s -X POST %s/danaconnect/_sandbox/faults -d '{"op":"send","drop":true,"afterEffect":true,"times":1}'

Ctrl-C ends it.
`, d.redisURL, danaconnecttest.Conversation, d.sandbox, staying, d.admin, d.admin, staying, d.sandbox)
	d.events.print(out)
}
