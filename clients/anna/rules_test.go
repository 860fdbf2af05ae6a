package anna_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
)

// expectation is what one operation makes of the answers that have a rule. It
// repeats the rules, because a test that read them could not fail. TestAnswers
// covers the kinds of many more answers.
type expectation struct {
	op               string
	refused          clients.Error
	incomplete       string
	unreadableSuffix string
}

var expectations = []expectation{
	{
		op:         annatest.OpHash,
		refused:    declined("the vendor refused a hash for this user"),
		incomplete: "success without readable accessData",
	},
	{
		op:               annatest.OpForceHash,
		refused:          declined("the vendor refused to create the user or a hash"),
		incomplete:       "success without readable accessData; the user may have been created or changed",
		unreadableSuffix: "; the user may have been created or changed",
	},
	{
		op: annatest.OpInactivate,
		refused: clients.Error{
			Kind:       clients.Temporary,
			Message:    "the vendor did not confirm the inactivation",
			RetryAfter: 15 * time.Minute,
		},
	},
	{
		op:         annatest.OpStructure,
		refused:    declined("the vendor refused the structure"),
		incomplete: "success without a readable structure",
	},
	{
		op:         annatest.OpAlerts,
		refused:    declined("the vendor refused to count the alerts"),
		incomplete: "success without a readable alertCounter",
	},
	{
		op:         annatest.OpRequests,
		refused:    declined("the vendor refused to list the requests"),
		incomplete: "success without readable userRequests",
	},
	{
		op:         annatest.OpLink,
		refused:    declined("the vendor refused a link"),
		incomplete: "success without a readable messengerLink",
	},
}

func declined(message string) clients.Error {
	return clients.Error{Kind: clients.Declined, Message: message}
}

func unknown(message string) clients.Error {
	return clients.Error{Kind: clients.Unknown, Message: message}
}

// mismatch gives the operation every answer that has a rule and describes the
// first unexpected result, or returns "".
func (e expectation) mismatch(t *testing.T, o operation) string {
	t.Helper()
	for _, row := range []struct {
		status int
		body   string
		want   clients.Error
	}{
		{200, `{"success":false}`, e.refused},
		{200, `{"success":true}`, unknown(e.incomplete)},
		{200, `{}`, unknown("the answer cannot be read" + e.unreadableSuffix + ": success is missing or no boolean")},
		{500, `{"success":true,` + allFields + `}`, unknown("the status says failure, the body says success")},
		{
			503,
			`{"success":false}`,
			clients.Error{
				Kind:    clients.Temporary,
				Message: "the service is unavailable, and the vendor says that it was not done",
			},
		},
	} {
		canned := clientstest.Canned{Status: row.status, Body: row.body}
		client, err := anna.New(
			config("https://anna.example/"),
			&source{},
			clients.NewCaller(anna.Vendor, clients.Timeouts{}, canned, nil),
		)
		if err != nil {
			t.Fatal(err)
		}
		err = o.run(t.Context(), client)
		row.want.Vendor = anna.Vendor
		row.want.Op = e.op
		row.want.Status = row.status
		if got, failed := clients.AsError(err); failed && *got == row.want || !failed && row.want.Message == "" {
			continue
		}
		return fmt.Sprintf("%s: %d %s: %v, want %v", e.op, row.status, row.body, err, &row.want)
	}
	return ""
}

func TestEveryRuleCounts(t *testing.T) {
	mismatch := func() string {
		for i, e := range expectations {
			if why := e.mismatch(t, operations[i]); why != "" {
				return why
			}
		}
		return ""
	}
	rules := anna.AnswerRules()
	// Rules lists two of them once per operation.
	if n := len(anna.Rules()); n != len(rules)+2*(len(expectations)-1) {
		t.Errorf("%d rules, %d answer rules", n, len(rules))
	}
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			clientstest.EveryFieldCounts(t, rule, mismatch, nil)
		})
	}
}

// The other tests check what the client does, this one what Rules returns and the
// documentation is generated from.
func TestGoldenRules(t *testing.T) {
	t.Parallel()
	var got strings.Builder
	for _, r := range anna.Rules() {
		fmt.Fprintf(&got, "%s | %s | %s | %s | %s | %s\n", r.Op, r.Path, r.Observation, r.Kind, r.Message, r.RetryAfter)
	}
	clientstest.GoldenText(t, "testdata/rules.txt", got.String())
}

// The tables of the vendor's guide are generated from the code.
func TestGoldenDocs(t *testing.T) {
	const page = "../../docs/vendors/anna.md"
	var answers strings.Builder
	answers.WriteString("| operation | answer | kind | meaning |\n|---|---|---|---|\n")
	for _, r := range anna.Rules() {
		meaning := r.Message
		if r.RetryAfter > 0 {
			meaning += fmt.Sprintf("; retried after %d min", int(r.RetryAfter.Minutes()))
		}
		fmt.Fprintf(&answers, "| %s | %s | %s | %s |\n", r.Op, r.Observation, r.Kind, meaning)
	}
	clientstest.GoldenPart(t, page, "answers", answers.String())
	clientstest.GoldenPart(t, page, "statuses", clientstest.StatusTable())
}
