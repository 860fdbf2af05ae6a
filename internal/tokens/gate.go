package tokens

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// recheckProof is how long a process uses a proven credential before it asks
// Redis whether anybody has been refused since.
const recheckProof = 10 * time.Second

// SharedGate is the Gate of one static credential, shared with every process
// that has the same credential and the same Redis. Safe for concurrent use.
type SharedGate struct {
	*sharedState
	// open is set while the credential is known to work: the pass that everybody
	// gets at no cost.
	open atomic.Pointer[openPass]
	// turn is held by the one caller of this process that asks Redis, and through
	// its whole call if that is the one that proves the credential.
	turn chan struct{}
	// trusted: the credential worked and nobody has been refused since, as far as
	// this process knows; it is what counts while Redis does not answer.
	trusted atomic.Bool
	// accepted: a call was accepted since Redis was last told.
	accepted atomic.Bool
	// epoch rises with every refusal. What a call of an earlier epoch says is old
	// news.
	epoch atomic.Int64
}

var _ Gate = (*SharedGate)(nil)

// NewGate makes the Gate of p, whose Timeout is that of one call. It does not
// ask Redis before the first Enter. Call Close at the end.
func NewGate(rdb redis.UniversalClient, p Profile, opts ...Option) *SharedGate {
	return &SharedGate{sharedState: newSharedState(rdb, p, opts), turn: make(chan struct{}, 1)}
}

// openPass is the leave to use a credential that works. All callers of one
// period share it.
type openPass struct {
	gate  *SharedGate
	epoch int64
	until int64 // clock
}

// Enter implements Gate. With a proven credential it costs neither a round
// trip nor an allocation, but for one round trip every ten seconds. An
// unproven one goes alone in the whole fleet: the others wait for what the
// first call says. Whoever waits longer than three such calls may take gets an
// *UnavailableError.
func (g *SharedGate) Enter(ctx context.Context) (Pass, error) {
	if p := g.current(); p != nil {
		return p, nil
	}
	if err := g.coolDownError(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !g.beginWork() {
		return nil, &UnavailableError{Profile: g.profile.Name, Err: errClosed}
	}
	defer g.wg.Done()
	limit := time.NewTimer(3 * g.lease)
	defer limit.Stop()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-g.ctx.Done():
		return nil, &UnavailableError{Profile: g.profile.Name, Err: errClosed}
	case <-limit.C:
		return nil, g.tooLong()
	}
	pass, err := g.ask(ctx, limit.C)
	if _, alone := pass.(*lonePass); !alone {
		<-g.turn
	}
	return pass, err
}

func (g *SharedGate) tooLong() error {
	return &UnavailableError{Profile: g.profile.Name, RetryAfter: time.Second, Err: errors.New("the call that proves the credential takes too long")}
}

// current gives the open pass, if it is good.
func (g *SharedGate) current() Pass {
	if p := g.open.Load(); p != nil && g.clock() < p.until {
		return p
	}
	return nil
}

// ask finds out whether the caller who has the turn may go. A nil error comes
// with an *openPass, or with a *lonePass that keeps the turn.
func (g *SharedGate) ask(ctx context.Context, limit <-chan time.Time) (Pass, error) {
	if p := g.current(); p != nil { // whoever had the turn before has found out
		return p, nil
	}
	if err := g.coolDownError(); err != nil {
		return nil, err
	}
	epoch := g.epoch.Load()
	keys, err := g.keyset()
	if err != nil {
		return g.askWithout(epoch)
	}
	nonce := g.leaseNonce()
	for pause := minPause; ; pause = min(pause*3/2, maxPause) {
		accepted := "0"
		if g.accepted.Load() {
			accepted = "1"
		}
		r, err := g.run(enterScript, keys, nonce, g.lease.Milliseconds(), accepted, provenFor.Milliseconds())
		if err != nil {
			g.releaseLater(keys, nonce)
			return g.askWithout(epoch)
		}
		switch r.Text(0) {
		case "P":
			if accepted == "1" {
				g.accepted.Store(false)
			}
			return g.unlock(epoch, recheckProof), nil
		case "N":
			g.forget()
			return nil, g.adoptCoolDown(r.Millis(1), r.Text(2), r.Text(4), nil)
		case "L":
			if err := g.publishRefusal(keys, nonce); err != nil {
				return nil, err
			}
			return g.lone(keys, nonce, epoch), nil
		}
		wait := min(jitter(pause), r.Millis(1)+5*time.Millisecond)
		if err := g.sleep(ctx, wait); err != nil {
			return nil, err
		}
		select {
		case <-limit:
			return nil, g.tooLong()
		default:
		}
	}
}

