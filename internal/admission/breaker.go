package admission

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

// recheckProof is how long a process goes on with a closed breaker before it asks Redis
// whether anybody was refused since.
const recheckProof = 10 * time.Second

// The pause before Redis is asked again while another process probes.
const (
	MinPause = 20 * time.Millisecond
	MaxPause = 250 * time.Millisecond
)

// Gate admits calls one by one. A *Breaker is one.
type Gate interface {
	// Acquire waits for the permission to make one call. It fails with a *Blocked or the
	// error of ctx.
	Acquire(ctx context.Context) (Permit, error)
}

// Always is a Gate that admits every call, for tests and dry runs.
func Always() Gate {
	return always{}
}

type always struct{}

func (a always) Acquire(context.Context) (Permit, error) {
	return a, nil
}

func (always) Done(context.Context, Result) {}

// Breaker is the circuit breaker of one profile, shared with every process that has the
// same profile and the same Redis. It is safe for concurrent use.
type Breaker struct {
	breakerOptions
	rdb     redis.UniversalClient
	profile Profile
	count   *breakerCounters
	start   time.Time

	ctx    context.Context
	cancel context.CancelFunc
	mu     sync.Mutex
	closed bool // by Close
	wg     sync.WaitGroup

	keys          atomic.Pointer[Keys]
	redisLimit    atomic.Int64 // of a request (time.Duration): WithRedisTimeout, or what a test has set since
	redisRetryAt  atomic.Int64 // Redis is left alone until then (clock)
	coolDown      atomic.Pointer[coolDown]
	parked        atomic.Bool
	orphanedLease atomic.Pointer[string] // its nonce; see ReleaseLater
	releasing     atomic.Bool

	// shared is set while the breaker is closed: the permit that everybody gets at no
	// cost.
	shared atomic.Pointer[sharedPermit]
	// turn is held by the one caller of this process that asks Redis, and through its
	// whole call if that is the probe.
	turn chan struct{}
	// trusted: a call was accepted and nobody was refused since, as far as this process
	// knows; it is what counts while Redis does not answer.
	trusted atomic.Bool
	// accepted: a call was accepted since Redis was last told.
	accepted atomic.Bool
	// epoch rises with every refusal. What a call of an earlier epoch says is old news.
	epoch atomic.Int64
}

var _ Gate = (*Breaker)(nil)

// NewBreaker returns the Breaker of p. It does not use Redis before the first Acquire.
// The caller closes it.
func NewBreaker(rdb redis.UniversalClient, p Profile, opts ...Option) *Breaker {
	p = p.withDefaults()
	b := &Breaker{
		breakerOptions: newBreakerOptions(p, opts),
		rdb:            rdb,
		profile:        p,
		turn:           make(chan struct{}, 1),
	}
	if b.salt == nil {
		b.salt = seal.NewSalt(rdb)
	}
	b.count = b.metrics.breakerOf(p.Name)
	b.SetRedisTimeout(b.redisTimeout)
	b.start = b.timeNow()
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b
}

// LeaseLost counts a login that ended after its lease had.
func (b *Breaker) LeaseLost() {
	b.count.leasesLost.Inc()
}

// KnownKeys returns the keys that the process has used last, nil if it has not reached
// Redis yet.
func (b *Breaker) KnownKeys() *Keys {
	return b.keys.Load()
}

// Lease is how long a probe may hold its lease.
func (b *Breaker) Lease() time.Duration {
	return b.lease
}

// sharedPermit is the permit of a closed breaker. All callers of one period share it.
type sharedPermit struct {
	breaker *Breaker
	epoch   int64
	until   int64 // clock
}

// Acquire implements Gate. While the breaker is closed it costs neither a round trip nor
// an allocation, but for one round trip every ten seconds. Half-open, one call goes alone
// in the whole fleet, and the others wait for what it shows. A caller that waits longer
// than three such calls may take gets a *Blocked.
func (b *Breaker) Acquire(ctx context.Context) (Permit, error) {
	if p := b.current(); p != nil {
		return p, nil
	}
	if err := b.Open(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !b.BeginWork() {
		return nil, b.Unavailable(0, ErrClosed)
	}
	defer b.EndWork()
	limit := time.NewTimer(3 * b.lease)
	defer limit.Stop()
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.ctx.Done():
		return nil, b.Unavailable(0, ErrClosed)
	case <-limit.C:
		return nil, b.tooLong()
	}
	permit, err := b.ask(ctx, limit.C)
	if _, alone := permit.(*probePermit); !alone {
		<-b.turn
	}
	return permit, err
}

func (b *Breaker) tooLong() error {
	return b.Unavailable(time.Second, errors.New("the call that proves it takes too long"))
}

// current returns the shared permit, if it is good.
func (b *Breaker) current() Permit {
	if p := b.shared.Load(); p != nil && b.Clock() < p.until {
		return p
	}
	return nil
}

