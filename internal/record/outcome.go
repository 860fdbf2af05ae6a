package record

// Outcome is how a task ended. Every task ends with exactly one
// (docs: "How a task ends" in the README).
type Outcome string

// The outcomes.
const (
	// Done says that the vendor did it.
	Done Outcome = "done"
	// Declined is a final, valid "no".
	Declined Outcome = "declined"
	// Superseded says that a newer intent made it wrong to run.
	Superseded Outcome = "superseded"
	// Cancelled says that it was taken back before it was attempted.
	Cancelled Outcome = "cancelled"
	// Invalid says that the request itself is wrong; running it again cannot help.
	Invalid Outcome = "invalid"
	// Unknown says that it may have happened and must not be repeated blindly.
	Unknown Outcome = "unknown"
	// Expired says that its time was up before it could run.
	Expired Outcome = "expired"
	// Failed says that it was tried until its time or its attempts were spent.
	Failed Outcome = "failed"
)

// Outcomes are all outcomes.
var Outcomes = []Outcome{
	Done,
	Declined,
	Superseded,
	Cancelled,
	Invalid,
	Unknown,
	Expired,
	Failed,
}

// Archived reports whether asynq keeps a task with this outcome as archived (a
// dead letter) rather than completed.
func (o Outcome) Archived() bool {
	switch o {
	case Invalid, Unknown, Expired, Failed:
		return true
	}
	return false
}

// FreesKey reports whether the producer's key may be used for a new try. After
// Unknown it may not: the effect may have happened.
func (o Outcome) FreesKey() bool {
	switch o {
	case Failed, Invalid, Expired, Cancelled:
		return true
	}
	return false
}

// State is where a task is.
type State string

// The states.
const (
	Pending   State = "pending"
	Scheduled State = "scheduled"
	Running   State = "running"
	Retrying  State = "retrying"
	// Parked tasks wait for something outside (credentials, a rate) and spend no
	// attempt.
	Parked State = "parked"
	// Ended tasks have an Outcome.
	Ended State = "ended"
)