// askWithout decides while Redis does not answer: a credential that worked
// here goes on, any other goes alone within this process.
func (g *SharedGate) askWithout(epoch int64) (Pass, error) {
	if c := g.coolDown.Load(); c != nil {
		if now := g.clock(); now < c.until {
			return nil, c.err(g.profile.Name, now)
		}
	}
	if g.trusted.Load() {
		return g.unlock(epoch, min(g.redisRetryIn(), recheckProof)), nil
	}
	return g.lone(nil, "", epoch), nil
}

// unlock lets everybody through for a while.
func (g *SharedGate) unlock(epoch int64, d time.Duration) *openPass {
	p := &openPass{gate: g, epoch: epoch, until: g.clock() + int64(d)}
	g.trusted.Store(true)
	g.open.Store(p)
	if g.epoch.Load() != epoch { // refused at this very moment
		g.forget()
		return p
	}
	g.endCoolDown()
	return p
}

// forget ends the good name of the credential.
func (g *SharedGate) forget() {
	g.open.Store(nil)
	g.trusted.Store(false)
	g.accepted.Store(false)
}

// errRefusedCall is how a refused call enters the ladder of refused logins.
func (g *SharedGate) errRefusedCall() error {
	return &RefusedError{Profile: g.profile.Name, Reason: "the vendor refused a call"}
}

// Report implements Pass.
func (p *openPass) Report(_ context.Context, v AuthResult) {
	g := p.gate
	g.countVerdict(v)
	switch v {
	case Accepted:
		if !g.accepted.Load() && g.epoch.Load() == p.epoch {
			g.accepted.Store(true)
		}
	case Refused:
		// Of 50 calls refused together one speaks for all.
		if !g.epoch.CompareAndSwap(p.epoch, p.epoch+1) || !g.beginWork() {
			return
		}
		defer g.wg.Done()
		g.forget()
		_ = g.recordFailure(g.keys.Load(), "", false, g.errRefusedCall())
	}
}

func (g *SharedGate) countVerdict(v AuthResult) {
	switch v {
	case Accepted:
		g.count.callAccepted.Inc()
	case Refused:
		g.count.callRefused.Inc()
	default:
		g.count.callInconclusive.Inc()
	}
}

// lonePass is the leave of the one call that proves a credential.
type lonePass struct {
	gate  *SharedGate
	keys  *keyset // nil: without Redis, alone in this process only
	nonce string
	epoch int64

	reported atomic.Bool
	once     sync.Once
	timer    *time.Timer
}

// lone gives the turn to one call, for at most the life of its lease: a caller
// that never reports must not stop the others for ever.
func (g *SharedGate) lone(keys *keyset, nonce string, epoch int64) *lonePass {
	p := &lonePass{gate: g, keys: keys, nonce: nonce, epoch: epoch}
	p.timer = time.AfterFunc(g.lease, p.endTurn)
	return p
}

func (p *lonePass) endTurn() { p.once.Do(func() { <-p.gate.turn }) }

// Report implements Pass. What the call said is known to this process when it
// returns, and to the fleet if Redis answers.
func (p *lonePass) Report(_ context.Context, v AuthResult) {
	if p.reported.Swap(true) {
		return
	}
	g := p.gate
	defer p.endTurn()
	defer p.timer.Stop()
	g.countVerdict(v)
	if !g.beginWork() {
		return // the lease runs out by itself
	}
	defer g.wg.Done()
	switch v {
	case Accepted:
		told := false
		if p.keys != nil {
			_, err := g.runDirect(commitTimeout, proveScript, p.keys, p.nonce, provenFor.Milliseconds())
			told = err == nil
		}
		if !told {
			g.accepted.Store(true) // Redis hears of it later
		}
		g.unlock(p.epoch, recheckProof)
	case Refused:
		g.epoch.Add(1)
		g.forget()
		_ = g.recordFailure(p.keys, p.nonce, false, g.errRefusedCall())
	default:
		if p.keys != nil {
			_, _ = g.runDirect(commitTimeout, releaseScript, p.keys, p.nonce)
		}
	}
}
