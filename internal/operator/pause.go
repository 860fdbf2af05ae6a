package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// PauseOrder says what is paused or resumed.
type PauseOrder struct {
	// Target is a queue or an account. A name that both have is the queue's, unless
	// Account says otherwise.
	Target  string
	Account bool
	// For is how long; 0 until somebody resumes it.
	For    time.Duration
	Reason string
	DryRun bool
}

// pausable is a queue or an account.
type pausable struct {
	kind string
	name string
	// namesake says that an account has the same name as the queue.
	namesake bool
	read     func(ctx context.Context) (p record.Pause, paused bool, err error)
	pause    func(ctx context.Context, p record.Pause, d time.Duration) (record.Pause, error)
	resume   func(ctx context.Context) (was bool, err error)
}

// String names it in sentences.
func (p pausable) String() string {
	return "the " + p.kind + " " + p.name
}

// command is the command line that does something to it.
func (p pausable) command(verb string) string {
	text := "worker " + verb + " " + p.name
	if p.kind == "account" && p.namesake {
		text += " --account"
	}
	return text
}

// pausable finds what an order names.
func (o *Operator) pausable(ctx context.Context, name string, account bool) (pausable, error) {
	queues, err := o.queues(ctx)
	if err != nil {
		return pausable{}, err
	}
	accounts, err := o.store.Accounts(ctx)
	if err != nil {
		return pausable{}, err
	}
	isQueue, isAccount := slices.Contains(queues, name), slices.Contains(accounts, name)
	var found pausable
	switch {
	case isQueue && !account:
		found = o.pausableQueue(name)
	case isAccount:
		found = o.pausableAccount(name)
	default:
		known := "no worker has registered an account yet"
		if len(accounts) > 0 {
			known = "accounts are " + strings.Join(accounts, ", ")
		}
		if account {
			return pausable{}, usagef("there is no account %q; %s", name, known)
		}
		return pausable{}, usagef(
			"there is no queue or account %q; queues are %s; %s",
			name,
			strings.Join(queues, ", "),
			known,
		)
	}
	found.namesake = isQueue && isAccount
	return found, nil
}

func (o *Operator) pausableQueue(queue string) pausable {
	return pausable{
		kind: "queue",
		name: queue,
		read: func(ctx context.Context) (record.Pause, bool, error) {
			infos, err := broker.Queues(ctx, o.rdb, queue)
			for _, info := range infos {
				if info.Queue == queue {
					return info.Pause, info.Paused, err
				}
			}
			return record.Pause{}, false, err
		},
		pause: func(ctx context.Context, p record.Pause, d time.Duration) (record.Pause, error) {
			return broker.PauseQueue(ctx, o.rdb, queue, p, d)
		},
		resume: func(ctx context.Context) (bool, error) {
			return broker.ResumeQueue(ctx, o.rdb, queue)
		},
	}
}

func (o *Operator) pausableAccount(account string) pausable {
	return pausable{
		kind: "account",
		name: account,
		read: func(ctx context.Context) (record.Pause, bool, error) {
			all, err := o.store.PausedAccounts(ctx, account)
			p, paused := all[account]
			return p, paused, err
		},
		pause: func(ctx context.Context, p record.Pause, d time.Duration) (record.Pause, error) {
			return o.store.PauseAccount(ctx, account, p, d)
		},
		resume: func(ctx context.Context) (bool, error) {
			return o.store.ResumeAccount(ctx, account)
		},
	}
}

// Pause has no task of a queue, or no call of an account, start on any worker. Calls under
// way end. It returns what it did, in a sentence. A pause replaces an earlier one.
func (o *Operator) Pause(ctx context.Context, order PauseOrder) (string, error) {
	switch {
	case strings.TrimSpace(order.Reason) == "":
		return "", usagef("--reason must say why; doctor and audit show it")
	case order.For < 0:
		return "", usagef("--for must be positive")
	}
	target, err := o.pausable(ctx, order.Target, order.Account)
	if err != nil {
		return "", err
	}
	earlier, replaces, err := target.read(ctx)
	if err != nil {
		return "", err
	}
	if order.DryRun {
		return "dry run, nothing changed: " + target.String() + " would be paused", nil
	}
	pause, err := target.pause(ctx, record.Pause{Who: o.who, Reason: order.Reason}, order.For)
	if err != nil {
		return "", err
	}
	until := "until it is resumed"
	if !pause.Until.IsZero() {
		until = "until " + pause.Until.UTC().Format(time.RFC3339)
	}
	text := fmt.Sprintf("%s: %s; tasks wait, and their time runs on", order.Target, pause)
	if replaces {
		text += "; it was " + earlier.String() + " before"
	}
	if target.kind == "queue" && target.namesake {
		text += "; calls of the account " + target.name + " from other queues go on (--account pauses them all)"
	}
	return text, o.act(ctx, "pause", target.String(), order.Reason, until)
}

// Resume ends the pause of a queue or an account. The error is a *RefusedError if it is
// not paused.
func (o *Operator) Resume(ctx context.Context, order PauseOrder) (string, error) {
	target, err := o.pausable(ctx, order.Target, order.Account)
	if err != nil {
		return "", err
	}
	if order.DryRun {
		return "dry run, nothing changed: " + target.String() + " would be resumed", nil
	}
	was, err := target.resume(ctx)
	if err != nil {
		return "", err
	}
	if !was {
		return "", o.notPaused(ctx, target)
	}
	return order.Target + ": resumed", o.act(ctx, "resume", target.String(), order.Reason, "")
}

// notPaused is the refusal to resume what is not paused. It names the account that is, if
// the queue has its name.
func (o *Operator) notPaused(ctx context.Context, target pausable) error {
	if target.kind == "queue" && target.namesake {
		account := o.pausableAccount(target.name)
		account.namesake = true
		if _, paused, err := account.read(ctx); err == nil && paused {
			return refusedf("%s is not paused; the account is: %s", target, account.command("resume"))
		}
	}
	return refusedf("%s is not paused", target)
}
