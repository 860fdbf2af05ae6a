package admission

import "context"

// Account is all that stands before the calls of one account.
type Account struct {
	// Outage leaves a vendor in trouble in peace; nil for none.
	Outage *Outage
	// Limiter keeps the calls within rate and concurrency; nil for none.
	Limiter *Limiter
}

// Acquire waits until one call is admitted. Its errors are *Blocked or the context's.
func (a *Account) Acquire(ctx context.Context, r Request) (Permit, error) {
	if a.Outage == nil {
		return a.Limiter.Acquire(ctx, r)
	}
	breaker, err := a.Outage.Acquire(ctx, r)
	if err != nil || a.Limiter == nil {
		return breaker, err
	}
	limit, err := a.Limiter.Acquire(ctx, r)
	if err != nil {
		breaker.Done(ctx, Result{}) // the call is not made
		return nil, err
	}
	return permits{breaker, limit}, nil
}

type permits [2]Permit

// Done implements Permit.
func (p permits) Done(ctx context.Context, r Result) {
	p[0].Done(ctx, r)
	p[1].Done(ctx, r)
}

// Refuse says that the vendor refused access to the account by an answer whose permit is
// done.
func (a *Account) Refuse(ctx context.Context) {
	if a.Outage != nil {
		a.Outage.Refuse(ctx)
	}
}
