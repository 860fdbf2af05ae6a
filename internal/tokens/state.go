package tokens

import (
	"context"
	"errors"
	"time"

	"errand.internal/internal/admission"
	"errand.internal/internal/redisscript"
)

// State reads the credential's state in the fleet. It changes nothing and calls no
// vendor.
func (s *Shared) State(ctx context.Context) (admission.State, error) {
	state, err := s.Breaker.State(ctx)
	if err != nil {
		return state, err
	}
	reply, err := s.runForOperator(ctx, lifeScript)
	if err != nil {
		return state, err
	}
	state.TokenFor = reply.Millis(0)
	return state, nil
}

// ClearCoolDown ends the cool-down as that of the breaker does, and switches rejections
// on again.
func (s *Shared) ClearCoolDown(ctx context.Context) error {
	_, err := s.runForOperator(ctx, trustScript)
	return errors.Join(err, s.Breaker.ClearCoolDown(ctx))
}

func (s *Shared) runForOperator(ctx context.Context, script *redisscript.Script) (redisscript.Reply, error) {
	var reply redisscript.Reply
	err := s.ForOperator(ctx, func(keys *admission.Keys) (err error) {
		reply, err = s.RunDirect(admission.CommitTimeout, script, scriptKeys(keys))
		return err
	})
	return reply, err
}

// loginFault is an error that says in words that may be stored what a login was
// answered with.
type loginFault interface {
	error
	LoginFault() string
}

// retryAfterHinter is an error with the wait that its server asks for.
type retryAfterHinter interface {
	error
	RetryAfterHint() time.Duration
}

// failure is a failed login as the breaker takes it.
func failure(err error) admission.Failure {
	f := admission.Failure{Err: err}
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		f.Refused = true
		f.Reason = refused.Reason
		return f
	}
	if fault, ok := errors.AsType[loginFault](err); ok {
		f.Reason = fault.LoginFault()
	}
	if h, ok := errors.AsType[retryAfterHinter](err); ok {
		f.Wait = h.RetryAfterHint()
	}
	return f
}
