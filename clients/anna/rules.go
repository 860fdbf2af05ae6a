package anna

import (
	"time"

	"errand.internal/clients"
)

// unconfirmedRetry is the wait after an inactivation that the vendor did not
// confirm. The refusal is prose in the customer's language and may well be
// final, so asking often would only be noise; but as it may also pass, and an
// offboarded user must not keep access, the task asks again until its budget
// ends and then fails with an alarm.
const unconfirmedRetry = 15 * time.Minute

// verdict is what one observation means for one operation.
type verdict struct {
	Kind       clients.Kind
	Message    string
	RetryAfter time.Duration
}

// rule is one operation: its column of the table in VENDORS §2. What the table
// leaves to the status is clients.StatusError's. Unknown stands wherever a
// repeatable task runs again and another must not.
type rule struct {
	op   string // names the operation in errors and metrics
	path string // below the base URL

	// refused: 2xx with success:false, after the token check.
	refused verdict
	// incomplete: 2xx with success:true, the promised field missing or of
	// another type. Unused by an operation that promises none.
	incomplete verdict
	// unreadable: 2xx, but success is missing or no boolean, or no JSON object.
	unreadable verdict
}

// contradicted is the verdict of every operation on a 5xx whose body says
// success:true: the status denies what the body claims.
var contradicted = verdict{
	Kind:    clients.Unknown,
	Message: "the status says failure, the body says success",
}

// The operations.
var (
	userHash = rule{
		op:   "user hash",
		path: "REST/AnnACorporate/User/UserHash",
		refused: verdict{
			Kind:    clients.Declined,
			Message: "the vendor refused a hash for this user",
		},
		incomplete: verdict{
			Kind:    clients.Unknown,
			Message: "success without readable accessData",
		},
		unreadable: verdict{Kind: clients.Unknown, Message: "the answer cannot be read"},
	}
	userHashForced = rule{
		op:   "user force hash",
		path: "REST/AnnACorporate/User/UserHashForced",
		refused: verdict{
			Kind:    clients.Declined,
			Message: "the vendor refused to make the user or a hash",
		},
		incomplete: verdict{
			Kind:    clients.Unknown,
			Message: "success without readable accessData; the user may have been made or changed",
		},
		unreadable: verdict{
			Kind:    clients.Unknown,
			Message: "the answer cannot be read; the user may have been made or changed",
		},
	}
	userInactivate = rule{
		op:   "user inactivate",
		path: "REST/AnnACorporate/User/Inactivate",
		refused: verdict{
			Kind:       clients.Temporary,
			Message:    "the vendor did not confirm the inactivation",
			RetryAfter: unconfirmedRetry,
		},
		unreadable: verdict{Kind: clients.Unknown, Message: "the answer cannot be read"},
	}
	messengerStructure = rule{
		op:   "messenger structure",
		path: "REST/AnnACorporate/Messenger/Structure",
		refused: verdict{
			Kind:    clients.Declined,
			Message: "the vendor refused the structure",
		},
		incomplete: verdict{
			Kind:    clients.Unknown,
			Message: "success without a readable structure",
		},
		unreadable: verdict{Kind: clients.Unknown, Message: "the answer cannot be read"},
	}
	messengerAlerts = rule{
		op:   "messenger alerts",
		path: "REST/AnnACorporate/Messenger/AlertCounter",
		refused: verdict{
			Kind:    clients.Declined,
			Message: "the vendor refused to count the alerts",
		},
		incomplete: verdict{
			Kind:    clients.Unknown,
			Message: "success without a readable alertCounter",
		},
		unreadable: verdict{Kind: clients.Unknown, Message: "the answer cannot be read"},
	}
	messengerRequests = rule{
		op:   "messenger requests",
		path: "REST/AnnACorporate/Messenger/Requests",
		refused: verdict{
			Kind:    clients.Declined,
			Message: "the vendor refused to list the requests",
		},
		incomplete: verdict{
			Kind:    clients.Unknown,
			Message: "success without readable userRequests",
		},
		unreadable: verdict{Kind: clients.Unknown, Message: "the answer cannot be read"},
	}
	messengerLink = rule{
		op:      "messenger link",
		path:    "REST/AnnACorporate/Messenger/Link",
		refused: verdict{Kind: clients.Declined, Message: "the vendor refused a link"},
		incomplete: verdict{
			Kind:    clients.Unknown,
			Message: "success without a readable messengerLink",
		},
		unreadable: verdict{Kind: clients.Unknown, Message: "the answer cannot be read"},
	}
)

var operations = []rule{
	userHash,
	userHashForced,
	userInactivate,
	messengerStructure,
	messengerAlerts,
	messengerRequests,
	messengerLink,
}

// Observation is what an answer shows, where the status does not decide.
type Observation string

// The observations.
const (
	Refused      Observation = "2xx with success:false"
	Incomplete   Observation = "2xx with success:true, but the promised field is missing or of another type"
	Unreadable   Observation = "2xx, but success is missing or no boolean, or no JSON object"
	Contradicted Observation = "5xx with success:true"
)

// Rule is one cell of the table: what an observation means for an operation.
type Rule struct {
	Op, Path    string
	Observation Observation
	Kind        clients.Kind
	Message     string
	// RetryAfter is the least wait before the next try, 0 if the task's policy
	// decides.
	RetryAfter time.Duration
}

// Rules returns the whole table, for tests and documentation. What is not in it
// is decided by clients.StatusRules.
func Rules() []Rule {
	var rows []Rule
	for _, op := range operations {
		for _, cell := range []struct {
			seen    Observation
			verdict verdict
		}{{Refused, op.refused}, {Incomplete, op.incomplete}, {Unreadable, op.unreadable}, {Contradicted, contradicted}} {
			if cell.verdict.Message == "" {
				continue // nothing is promised that could be missing
			}
			rows = append(
				rows,
				Rule{
					op.op,
					op.path,
					cell.seen,
					cell.verdict.Kind,
					cell.verdict.Message,
					cell.verdict.RetryAfter,
				},
			)
		}
	}
	return rows
}

// getToken is the login. Its answers are Login's own: a refusal there is a
// *tokens.RefusedError.
const (
	getTokenOp   = "token"
	getTokenPath = "REST/Credentials/GetToken"
)
