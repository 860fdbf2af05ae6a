package admission

import (
	"cmp"
	"context"
	"crypto/rand"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
)

const (
	// outageFirst and outageMost are how long the breaker is open the first time in a row
	// and at the most.
	outageFirst = time.Second
	outageMost  = 10 * time.Second
	// refusedFirst and refusedMost are the same after a refusal (403), or a 429 without
	// Retry-After: somebody may have to mend something.
	refusedFirst = 30 * time.Second
	refusedMost  = 10 * time.Minute
	// syncEvery is how often a process that makes calls tells the fleet of good answers,
	// and learns whether the breaker has opened.
	syncEvery = time.Second
	// blockFor is how long a task is parked at least that an Outage does not admit. The
	// waker wakes it earlier, when it may be tried.
	blockFor = 15 * time.Second
	// keenFor is how long a repeatable task that must wait counts as waiting.
	keenFor = 20 * time.Second
)

// Why a breaker is open.
const (
	whyOutage  = "outage"
	whyRefused = "refused"
	whyQuota   = "quota"
)

// Outage is the circuit breaker of an account that leaves a vendor in trouble in peace. It
// counts transport faults and 5xx; a 403, or a 429 without Retry-After, opens it at once, for
// 30 s to 10 min. It is shared with every process that has the same
// account and the same Redis. It is safe for concurrent use.
//
//	closed ──a share of the calls fails──▶ open ──1 s … 10 s──▶ half-open ──▶ one probe
//	  ▲                                      ▲                                 │    │
//	  └── ramp: 1, 2, 4 … calls a second ◀───┼───────── it succeeds ───────────┘    │
//	        └──── a share of them fails ────▶┴◀──────── it fails ───────────────────┘
//
// While it is closed, calls cost one question a second per process: good answers are counted
// here and told with it, a failure is told at once. An open breaker is asked as often.
// If Redis does not answer, every call is admitted: nothing new is claimed without it.
type Outage struct {
	store
	timeout time.Duration
	quota   time.Duration // the first wait after a 429 without Retry-After
	trip    settings.Share
	count   *outageCounters

	good    atomic.Int64 // answers since the fleet was told
	goodAt  atomic.Int64 // when the latest of them came (Unix µs)
	bad     atomic.Int64 // failures since then
	synced  atomic.Int64 // when that was (Unix µs)
	telling sync.Mutex
	// known is the state as this process knows it, nil while closed.
	known atomic.Pointer[outageKnown]
	// held is the probe of this process whose answer is Undecided, nil for none.
	held atomic.Pointer[heldProbe]
	// failingUntil is until when retries are kept to their budget (Unix µs).
	failingUntil atomic.Int64
	retries      retryBudget
}

type outageKnown struct {
	state   string
	why     string
	until   time.Time // nobody goes before it
	recheck time.Time // Redis is not asked before it
	keen    time.Time // a repeatable task has told Redis that it waits, until then
}

// heldProbe keeps its lease, so that nobody else probes until its task says what the answer
// has shown.
type heldProbe struct {
	task  string
	nonce string
}

// OutageChange is a change of state, told by the one process that caused it.
type OutageChange struct {
	// Account is the account's name.
	Account string
	// Open tells whether it opened or closed.
	Open bool
}

// WithOnOutage has f called for every change of an Outage, by the process that caused it.
func WithOnOutage(f func(OutageChange)) Option {
	return func(s *allOptions) {
		s.onOutage = f
	}
}

// NewOutage returns the Outage of an account that opens when trip says so. It does not use
// Redis yet.
func NewOutage(
	rdb redis.UniversalClient,
	salt *seal.Salt,
	account Limits,
	trip settings.Share,
	opts ...Option,
) *Outage {
	o := &Outage{
		store:   newStore(rdb, salt, account.Name, account.Identity, opts, "b"),
		timeout: account.CallTimeout,
		quota:   max(account.QuotaPause, refusedFirst),
		trip:    trip,
	}
	o.count = o.metrics.outageOf(o.name)
	return o
}

// Account returns the name of the account.
func (o *Outage) Account() string {
	return o.name
}

// Name names the breaker where tasks are parked for it.
func (o *Outage) Name() string {
	return o.name + ":breaker"
}

// Acquire admits one call, or returns a *Blocked. It does not wait.
func (o *Outage) Acquire(ctx context.Context, r Request) (Permit, error) {
	if o.known.Load() == nil {
		o.sync(ctx)
	}
	known := o.known.Load()
	if known == nil {
		if now := o.now(); now.UnixMicro() < o.failingUntil.Load() && !o.retries.spend(now, r.Retry) {
			return nil, o.retryBlocked()
		}
		return outagePermit{outage: o}, nil
	}
	now := o.now()
	nonce := o.heldBy(r.Task)
	if nonce == "" && now.Before(known.recheck) && (!r.Repeatable || !now.After(known.keen)) {
		return nil, o.blocked(known, now)
	}
	nonce = cmp.Or(nonce, rand.Text())
	repeatable := "0"
	if r.Repeatable {
		repeatable = "1"
	}
	reply, err := o.run(
		ctx,
		admitScript,
		nonce,
		(o.timeout + permitSlack).Microseconds(),
		repeatable,
		keenFor.Microseconds(),
	)
	if err != nil {
		return outagePermit{outage: o}, nil
	}
	switch reply.Text(0) {
	case "closed":
		o.adopt(reply)
		return outagePermit{outage: o}, nil
	case "probe":
		return o.probe(ctx, nonce, r)
	case "ramp":
		return outagePermit{outage: o, ramp: true}, nil
	}
	known = o.adopt(reply)
	if r.Repeatable {
		told := *known
		told.keen = now.Add(keenFor / 4)
		o.known.Store(&told)
	}
	return nil, o.blocked(known, now)
}

