package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/alert"
	"errand.internal/internal/ledger"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
)

func itoa(n int) string { return strconv.Itoa(n) }

// runner is the handler of one queue: it claims the task in the ledger, runs
// it once, writes what became of it, and only then tells asynq.
type runner struct {
	defs           map[string]Definition
	store          *ledger.Store
	ring           *seal.Ring
	owner          string
	morgue         *morgue
	announce       alert.Func
	finished       func(id string)
	lookupPause    time.Duration
	reconfirmAfter time.Duration
	timeout        func(vendor string) time.Duration
	metrics        *Metrics
	log            zerolog.Logger
	recall         *recall
	// gone ends the tries to write a result: the process is about to exit.
	gone <-chan struct{}
	// dumped is when goroutines were logged last, in Unix seconds.
	dumped atomic.Int64
}

// claimSlack is how much longer a claim stands than its attempt may take.
const claimSlack = 5 * time.Second

// hangGrace is how long after the end of its time a handler may take to return;
// less than claimSlack, so that it is ruled on while the claim stands.
const hangGrace = 2 * time.Second

// busyFor is how soon a task that another holds is looked at again.
const busyFor = 2 * time.Second

// ProcessTask implements asynq.Handler.
//
// asynq cancels ctx when it loses the task's lease. The attempt does not obey:
// breaking off a call makes an unknown out of what was about to be known. It is
// bound by its own time, and its result is written in any case.
func (r *runner) ProcessTask(ctx context.Context, t *asynq.Task) error {
	id, _ := asynq.GetTaskID(ctx)
	ctx = context.WithoutCancel(ctx)
	def, known := r.defs[t.Type()]
	expires, expiresErr := readExpires(t.Headers())
	policy := def.Base.withDefaults()

	var payload Payload
	var decodeErr error
	if known {
		if payload, decodeErr = r.decode(def, id, t.Payload()); decodeErr == nil {
			policy = payload.Policy().withDefaults()
		}
	}
	limit := r.timeout(def.Vendor)
	longest := limit
	if def.Reconcile != nil {
		longest *= 2 // a lookup, and then the call
	}
	claim := ledger.Claim{
		ID: id, Type: t.Type(), Owner: r.owner, For: longest + claimSlack, Repeatable: policy.Redelivery == AtLeastOnce, Expires: expires, Intent: policy.Intent,
		Findable: def.Reconcile != nil,
	}
	if policy.Redelivery != AtLeastOnce {
		r.recall.wait()
	}
	grant, asked, err := r.begin(ctx, &claim)
	if err == nil && grant.Verdict == ledger.Busy && grant.Owner != "" && r.morgue.dead(ctx, grant.Owner) {
		claim.DeadOwner = grant.Owner
		grant, asked, err = r.begin(ctx, &claim)
	}
	if err != nil {
		r.log.Error().Err(err).Str("task_id", id).Msg("the ledger does not answer; the task goes back")
		return &againError{after: time.Second, text: "the ledger does not answer"}
	}
	if grant.Verdict == ledger.Go && !grant.Now.Before(expires) && expiresErr == nil {
		grant.Verdict = ledger.OutOfTime // the claim stood long before its reply came
	}
	run := &attempt{runner: r, id: id, taskType: t.Type(), headers: t.Headers(), policy: policy, grant: grant, expires: expires, begun: time.Now(), until: asked.Add(claim.For - claimSlack/2)}
	if policy.Redelivery != AtLeastOnce && grant.Fence != "" {
		r.recall.begun(claim, grant)
	}
	switch grant.Verdict {
	case ledger.AlreadyEnded:
		return answerAsynq(verdict{state: ledger.Ended, outcome: grant.Outcome, message: grant.Message})
	case ledger.Busy:
		return &againError{after: min(grant.Wait, busyFor), text: "another copy of the task, or its counterpart, is being run"}
	case ledger.Early:
		return &againError{after: min(grant.Wait, parkMax), text: "the task is not due yet"}
	case ledger.OutOfTime:
		return run.end(outOfTime(grant))
	case ledger.Abandoned:
		return run.end(verdict{
			outcome: ledger.Unknown, class: string(ledger.Unknown),
			message: "the worker that was calling the vendor died; the call may have happened",
		})
	case ledger.Crashed:
		return run.end(verdict{
			outcome: ledger.Failed, class: string(ledger.Failed),
			message: "its worker died three times while it ran the task",
		})
	case ledger.Overtaken:
		return run.end(verdict{
			outcome: ledger.Superseded, class: string(ledger.Superseded),
			message: "a closing of the same access was enqueued later",
		})
	case ledger.Lost:
		if known && policy.Redelivery != AtLeastOnce && !grant.InDoubt {
			return run.end(verdict{
				outcome: ledger.Unknown, class: string(ledger.Unknown),
				message: "Redis has lost the task's record; an earlier call may have happened",
			})
		}
		if !grant.Now.Before(expires) && expiresErr == nil {
			return run.end(outOfTime(grant))
		}
	}
	switch {
	case !known:
		return run.end(refused("no such task type; is the worker older than the producer?"))
	case expiresErr != nil:
		return run.end(refused(expiresErr.Error()))
	case errors.Is(decodeErr, seal.ErrNoKey): // not the task's fault: a worker with the key can run it
		return run.finish(def, nil, notHere("errand", decodeErr.Error()), false)
	case decodeErr != nil:
		return run.end(refused("the payload is wrong: " + decodeErr.Error()))
	case def.Run == nil:
		return run.finish(def, nil, notHere(def.Vendor, "this worker has no credentials for the vendor"), false)
	}
	if grant.InDoubt {
		result, settled, v := run.look(ctx, def, payload, limit)
		if settled {
			return run.write(v, result)
		}
	}
	result, err, sent := run.call(ctx, def, payload, limit)
	return run.finish(def, result, err, sent)
}

// begin claims the task, and asks until Redis answers: it may have carried out
// a claim whose reply was lost, and nobody else may have the task while that
// claim stands. The nonce makes all these questions one, of which the last one
// counts: the claim stands since asked, or longer, by this process' clock.
func (r *runner) begin(ctx context.Context, c *ledger.Claim) (grant ledger.Grant, asked time.Time, err error) {
	c.Nonce = rand.Text()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		asked = time.Now()
		grant, err := r.store.Begin(ctx, *c)
		if err == nil || !redisconn.Unreachable(err) {
			return grant, asked, err
		}
		select {
		case <-time.After(wait):
		case <-r.gone:
			return grant, asked, err
		}
	}
}

func (r *runner) decode(def Definition, id string, raw []byte) (Payload, error) {
	plain, err := OpenPayload(r.ring, def.Type, id, raw)
	if err != nil {
		return nil, err
	}
	return def.Decode(plain)
}

// notHere parks a task that another worker can run.
func notHere(vendor, why string) error {
	return &clients.Error{Vendor: vendor, Kind: clients.Credentials, NotSent: true, Message: why}
}

func refused(message string) verdict {
	return verdict{outcome: ledger.Invalid, class: string(ledger.Invalid), message: message}
}

func outOfTime(g ledger.Grant) verdict {
	switch {
	case g.InDoubt:
		return verdict{outcome: ledger.Expired, message: "its time was up first"}
	case g.Attempts == 0:
		return verdict{outcome: ledger.Expired, class: string(ledger.Expired), message: "its time was up before it could run"}
	}
	return verdict{outcome: ledger.Failed, class: string(ledger.Failed), message: fmt.Sprintf("the time budget is spent after %d attempts", g.Attempts)}
}
