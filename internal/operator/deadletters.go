package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"errand.internal/internal/broker"
	"errand.internal/internal/config"
	"errand.internal/internal/record"
	"errand.internal/internal/settings"
)

// LetterFilter selects dead letters; what is empty selects all.
type LetterFilter struct {
	Queue   string
	Type    string
	Outcome record.Outcome
	Code    string
	// Since and Until bound when they died.
	Since time.Time
	Until time.Time
}

func (f LetterFilter) check() error {
	times := error(nil)
	if !f.Until.IsZero() && f.Until.Before(f.Since) {
		times = usagef("--until is before --since")
	}
	return cmp.Or(
		checkType(f.Type),
		oneOf("--queue", f.Queue, config.QueueNames()...),
		oneOf("--outcome", f.Outcome, record.Invalid, record.Unknown, record.Expired, record.Failed),
		times,
	)
}

// queues are those that may have what the filter selects.
func (f LetterFilter) queues() []string {
	switch {
	case f.Queue != "":
		return []string{f.Queue}
	case f.Type != "":
		return []string{definitions()[f.Type].Base.Queue}
	}
	return config.QueueNames()
}

func (f LetterFilter) matches(l record.DeadLetter) bool {
	return (f.Type == "" || l.Type == f.Type) &&
		(f.Outcome == "" || l.Outcome == f.Outcome) &&
		(f.Code == "" || l.Code == f.Code)
}

// String is the filter as flags, for the operators' log.
func (f LetterFilter) String() string {
	var parts []string
	add := func(flag, value string) {
		if value != "" {
			parts = append(parts, flag+" "+value)
		}
	}
	add("--queue", f.Queue)
	add("--type", f.Type)
	add("--outcome", string(f.Outcome))
	add("--code", f.Code)
	if !f.Since.IsZero() {
		add("--since", f.Since.UTC().Format(time.RFC3339))
	}
	if !f.Until.IsZero() {
		add("--until", f.Until.UTC().Format(time.RFC3339))
	}
	return strings.Join(parts, " ")
}

// DeadLetter is a dead letter as it is listed and exported. It has no payload.
type DeadLetter struct {
	ID       string         `json:"id"`
	Queue    string         `json:"queue"`
	Type     string         `json:"type"`
	Outcome  record.Outcome `json:"outcome"`
	Code     string         `json:"code,omitempty"`
	Message  string         `json:"message,omitempty"`
	Attempts int            `json:"attempts"`
	At       time.Time      `json:"at"`
	Replay   string         `json:"replay,omitempty"`
}

// EachDeadLetter calls do for each dead letter that a filter selects, the oldest of each
// queue first, until do returns an error. It reads them page by page.
func (o *Operator) EachDeadLetter(ctx context.Context, f LetterFilter, do func(DeadLetter) error) error {
	if err := f.check(); err != nil {
		return err
	}
	for _, queue := range f.queues() {
		err := o.store.EachDeadLetter(ctx, queue, f.Since, func(l record.DeadLetter) error {
			switch {
			case !f.Until.IsZero() && l.At.After(f.Until):
				return errEnough
			case !f.matches(l):
				return nil
			}
			return do(DeadLetter{
				ID:       l.ID,
				Queue:    queue,
				Type:     l.Type,
				Outcome:  l.Outcome,
				Code:     l.Code,
				Message:  l.Message,
				Attempts: l.Attempts,
				At:       l.At.UTC(),
				Replay:   l.Replay,
			})
		})
		if err := unlessEnough(err); err != nil {
			return err
		}
	}
	return nil
}

// ReplayOrder says which dead letters are replayed: the named ones, or those that the
// filter selects.
type ReplayOrder struct {
	IDs    []string
	Filter LetterFilter
	// All replays all dead letters if there is neither ID nor filter.
	All              bool
	EvenIfItHappened bool
	DryRun           bool
	Reason           string
	// Rate bounds the replays; zero for no bound.
	Rate settings.Rate
}

func (r ReplayOrder) check() error {
	filtered := r.Filter != LetterFilter{}
	switch {
	case len(r.IDs) > 0 && (filtered || r.All), filtered && r.All:
		return usagef("name tasks, or give a filter, or --all")
	case len(r.IDs) == 0 && !filtered && !r.All:
		return usagef("name the tasks to replay, or give a filter " +
			"(--queue, --type, --outcome, --code, --since, --until) or --all")
	case !r.DryRun && strings.TrimSpace(r.Reason) == "":
		return usagef("--reason must say why; the audit keeps it")
	}
	return r.Filter.check()
}

func (r ReplayOrder) target() string {
	switch n := len(r.IDs); {
	case n > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(r.IDs[:3], " "), n-3)
	case n > 0:
		return strings.Join(r.IDs, " ")
	}
	return cmp.Or(r.Filter.String(), "all dead letters")
}

