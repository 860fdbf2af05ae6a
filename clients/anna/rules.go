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
	kind       clients.Kind
	message    string
	retryAfter time.Duration
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
var contradicted = verdict{kind: clients.Unknown, message: "the status says failure, the body says success"}

// The operations.
var (
	userHash = rule{
		op:         "user hash",
		path:       "REST/AnnACorporate/User/UserHash",
		refused:    verdict{kind: clients.Declined, message: "the vendor refused a hash for this user"},
		incomplete: verdict{kind: clients.Unknown, message: "success without readable accessData"},
		unreadable: verdict{kind: clients.Unknown, message: "the answer cannot be read"},
	}
	userInactivate = rule{
		op:         "user inactivate",
		path:       "REST/AnnACorporate/User/Inactivate",
		refused:    verdict{kind: clients.Temporary, message: "the vendor did not confirm the inactivation", retryAfter: unconfirmedRetry},
		unreadable: verdict{kind: clients.Unknown, message: "the answer cannot be read"},
	}
	messengerAlerts = rule{
		op:         "messenger alerts",
		path:       "REST/AnnACorporate/Messenger/AlertCounter",
		refused:    verdict{kind: clients.Declined, message: "the vendor refused to count the alerts"},
		incomplete: verdict{kind: clients.Unknown, message: "success without a readable alertCounter"},
		unreadable: verdict{kind: clients.Unknown, message: "the answer cannot be read"},
	}
)

// getToken is the login. Its answers are Login's own: a refusal there is a
// *tokens.RefusedError.
const (
	getTokenOp   = "token"
	getTokenPath = "REST/Credentials/GetToken"
)
