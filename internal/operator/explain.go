package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/admission"
	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/schedule"
)

// Question says which tasks are to be explained, in one of four ways.
type Question struct {
	ID string
	// Type and Key are a task's type and its producer's key.
	Type string
	Key  string
	// Subject is a recipient or a user.
	Subject string
	// VendorID is an idRequest, a conversationRequestId or a Guid.
	VendorID string
}

func (q Question) check() error {
	given := 0
	for _, text := range []string{q.ID, q.Key, q.Subject, q.VendorID} {
		if text != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return usagef("name a task: ID, --type and --key, --subject or --vendor-id")
	case given > 1:
		return usagef("name the task in one way only: ID, --type and --key, --subject or --vendor-id")
	case (q.Key == "") != (q.Type == ""):
		return usagef("--key and --type go together")
	}
	return checkType(q.Type)
}

// Explanation says what has become of a task, why, and what to do now.
type Explanation struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Queue   string         `json:"queue"`
	State   record.State   `json:"state"`
	Outcome record.Outcome `json:"outcome,omitempty"`
	// Code and Message are the vendor's, of the end or of the latest attempt.
	Code     string   `json:"code,omitempty"`
	Message  string   `json:"message,omitempty"`
	ReplayOf string   `json:"replayOf,omitempty"`
	Replay   string   `json:"replay,omitempty"`
	Timeline []Moment `json:"timeline"`
	Do       string   `json:"do"`
}

// Moment is a line of a timeline.
type Moment struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// Explain explains the tasks that a question names, the oldest first. Its error is
// record.ErrNotFound or record.ErrBadID if there is none.
func (o *Operator) Explain(ctx context.Context, q Question) ([]Explanation, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	found, err := o.find(ctx, q)
	if err != nil {
		return nil, err
	}
	explanations := make([]Explanation, len(found))
	for i, r := range found {
		s, err := o.situation(ctx, r)
		if err != nil {
			return nil, err
		}
		explanations[i] = s.explain()
	}
	return explanations, nil
}

