package anna

import (
	"time"

	"errand.internal/clients"
)

// unconfirmedRetry is the wait after an inactivation that the vendor did not
// confirm. The refusal is prose in the customer's language and may be final, so
// frequent retries would be noise. It may also pass, and an offboarded user must
// not keep access, so the task retries until its budget ends and then fails with
// an alarm.
const unconfirmedRetry = 15 * time.Minute

// Observation is what an answer shows.
type Observation string

// The observations that have a rule.
const (
	Refused      Observation = "2xx with success:false"
	Incomplete   Observation = "2xx with success:true, but the promised field is missing or of another type"
	Unreadable   Observation = "2xx, but success is missing or no boolean, or no JSON object"
	Contradicted Observation = "5xx with success:true"
	NotDone      Observation = "503 with success:false"
)

// The observations that need no rule.
const (
	succeeded Observation = "2xx with success:true"
	byStatus  Observation = "another status" // clients.StatusError decides
)

// answerRule says what an observation means for an operation. Unknown is the kind
// wherever the effect may have happened: repeatable tasks run again, others end.
type answerRule struct {
	Kind       clients.Kind
	Message    string
	RetryAfter time.Duration
}

func declined(message string) answerRule {
	return answerRule{Kind: clients.Declined, Message: message}
}

func unknown(message string) answerRule {
	return answerRule{Kind: clients.Unknown, Message: message}
}

// contradicted is the rule of every operation for a 5xx whose body says
// success:true: the status contradicts the body.
var contradicted = unknown("the status says failure, the body says success")

// notDone is the rule of every operation for a 503 whose body says success:false. The
// vendor's own program answers, not a gateway that may have lost it, and has not done
// it.
var notDone = answerRule{
	Kind:    clients.Temporary,
	Message: "the service is unavailable, and the vendor says that it was not done",
}

// operation is one operation of the API and its rules.
type operation struct {
	name string // in errors and metrics
	path string // below the base URL

	refused    answerRule // after a possible replay with a fresh token
	incomplete answerRule // zero if the operation promises no field
	unreadable answerRule
}

// The operations.
var (
	userHash = operation{
		name:       "user hash",
		path:       "REST/AnnACorporate/User/UserHash",
		refused:    declined("the vendor refused a hash for this user"),
		incomplete: unknown("success without readable accessData"),
		unreadable: unknown("the answer cannot be read"),
	}
	userHashForced = operation{
		name:       "user force hash",
		path:       "REST/AnnACorporate/User/UserHashForced",
		refused:    declined("the vendor refused to create the user or a hash"),
		incomplete: unknown("success without readable accessData; the user may have been created or changed"),
		unreadable: unknown("the answer cannot be read; the user may have been created or changed"),
	}
	userInactivate = operation{
		name: "user inactivate",
		path: "REST/AnnACorporate/User/Inactivate",
		refused: answerRule{
			Kind:       clients.Temporary,
			Message:    "the vendor did not confirm the inactivation",
			RetryAfter: unconfirmedRetry,
		},
		unreadable: unknown("the answer cannot be read"),
	}
	messengerStructure = operation{
		name:       "messenger structure",
		path:       "REST/AnnACorporate/Messenger/Structure",
		refused:    declined("the vendor refused the structure"),
		incomplete: unknown("success without a readable structure"),
		unreadable: unknown("the answer cannot be read"),
	}
	messengerAlerts = operation{
		name:       "messenger alerts",
		path:       "REST/AnnACorporate/Messenger/AlertCounter",
		refused:    declined("the vendor refused to count the alerts"),
		incomplete: unknown("success without a readable alertCounter"),
		unreadable: unknown("the answer cannot be read"),
	}
	messengerRequests = operation{
		name:       "messenger requests",
		path:       "REST/AnnACorporate/Messenger/Requests",
		refused:    declined("the vendor refused to list the requests"),
		incomplete: unknown("success without readable userRequests"),
		unreadable: unknown("the answer cannot be read"),
	}
	messengerLink = operation{
		name:       "messenger link",
		path:       "REST/AnnACorporate/Messenger/Link",
		refused:    declined("the vendor refused a link"),
		incomplete: unknown("success without a readable messengerLink"),
		unreadable: unknown("the answer cannot be read"),
	}
)

// Operations returns the names of the operations and of the login, as metrics have them.
func Operations() []string {
	names := []string{getTokenOp}
	for _, op := range operations {
		names = append(names, op.name)
	}
	return names
}

var operations = []operation{
	userHash,
	userHashForced,
	userInactivate,
	messengerStructure,
	messengerAlerts,
	messengerRequests,
	messengerLink,
}

// Rule is what an observation means for one operation.
type Rule struct {
	Op          string
	Path        string
	Observation Observation
	Kind        clients.Kind
	Message     string
	// RetryAfter is the minimum wait before the next try. 0: the task's policy
	// decides.
	RetryAfter time.Duration
}

// Rules returns all rules, for tests and documentation. For other answers
// clients.StatusRules decides.
func Rules() []Rule {
	var rules []Rule
	for _, op := range operations {
		for _, row := range []struct {
			observation Observation
			rule        answerRule
		}{
			{Refused, op.refused},
			{Incomplete, op.incomplete},
			{Unreadable, op.unreadable},
			{Contradicted, contradicted},
			{NotDone, notDone},
		} {
			if row.rule.Message == "" {
				continue // the operation promises no field
			}
			rules = append(rules, Rule{
				Op:          op.name,
				Path:        op.path,
				Observation: row.observation,
				Kind:        row.rule.Kind,
				Message:     row.rule.Message,
				RetryAfter:  row.rule.RetryAfter,
			})
		}
	}
	return rules
}
