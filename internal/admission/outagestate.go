package admission

import (
	"context"
	"time"
)

// Usable reports whether a call may be tried now. It is false if Redis does not answer.
func (o *Outage) Usable(ctx context.Context) bool {
	state, err := o.State(ctx)
	return err == nil && state.OpenFor == 0
}

// OutageState is the state of an Outage in the fleet.
type OutageState struct {
	// Closed means that calls go.
	Closed bool
	// OpenFor is how long nobody goes; 0 if it is closed, or may be tried.
	OpenFor time.Duration
	// Why is why it opened: outage, refused or quota.
	Why string
}

// String describes the state in one line.
func (s OutageState) String() string {
	if s.Closed {
		return "closed"
	}
	why := map[string]string{
		whyOutage:  "too many calls failed",
		whyRefused: "the vendor refused access (403)",
		whyQuota:   "the vendor says that the calls are used up (429)",
	}[s.Why]
	if s.OpenFor > 0 {
		return "tasks wait: " + why + "; next try in " + max(s.OpenFor.Round(time.Second), time.Second).String()
	}
	return "tasks wait: " + why + "; it is being tried"
}

// State reads the state in the fleet. It changes nothing.
func (o *Outage) State(ctx context.Context) (OutageState, error) {
	reply, err := o.run(ctx, outageStateScript)
	if err != nil {
		return OutageState{}, err
	}
	state := OutageState{
		Closed: reply.Text(0) == "closed",
		Why:    reply.Text(2),
	}
	if reply.Text(0) == "open" {
		state.OpenFor = max(reply.Micros(1), time.Microsecond)
	}
	return state, nil
}