// probe admits the probe. One that must not be repeated is preceded by a connection alone:
// a vendor that takes none is not worth an unknown outcome.
func (o *Outage) probe(ctx context.Context, nonce string, r Request) (Permit, error) {
	p := outagePermit{
		outage: o,
		nonce:  nonce,
		task:   r.Task,
	}
	if r.Repeatable || r.Connect == nil {
		return p, nil
	}
	if err := r.Connect(ctx); err == nil {
		return p, nil
	}
	result := Result{Verdict: Failed}
	if ctx.Err() != nil {
		result.Verdict = Inconclusive
	}
	p.Done(ctx, result)
	if known := o.known.Load(); known != nil {
		return nil, o.blocked(known, o.now())
	}
	return nil, o.blocked(&outageKnown{why: whyOutage}, o.now())
}

// sync tells the fleet of good answers once a second, and learns whether the breaker has
// opened: a process that has made no call for a while does not know.
func (o *Outage) sync(ctx context.Context) {
	due := func() bool {
		return o.now().UnixMicro()-o.synced.Load() > syncEvery.Microseconds()
	}
	if due() {
		o.tell(ctx, due)
	}
}

// fail tells the fleet of a failure. Those of calls that fail together are told together.
func (o *Outage) fail(ctx context.Context) {
	o.bad.Add(1)
	o.tell(ctx, func() bool { return o.bad.Load() > 0 })
}

// tell counts answers for the fleet, one caller at a time: the reply that counts is the last
// one. It does nothing if it is no longer due when its turn comes.
func (o *Outage) tell(ctx context.Context, due func() bool) {
	o.telling.Lock()
	defer o.telling.Unlock()
	if !due() {
		return
	}
	good, bad := o.good.Swap(0), o.bad.Swap(0)
	defer func() { o.synced.Store(o.now().UnixMicro()) }()
	reply, err := o.run(
		context.WithoutCancel(ctx),
		countScript,
		good,
		max(o.now().UnixMicro()-o.goodAt.Load(), 0),
		bad,
		o.trip.Percent,
		o.trip.Within.Microseconds(),
		outageFirst.Microseconds(),
		outageMost.Microseconds(),
	)
	if err != nil {
		o.good.Add(good) // told later; a failure is not, for it would open the breaker long after
		return
	}
	o.adopt(reply)
}

// adopt keeps the state that a script replied; nil for closed.
func (o *Outage) adopt(reply redisscript.Reply) *outageKnown {
	state := reply.Text(0)
	changed := reply.Text(3) == "1"
	if state == "closed" {
		failing := int64(0)
		if reply.Text(4) == "1" {
			failing = o.now().Add(o.trip.Within).UnixMicro()
		}
		o.failingUntil.Store(failing)
		if o.known.Swap(nil) != nil {
			o.count.state.Set(0)
		}
		if changed {
			o.changed(false)
		}
		return nil
	}
	now := o.now()
	left := reply.Micros(1)
	known := &outageKnown{
		state:   state,
		why:     reply.Text(2),
		recheck: now.Add(min(left, syncEvery)),
	}
	if state == "open" {
		known.until = now.Add(left)
		o.count.state.Set(2)
	} else {
		o.count.state.Set(1)
	}
	if before := o.known.Load(); before != nil {
		known.keen = before.keen
	}
	o.known.Store(known)
	if changed {
		o.changed(true)
	}
	return known
}

func (o *Outage) changed(open bool) {
	if o.onOutage != nil {
		o.onOutage(OutageChange{Account: o.name, Open: open})
	}
}

func (o *Outage) blocked(known *outageKnown, now time.Time) *Blocked {
	b := &Blocked{
		Key:        o.Name(),
		Reason:     o.name + " is left in peace: too many of its calls failed",
		RetryAfter: max(known.until.Sub(now), blockFor),
	}
	switch known.why {
	case whyRefused:
		b.Reason = o.name + " rests: the vendor refused access (403)"
		b.Refused = true
	case whyQuota:
		b.Reason = o.name + " rests: the vendor says that its calls are used up (429)"
	}
	return b
}

// heldBy is the nonce of the held probe of a task, "" if it has none.
func (o *Outage) heldBy(task string) string {
	if held := o.held.Load(); held != nil && held.task == task {
		return held.nonce
	}
	return ""
}

// Conclude says what an Undecided answer to a call of the task has shown: whether the vendor
// refuses access to the account. If so, the breaker opens, and the error says that.
func (o *Outage) Conclude(ctx context.Context, task string, refused bool) *Blocked {
	nonce := o.heldBy(task)
	if nonce != "" {
		o.held.Store(nil)
	}
	if refused {
		o.open(context.WithoutCancel(ctx), whyRefused, refusedFirst, refusedMost)
		now := o.now()
		return o.blocked(&outageKnown{why: whyRefused, until: now.Add(refusedFirst)}, now)
	}
	if nonce != "" {
		outagePermit{outage: o, nonce: nonce}.Done(ctx, Result{})
	}
	return nil
}

func (o *Outage) open(ctx context.Context, why string, first, most time.Duration) {
	reply, err := o.run(ctx, openScript, why, first.Microseconds(), most.Microseconds())
	if err == nil { // otherwise the next call learns it from the vendor
		o.adopt(reply)
	}
}

// Clear closes the breaker in the whole fleet within a second, for operators who have
// mended what was wrong.
func (o *Outage) Clear(ctx context.Context) error {
	_, err := o.run(ctx, forgetScript)
	if err == nil {
		o.known.Store(nil)
	}
	return err
}