// Replayed says what became of one dead letter.
type Replayed struct {
	ID string `json:"id"`
	// Replay is the new task; empty in a dry run, and for one that is refused.
	Replay string `json:"replay,omitempty"`
	// Refused says why it is not replayed.
	Refused string `json:"refused,omitempty"`
}

// ReplayCount counts what became of the dead letters.
type ReplayCount struct {
	// Replayed are new tasks; in a dry run, what would be.
	Replayed int `json:"replayed"`
	// Before counts those that an earlier call has replayed.
	Before int `json:"replayedBefore"`
	// Unknown counts those that only EvenIfItHappened replays.
	Unknown int `json:"leftOutUnknown"`
	Refused int `json:"refused"`
}

// String says it in words.
func (c ReplayCount) String() string {
	text := fmt.Sprintf("%d replayed", c.Replayed)
	if c.Before > 0 {
		text += fmt.Sprintf(", %d replayed before", c.Before)
	}
	if c.Unknown > 0 {
		text += fmt.Sprintf(", %d unknown left out (--even-if-it-happened takes them in)", c.Unknown)
	}
	if c.Refused > 0 {
		text += fmt.Sprintf(", %d refused", c.Refused)
	}
	return text
}

// replay is a run of Operator.Replay.
type replay struct {
	*Operator
	order   ReplayOrder
	limiter *rate.Limiter
	count   ReplayCount
	report  func(Replayed) error
}

// Replay enqueues dead letters once more, each as a new task that names the old one. It
// may be killed and called again: each is replayed once. report is called for each that is
// replayed or refused. The error is a *RefusedError if a named task is not replayed.
func (o *Operator) Replay(ctx context.Context, order ReplayOrder, report func(Replayed) error) (ReplayCount, error) {
	if err := order.check(); err != nil {
		return ReplayCount{}, err
	}
	r := &replay{
		Operator: o,
		order:    order,
		limiter:  rate.NewLimiter(rate.Inf, 1),
		report:   report,
	}
	if !order.Rate.IsZero() {
		r.limiter = rate.NewLimiter(rate.Limit(float64(order.Rate.N)/order.Rate.Per.Seconds()), 1)
	}
	if order.DryRun {
		return r.count, r.run(ctx)
	}
	if err := o.act(ctx, "replay", order.target(), order.Reason, "begun"); err != nil {
		return r.count, err
	}
	err := r.run(ctx)
	result := r.count.String()
	if err != nil {
		result += "; broken off: " + err.Error()
	}
	logged := o.act(context.WithoutCancel(ctx), "replay", order.target(), order.Reason, result)
	return r.count, errors.Join(err, logged)
}

func (r *replay) run(ctx context.Context) error {
	for _, id := range r.order.IDs {
		if err := r.one(ctx, strings.TrimSpace(id), true); err != nil {
			return err
		}
	}
	if len(r.order.IDs) > 0 {
		if n := r.count.Refused + r.count.Before + r.count.Unknown; n > 0 {
			return refusedf("%d of %d tasks not replayed", n, len(r.order.IDs))
		}
		return nil
	}
	if r.order.Filter.Until.IsZero() {
		// Replays that die meanwhile are dead letters of their own.
		now, err := r.rdb.Time(ctx).Result()
		if err != nil {
			return fmt.Errorf("read Redis' time: %w", err)
		}
		r.order.Filter.Until = now
	}
	return r.EachDeadLetter(ctx, r.order.Filter, func(l DeadLetter) error {
		return r.one(ctx, l.ID, false)
	})
}

// one replays one dead letter. named says that the operator has named it.
func (r *replay) one(ctx context.Context, id string, named bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ticket, err := r.producer.Replay(ctx, id, broker.Replay{
		EvenIfItHappened: r.order.EvenIfItHappened,
		DryRun:           r.order.DryRun,
		Policy:           policyOf,
		Turn:             r.limiter.Wait,
	})
	if err == nil {
		r.count.Replayed++
		return r.report(Replayed{ID: id, Replay: ticket.ID})
	}
	refusal, refused := errors.AsType[*broker.NotReplayedError](err)
	switch {
	case refused && refusal.As != "":
		r.count.Before++
	case refused && refusal.Unknown:
		r.count.Unknown++
	case refused:
		r.count.Refused++
		named = true
	case errors.Is(err, record.ErrNotFound) && !named:
		refusal = &broker.NotReplayedError{Reason: "its record is no longer kept: enqueue it anew"}
		r.count.Refused++
		named = true
	default:
		return fmt.Errorf("replay %s: %w", id, err)
	}
	if !named { // counted only: a filter may select thousands
		return nil
	}
	return r.report(Replayed{ID: id, Refused: refusal.Reason})
}

// policyOf reads the payload of a type strictly and returns its policy.
func policyOf(taskType string, raw []byte) (broker.Policy, error) {
	d, ok := definitions()[taskType]
	if !ok {
		return broker.Policy{}, errors.New("this release does not know its type")
	}
	p, err := d.Decode(raw)
	if err != nil {
		return broker.Policy{}, err
	}
	return p.Policy(), nil
}
