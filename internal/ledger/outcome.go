package ledger

// Outcome is how a task ended. Every task ends with exactly one
// (docs: "How a task ends" in the README).
type Outcome string

// The outcomes.
const (
	// Done: the vendor did it.
	Done Outcome = "done"
	// Declined: a final, valid "no".
	Declined Outcome = "declined"
	// Superseded: a newer intent made it wrong to run.
	Superseded Outcome = "superseded"
	// Cancelled: taken back before it was attempted.
	Cancelled Outcome = "cancelled"
	// Invalid: the request itself is wrong; running it again cannot help.
	Invalid Outcome = "invalid"
	// Unknown reads "unknown": it may have happened and must not be repeated
	// blindly.
	Unknown Outcome = "unknown"
	// Expired: its time was up before it could run.
	Expired Outcome = "expired"
	// Failed: the retry budget is spent.
	Failed Outcome = "failed"
)

// Archived reports whether asynq keeps a task with this outcome as archived
// (a dead letter) rather than completed.
func (o Outcome) Archived() bool {
	switch o {
	case Invalid, Unknown, Expired, Failed:
		return true
	}
	return false
}

// FreesKey reports whether the producer's key may be used for a new try.
// After unknown it may not: the effect may have happened.
func (o Outcome) FreesKey() bool {
	switch o {
	case Failed, Invalid, Expired, Cancelled:
		return true
	}
	return false
}

// State is where a task stands.
type State string

// The states. Ended goes with an Outcome.
const (
	Pending   State = "pending"
	Scheduled State = "scheduled"
	Running   State = "running"
	Retrying  State = "retrying"
	// Parked: it waits for something outside (credentials, a rate) and spends no
	// attempt.
	Parked State = "parked"
	Ended  State = "ended"
)