// find returns the records of the tasks that a question names.
func (o *Operator) find(ctx context.Context, q Question) ([]*record.Record, error) {
	switch {
	case q.ID != "":
		return o.findID(ctx, strings.TrimSpace(q.ID))
	case q.Key != "":
		id, outcome, err := o.store.ByKey(ctx, definitions()[q.Type].Base.Queue, q.Type, q.Key)
		if err != nil {
			return nil, err
		}
		r, err := o.store.Get(ctx, id)
		if errors.Is(err, record.ErrNotFound) && outcome != "" {
			return nil, fmt.Errorf("%s ended %s: %w", id, outcome, err)
		}
		return []*record.Record{r}, err
	}
	queues, err := o.queues(ctx)
	if err != nil {
		return nil, err
	}
	var found []*record.Record
	for _, queue := range queues {
		var some []*record.Record
		if q.Subject != "" {
			some, err = o.store.BySubject(ctx, queue, q.Subject)
		} else {
			some, err = o.store.ByVendorID(ctx, queue, q.VendorID)
		}
		if err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	if len(found) == 0 {
		return nil, record.ErrNotFound
	}
	slices.SortStableFunc(found, func(a, b *record.Record) int { return a.Created.Compare(b.Created) })
	return found, nil
}

// findID reads a task, also one that a plain asynq client has enqueued and nobody taken.
func (o *Operator) findID(ctx context.Context, id string) ([]*record.Record, error) {
	r, err := o.store.Get(ctx, id)
	if errors.Is(err, record.ErrNotFound) || errors.Is(err, record.ErrBadID) {
		plain, plainErr := o.producer.Unrecorded(ctx, id)
		switch {
		case plainErr == nil:
			r, err = plain, nil
		case !errors.Is(plainErr, record.ErrNotFound):
			return nil, plainErr
		}
	}
	if err != nil {
		return nil, err
	}
	return []*record.Record{r}, nil
}

// situation is a task and what it depends on now.
type situation struct {
	*record.Record
	now     time.Time
	paused  string // why its queue, or the account that it waits for, is paused; "" if none is
	resume  string // the command that ends that pause
	waiting int64  // tasks that wait in its queue
	workers int    // live workers that run its queue
	refuses string // why Redis takes no writes; "" if it does
	// tick is the last one of its schedule, if it has one.
	tick schedule.Tick
	// clocks are the live workers whose clocks are wrong.
	clocks map[string]time.Duration
}

func (o *Operator) situation(ctx context.Context, r *record.Record) (situation, error) {
	s := situation{Record: r}
	var err error
	if s.now, err = o.rdb.Time(ctx).Result(); err != nil {
		return s, fmt.Errorf("read Redis' time: %w", err)
	}
	if r.Schedule != "" {
		if s.tick, err = schedule.LastTick(ctx, o.rdb, r.Schedule); err != nil {
			return s, err
		}
	}
	if r.State == record.Ended {
		return s, nil
	}
	queues, err := broker.Queues(ctx, o.rdb, r.Queue)
	if err != nil {
		return s, err
	}
	for _, q := range queues {
		if q.Queue != r.Queue {
			continue
		}
		s.waiting = q.Pending
		if q.Paused {
			s.pausedBy(o.pausableQueue(r.Queue), q.Pause)
		}
	}
	if writes := redisguard.Writes(ctx, o.rdb); writes.Err() != nil {
		s.refuses = writes.Seen
		return s, nil // asynq writes while it lists the workers
	}
	if err := o.pausedAccount(ctx, &s); err != nil {
		return s, err
	}
	live, err := broker.LiveWorkers(ctx, o.rdb)
	if err != nil {
		return s, err
	}
	s.workers = live.Running[r.Queue]
	s.clocks, err = o.store.WrongClocks(ctx)
	return s, err
}

// pausedAccount finds the pause of the account that a task waits for.
func (o *Operator) pausedAccount(ctx context.Context, s *situation) error {
	account, waits := strings.CutSuffix(s.WaitedFor, admission.PauseSuffix)
	if !waits || s.State != record.Parked || s.paused != "" {
		return nil
	}
	target, err := o.pausable(ctx, account, true)
	if _, unknown := errors.AsType[*UsageError](err); unknown {
		return nil // Redis has lost its name, and so the pause
	}
	if err != nil {
		return err
	}
	pause, paused, err := target.read(ctx)
	if paused {
		s.pausedBy(target, pause)
	}
	return err
}

func (s *situation) pausedBy(target pausable, p record.Pause) {
	s.paused = target.String() + " is " + p.String()
	s.resume = target.command("resume")
}

func (s situation) explain() Explanation {
	return Explanation{
		ID:       s.ID,
		Type:     s.Type,
		Queue:    s.Queue,
		State:    s.State,
		Outcome:  s.Outcome,
		Code:     s.Code,
		Message:  s.Message,
		ReplayOf: s.ReplayOf,
		Replay:   s.Replay,
		Timeline: s.timeline(),
		Do:       s.do() + s.makeUp() + s.wrongClocks(),
	}
}

// timeline tells what has happened and what is to come, in its order.
func (s situation) timeline() []Moment {
	var line []Moment
	add := func(at time.Time, format string, args ...any) {
		if !at.IsZero() {
			line = append(line, Moment{At: at.UTC(), What: fmt.Sprintf(format, args...)})
		}
	}
	if n := s.missedTicks(); n > 0 {
		add(s.tick.Resumed, "%d ticks of its schedule were missed before: no worker enqueued them in time", n)
	}
	add(s.Created, "enqueued by %s", s.enqueuer())
	if s.Due.Sub(s.Created) > 0 {
		add(s.Due, "due")
	}
	if s.Waits > 0 {
		add(s.WaitedSince, "parked, %s in all; the last time for %s", times(s.Waits), s.waitedFor())
	}
	for i, a := range s.History {
		at := a.At
		if !s.Ended.IsZero() && at.After(s.Ended) { // a worker knows Redis' time to a round trip
			at = s.Ended
		}
		add(at, "attempt %d: %s", i+1, attemptText(a))
	}
	if s.State == record.Ended {
		add(s.Ended, "ended %s%s", s.Outcome, details(s.Code, s.Message))
	} else {
		add(s.now, "now %s%s", s.State, details(s.Code, s.Message))
		if s.State == record.Retrying || s.State == record.Parked {
			add(s.Next, "runs again, unless it can sooner")
		}
		add(s.Expires, "its time is up")
	}
	slices.SortStableFunc(line, func(a, b Moment) int { return a.At.Compare(b.At) })
	return line
}

func (s situation) enqueuer() string {
	by := "a producer"
	switch {
	case s.ReplayOf != "":
		by = "an operator, as a replay of " + s.ReplayOf
	case s.Schedule != "":
		by = "the schedule " + s.Schedule
	case s.Scheduled:
		by = "a schedule"
	case s.By != "":
		by = "the API key " + s.By
	}
	if s.Keyed {
		by += ", with a key"
	}
	return by
}

func (s situation) waitedFor() string {
	if s.WaitedFor != "-" && s.WaitedFor != "" {
		return s.WaitedFor
	}
	if n := len(s.History); n > 0 && s.History[n-1].Class == clients.Credentials.String() {
		return "the credential that the vendor refused in its latest attempt"
	}
	return "a worker that can run it"
}

func attemptText(a record.Attempt) string {
	text := a.Class
	if a.Status != 0 {
		text += fmt.Sprintf(", HTTP %d", a.Status)
	}
	return text + fmt.Sprintf(" in %s", a.Took.Round(time.Millisecond)) + details(a.Code, a.Message)
}

func details(code, message string) string {
	text := ""
	if code != "" {
		text += ", code " + code
	}
	if message != "" {
		text += ": " + message
	}
	return text
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
