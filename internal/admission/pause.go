package admission

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// recheckPause is how long a process goes on with what it knows of a pause.
const recheckPause = time.Second

// Pause stops an account while an operator has paused it: no call, no login and no probe
// starts on any worker. A call under way ends. It is safe for concurrent use.
//
// The pause is a key that expires with it. A process that makes calls asks for it once a
// second, before a call; one that makes none asks before its next call. If Redis does not
// answer, what is known holds.
type Pause struct {
	options
	rdb    redis.UniversalClient
	name   string
	asking sync.Mutex
	known  atomic.Pointer[pauseKnown]
}

// pauseKnown is a pause as this process knows it. It is immutable.
type pauseKnown struct {
	paused  bool
	until   time.Time // zero: until it is resumed
	recheck time.Time // Redis is not asked before it
}

// NewPause returns the Pause of an account. It does not use Redis yet.
func NewPause(rdb redis.UniversalClient, account string, opts ...Option) *Pause {
	p := &Pause{
		options: newOptions(opts),
		rdb:     rdb,
		name:    account,
	}
	p.known.Store(&pauseKnown{})
	return p
}

// Account returns the name of the account.
func (p *Pause) Account() string {
	return p.name
}

// Name names the pause where tasks are parked for it.
func (p *Pause) Name() string {
	return p.name + PauseSuffix
}

// PauseSuffix follows the account's name in the Name of a Pause.
const PauseSuffix = ":pause"

// Check returns a *Blocked while the account is paused. A nil Pause never is.
func (p *Pause) Check(ctx context.Context) error {
	if p == nil {
		return nil
	}
	now := p.now()
	known := p.known.Load()
	if !now.Before(known.recheck) {
		known = p.ask(ctx)
	}
	if !known.holds(now) {
		return nil
	}
	b := &Blocked{
		Key:    p.Name(),
		Reason: p.name + " is paused by an operator",
	}
	if !known.until.IsZero() {
		b.RetryAfter = known.until.Sub(now)
	}
	return b
}

func (k *pauseKnown) holds(now time.Time) bool {
	return k.paused && (k.until.IsZero() || now.Before(k.until))
}

// ask asks Redis, unless another caller has just done so.
func (p *Pause) ask(ctx context.Context) *pauseKnown {
	p.asking.Lock()
	defer p.asking.Unlock()
	known := p.known.Load()
	if p.now().Before(known.recheck) {
		return known
	}
	found, err := p.read(ctx)
	if err != nil {
		same := *known
		found = &same
	}
	found.recheck = p.now().Add(recheckPause)
	p.known.Store(found)
	return found
}

// read asks Redis once, for askTimeout at most. The time that is left of the key is that
// of the pause, so no clock but Redis' counts.
func (p *Pause) read(ctx context.Context) (*pauseKnown, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer cancel()
	left, err := p.rdb.PTTL(ctx, record.AccountPauseKey(p.name)).Result()
	switch {
	case err != nil:
		return nil, err
	case left > 0:
		return &pauseKnown{paused: true, until: p.now().Add(left)}, nil
	}
	return &pauseKnown{paused: left == noExpiry}, nil
}

// noExpiry is what PTTL says of a key that does not expire.
const noExpiry = time.Duration(-1)

// Usable reports whether the account is not paused. It is false if Redis does not answer.
func (p *Pause) Usable(ctx context.Context) bool {
	found, err := p.read(ctx)
	return err == nil && !found.paused
}
