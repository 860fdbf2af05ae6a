package admission

import "context"

// Account is all that stands before the calls of one account.
type Account struct {
	// Pause stops the calls while an operator wants it; nil for never.
	Pause *Pause
	// Outage leaves a vendor in trouble in peace; nil for none.
	Outage *Outage
	// Limiter keeps the calls within rate and concurrency; nil for none.
	Limiter *Limiter
}

// Acquire waits until one call is admitted. Its errors are *Blocked or the context's.
func (a *Account) Acquire(ctx context.Context, r Request) (Permit, error) {
	if err := a.Pause.Check(ctx); err != nil {
		return nil, err
	}
	var held permits
	if a.Outage != nil {
		p, err := a.Outage.Acquire(ctx, r)
		if err != nil {
			return nil, err
		}
		held = append(held, p)
	}
	if a.Limiter != nil {
		p, err := a.Limiter.Acquire(ctx, r)
		if err == nil {
			held = append(held, p)
			err = a.Pause.Check(ctx) // it may have waited
		}
		if err != nil {
			held.Done(ctx, Result{}) // the call is not made
			return nil, err
		}
	}
	return held, nil
}

// permits are those that one call needs.
type permits []Permit

// Done implements Permit.
func (p permits) Done(ctx context.Context, r Result) {
	for _, permit := range p {
		permit.Done(ctx, r)
	}
}

// Conclude says what an Undecided answer to a call of the task has shown: whether the vendor
// refuses access to the account. If so, the account rests, and the error says that.
func (a *Account) Conclude(ctx context.Context, task string, refused bool) *Blocked {
	if a.Outage == nil {
		return nil
	}
	return a.Outage.Conclude(ctx, task, refused)
}