// ask finds out whether the caller who has the turn may go. A nil error comes with a
// *sharedPermit, or with a *probePermit that keeps the turn.
func (b *Breaker) ask(ctx context.Context, limit <-chan time.Time) (Permit, error) {
	if p := b.current(); p != nil { // whoever had the turn before has found out
		return p, nil
	}
	if err := b.Open(); err != nil {
		return nil, err
	}
	epoch := b.epoch.Load()
	keys, err := b.Keys()
	if err != nil {
		return b.askHere(epoch)
	}
	nonce := b.LeaseNonce()
	for pause := MinPause; ; pause = min(pause*3/2, MaxPause) {
		reply, err := b.enter(keys, nonce)
		if err != nil {
			b.ReleaseLater(keys, nonce)
			return b.askHere(epoch)
		}
		switch reply.Text(0) {
		case "P":
			return b.close(epoch, recheckProof), nil
		case "N":
			b.forget()
			return nil, b.Adopt(reply.Millis(1), reply.Text(2), reply.Text(4), nil)
		case "L":
			if err := b.PublishRefusal(keys, nonce); err != nil {
				return nil, err
			}
			return b.probe(keys, nonce, epoch), nil
		}
		wait := min(Jitter(pause), reply.Millis(1)+5*time.Millisecond)
		if err := b.Sleep(ctx, wait); err != nil {
			return nil, err
		}
		select {
		case <-limit:
			return nil, b.tooLong()
		default:
		}
	}
}

// enter asks Redis once, and tells it of calls that were accepted meanwhile.
func (b *Breaker) enter(keys *Keys, nonce string) (redisscript.Reply, error) {
	accepted := "0"
	if b.accepted.Load() {
		accepted = "1"
	}
	reply, err := b.Ask(enterScript, keys.own, nonce, b.lease.Milliseconds(), accepted, provenFor.Milliseconds())
	if err == nil && reply.Text(0) == "P" && accepted == "1" {
		b.accepted.Store(false)
	}
	return reply, err
}

// Jitter returns d plus or minus a half.
func Jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}

// askHere decides while Redis does not answer: what worked here goes on, anything else
// goes alone within this process.
func (b *Breaker) askHere(epoch int64) (Permit, error) {
	if err := b.OpenHere(); err != nil {
		return nil, err
	}
	if b.trusted.Load() {
		return b.close(epoch, min(b.RedisRetryIn(), recheckProof)), nil
	}
	return b.probe(nil, "", epoch), nil
}

// close admits everybody for a while.
func (b *Breaker) close(epoch int64, d time.Duration) *sharedPermit {
	p := &sharedPermit{
		breaker: b,
		epoch:   epoch,
		until:   b.Clock() + int64(d),
	}
	b.trusted.Store(true)
	b.shared.Store(p)
	if b.epoch.Load() != epoch { // refused at this very moment
		b.forget()
		return p
	}
	b.Succeeded()
	return p
}

// forget ends the closed state.
func (b *Breaker) forget() {
	b.shared.Store(nil)
	b.trusted.Store(false)
	b.accepted.Store(false)
}

// refusedCall is how a refused call enters the ladder of refusals.
var refusedCall = Failure{Refused: true, Reason: "the vendor refused a call"}

// Done implements Permit.
func (p *sharedPermit) Done(_ context.Context, r Result) {
	b := p.breaker
	b.count.verdict(r.Verdict)
	switch r.Verdict {
	case Accepted:
		if !b.accepted.Load() && b.epoch.Load() == p.epoch {
			b.accepted.Store(true)
		}
	case Refused:
		// Of 50 calls refused together one speaks for all.
		if !b.epoch.CompareAndSwap(p.epoch, p.epoch+1) || !b.BeginWork() {
			return
		}
		defer b.EndWork()
		b.forget()
		_ = b.Fail(b.keys.Load(), "", false, refusedCall)
	}
}

// probePermit is the permit of the one call of a half-open breaker.
type probePermit struct {
	breaker *Breaker
	keys    *Keys // nil: without Redis, alone in this process only
	nonce   string
	epoch   int64

	done  atomic.Bool
	once  sync.Once
	timer *time.Timer
}

// probe gives the turn to one call, for at most the life of its lease: a caller that is
// never done must not stop the others for ever.
func (b *Breaker) probe(keys *Keys, nonce string, epoch int64) *probePermit {
	p := &probePermit{
		breaker: b,
		keys:    keys,
		nonce:   nonce,
		epoch:   epoch,
	}
	p.timer = time.AfterFunc(b.lease, p.endTurn)
	return p
}

func (p *probePermit) endTurn() {
	p.once.Do(func() { <-p.breaker.turn })
}

// Done implements Permit. What the call showed is known to this process when it returns,
// and to the fleet if Redis answers.
func (p *probePermit) Done(_ context.Context, r Result) {
	if p.done.Swap(true) {
		return
	}
	b := p.breaker
	defer p.endTurn()
	defer p.timer.Stop()
	b.count.verdict(r.Verdict)
	if !b.BeginWork() {
		return // the lease expires by itself
	}
	defer b.EndWork()
	switch r.Verdict {
	case Accepted:
		p.prove()
	case Refused:
		b.epoch.Add(1)
		b.forget()
		_ = b.Fail(p.keys, p.nonce, false, refusedCall)
	default:
		if p.keys != nil {
			b.GiveUp(p.keys, p.nonce)
		}
	}
}

// prove closes the breaker.
func (p *probePermit) prove() {
	b := p.breaker
	told := false
	if p.keys != nil {
		_, err := b.RunDirect(CommitTimeout, proveScript, p.keys.own, p.nonce, provenFor.Milliseconds())
		told = err == nil
	}
	if !told {
		b.accepted.Store(true) // Redis hears of it later
	}
	b.close(p.epoch, recheckProof)
}
