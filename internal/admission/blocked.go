package admission

import "time"

// Blocked says that a call was not made because what Key names does not admit it now.
// Nothing was sent, and it costs its task no attempt.
type Blocked struct {
	// Key names what blocks, in metrics (blocked_by) and on the command line:
	// "dinero-123456:rate". It is no secret.
	Key string
	// Reason says why, in Errand's own words.
	Reason string
	// RetryAfter is when it is worthwhile to ask again.
	RetryAfter time.Duration
	// Turn says that RetryAfter is the task's own: it was computed from the tasks ahead
	// of it, so nobody has to wake it or to spread it.
	Turn bool
	// Refused says that the vendor refused what Key names, and somebody may have to mend
	// it. Otherwise it is only busy or in trouble.
	Refused bool
	// Err is the cause, nil if it is not known.
	Err error
}

// Error implements error.
func (e *Blocked) Error() string {
	if e.RetryAfter <= 0 {
		return e.Reason
	}
	next := "next try in "
	if e.Turn {
		next = "its turn is in "
	}
	wait := e.RetryAfter.Round(time.Millisecond)
	if wait > time.Second {
		wait = e.RetryAfter.Round(time.Second)
	}
	return e.Reason + "; " + next + wait.String()
}

// Unwrap returns the cause.
func (e *Blocked) Unwrap() error {
	return e.Err
}
