package produce

import "errand.internal/tasks"

// Outcome says what an outcome means.
type Outcome struct {
	Outcome tasks.Outcome
	Meaning string
	// ExitCode is that of `enqueue --wait`.
	ExitCode int
}

// The exit codes of `enqueue --wait` by outcome.
const (
	exitDone      = 0
	exitDeclined  = 5
	exitUnknown   = 7
	exitExpired   = 8
	exitFailed    = 11
	exitCancelled = 12
)

// Outcomes are all outcomes of tasks.
var Outcomes = []Outcome{
	{tasks.Done, "the vendor did it (a passcode: accepted for sending)", exitDone},
	{tasks.Declined, `a final, valid "no": wrong or expired code, inactive user`, exitDeclined},
	{tasks.Superseded, "a newer intent made it wrong to run", exitCancelled},
	{tasks.Cancelled, "taken back before it was attempted", exitCancelled},
	{tasks.Invalid, "the request itself is wrong; running it again cannot help", exitFailed},
	{tasks.Unknown, "it may have happened and must not be repeated blindly", exitUnknown},
	{tasks.Expired, "its time was up before it could run; never sent late", exitExpired},
	{tasks.Failed, "the retry budget is spent, or the vendor never confirmed", exitFailed},
}
