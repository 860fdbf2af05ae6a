package admission

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// LimitState is how an account stands with its limits.
type LimitState struct {
	// PausedFor is how long nobody goes, because the vendor said so; 0 if it did not.
	PausedFor time.Duration
	// Waiting counts the tasks that have a place in the queue.
	Waiting int
	// Underway counts the calls that hold a permit.
	Underway int
}

// String describes the state in one line, "" if there is nothing to say.
func (s LimitState) String() string {
	var parts []string
	if s.PausedFor > 0 {
		wait := max(s.PausedFor.Round(time.Second), time.Second)
		parts = append(parts, "used up by the vendor's word, goes on in "+wait.String())
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
func (l *Limiter) State(ctx context.Context) (LimitState, error) {
	reply, err := l.run(ctx, limitStateScript)
	if err != nil {
		return LimitState{}, err
	}
	return LimitState{
		PausedFor: reply.Micros(0),
		Waiting:   int(reply.Int(1)),
		Underway:  int(reply.Int(2)),
	}, nil
}
