package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"time"
)

// Verdict is Begin's answer.
type Verdict string

// The verdicts of Begin.
const (
	// Go: the claim is ours; call the vendor.
	Go Verdict = "go"
	// AlreadyEnded: an outcome stands; repeat it, call nobody.
	AlreadyEnded Verdict = "ended"
	// Busy: another copy holds the claim; come back after Wait.
	Busy Verdict = "busy"
	// Early: not due yet; come back after Wait.
	Early Verdict = "early"
	// Abandoned: the claim is ours, but the worker that had it before died while
	// calling, and the task is not repeatable.
	Abandoned Verdict = "abandoned"
	// OutOfTime: the claim is ours, but the time budget is spent.
	OutOfTime Verdict = "expired"
	// Crashed: the claim is ours, but the task has killed its worker too often.
	Crashed Verdict = "crashed"
	// Overtaken: the claim is ours, but a newer intent for the same subject has
	// made the task wrong to run.
	Overtaken Verdict = "superseded"
	// Lost: the claim is ours, but there was no record: Redis has forgotten what
	// happened before.
	Lost Verdict = "lost"
)

// Claim is what Begin asks for.
type Claim struct {
	ID, Type, Owner string
	// For is how long the attempt may take at most.
	For        time.Duration
	Repeatable bool
	// Expires is when the task's time is up, from its header.
	Expires time.Time
	// Findable: after a try that may have happened, the task can look whether it
	// did, and need not end unknown.
	Findable bool
	// Intent orders the tasks that open and close the same subject's access.
	Intent Intent
	// Nonce makes it the same claim if Begin has to be asked again, because Redis
	// did not answer: it may have carried out the first. A fresh one if unset.
	Nonce string
	// DeadOwner is an owner known to have died; its claim does not count as
	// living.
	DeadOwner string
}

// Intent says that a task opens or closes something, such as a user's access.
// Tasks with the same subject in the same queue never run at once; one that
// opens and was enqueued before one that closes had started is superseded.
type Intent struct {
	Subject string // "" for none
	Role    Role
}

// Role is what a task does to its subject.
type Role string

// The roles.
const (
	Opens  Role = "opens"
	Closes Role = "closes"
)

// Grant is what Begin answers.
type Grant struct {
	Verdict  Verdict
	Fence    string
	Attempts int // counted ones before this
	Now, Due time.Time
	// Wait is how long to stay away (Busy, Early); Owner holds the claim (Busy).
	Wait  time.Duration
	Owner string
	// Outcome, Code and Message are set with AlreadyEnded.
	Outcome       Outcome
	Code, Message string
	// Reconfirm: an opening that this closing overtook ended unknown, and may
	// take effect late; the closing has to be confirmed once more.
	Reconfirm bool
	// InDoubt: an earlier try of a findable task may have happened. Lookups
	// counts how often it was looked for since, and not found.
	InDoubt bool
	Lookups int

	keyRecord, taskType string
}

// Begin claims the task for one attempt.
func (s *Store) Begin(ctx context.Context, c Claim) (Grant, error) {
	queue, err := QueueOf(c.ID)
	if err != nil {
		return Grant{}, err
	}
	record := taskKey(queue, c.ID)
	intent, role := record, ""
	if c.Intent.Subject != "" {
		salt, err := s.sharedSalt(ctx, queue)
		if err != nil {
			return Grant{}, err
		}
		intent, role = prefix(queue)+"intent:"+digest(salt, "intent", c.Intent.Subject), string(c.Intent.Role)
	}
	reply, err := strs(beginScript.Run(ctx, s.rdb, []string{record, intent},
		c.Owner, c.For.Milliseconds(), flag(c.Repeatable), c.Expires.UnixMilli(), c.Type, c.DeadOwner, cmp.Or(c.Nonce, rand.Text()), c.ID, role, flag(c.Findable)))
	if err != nil {
		return Grant{}, fmt.Errorf("claim the task: %w", err)
	}
	g := Grant{Verdict: Verdict(reply[0]), Attempts: atoi(reply[2]), Now: millis(reply[3]), Due: millis(reply[4]), taskType: c.Type}
	switch g.Verdict {
	case Busy:
		g.Wait, g.Owner = time.Duration(atoi(reply[1]))*time.Millisecond, reply[5]
	case Early:
		g.Wait = time.Duration(atoi(reply[1])) * time.Millisecond
	case AlreadyEnded:
		g.Outcome, g.Code, g.Message = Outcome(reply[6]), reply[7], reply[8]
	default:
		g.Fence, g.keyRecord, g.Reconfirm = reply[1], reply[5], reply[9] == "1"
		g.InDoubt, g.Lookups = reply[10] != "", atoi(reply[10])
	}
	return g, nil
}

// Recall writes a claim once more that Redis has forgotten, because it restarted
// from a file that is a moment old, or a replica took over that had not yet heard
// of it. left is what is left of its time. It reports whether the claim stands.
func (s *Store) Recall(ctx context.Context, c Claim, g Grant, left time.Duration) (bool, error) {
	queue, err := QueueOf(c.ID)
	if err != nil {
		return false, err
	}
	doubt := ""
	if g.InDoubt {
		doubt = strconv.Itoa(g.Lookups)
	}
	n, err := recallScript.Run(ctx, s.rdb, []string{taskKey(queue, c.ID)},
		g.Fence, c.Owner, left.Milliseconds(), c.Nonce, string(g.Verdict), doubt, c.Type, c.Expires.UnixMilli()).Int()
	if err != nil {
		return false, fmt.Errorf("write the claim again: %w", err)
	}
	return n == 1, nil
}
