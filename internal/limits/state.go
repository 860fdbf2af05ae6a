package limits

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// State is how an account stands with its limits.
type State struct {
	// ClosedFor is how long nobody goes, because the vendor said so; 0 if it did
	// not.
	ClosedFor time.Duration
	// Waiting tasks have a place in the line.
	Waiting int
	// Underway counts calls that hold a permit.
	Underway int
}

// String says it in one line, "" if there is nothing to say.
func (s State) String() string {
	var parts []string
	if s.ClosedFor > 0 {
		parts = append(parts, "used up by the vendor's word, goes on in "+max(s.ClosedFor.Round(time.Second), time.Second).String())
	}
	if s.Waiting > 0 {
		parts = append(parts, fmt.Sprintf("%d waiting", s.Waiting))
	}
	if s.Underway > 0 {
		parts = append(parts, fmt.Sprintf("%d under way", s.Underway))
	}
	return strings.Join(parts, "; ")
}

// State reads how the account stands. It changes nothing.
func (l *Limiter) State(ctx context.Context) (State, error) {
	r, err := l.run(ctx, stateScript)
	if err != nil {
		return State{}, err
	}
	return State{ClosedFor: r.micros(0), Waiting: r.int(1), Underway: r.int(2)}, nil
}
