package anna_test

import (
	"fmt"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
)

// column is what one operation makes of answers, written out a second time: the
// test would be empty if it read the table under test. TestCells has the kinds
// of many more answers.
type column struct {
	op         string
	refused    clients.Error
	incomplete string
	unreadable string
}

var columns = []column{
	{annatest.OpHash, declined("the vendor refused a hash for this user"), "success without readable accessData", ""},
	{
		annatest.OpForceHash,
		declined("the vendor refused to make the user or a hash"),
		"success without readable accessData; the user may have been made or changed",
		"; the user may have been made or changed",
	},
	{
		annatest.OpInactivate,
		clients.Error{
			Kind:       clients.Temporary,
			Message:    "the vendor did not confirm the inactivation",
			RetryAfter: 15 * time.Minute,
		},
		"",
		"",
	},
	{annatest.OpStructure, declined("the vendor refused the structure"), "success without a readable structure", ""},
	{
		annatest.OpAlerts,
		declined("the vendor refused to count the alerts"),
		"success without a readable alertCounter",
		"",
	},
	{
		annatest.OpRequests,
		declined("the vendor refused to list the requests"),
		"success without readable userRequests",
		"",
	},
	{annatest.OpLink, declined("the vendor refused a link"), "success without a readable messengerLink", ""},
}

func declined(message string) clients.Error {
	return clients.Error{Kind: clients.Declined, Message: message}
}

// differs has the operation answered in each way, and tells what means something
// else; "" if nothing does.
func (c column) differs(t *testing.T, o operation) string {
	t.Helper()
	unknown := func(message string) clients.Error { return clients.Error{Kind: clients.Unknown, Message: message} }
	for _, row := range []struct {
		status int
		body   string
		want   clients.Error
	}{
		{200, `{"success":false}`, c.refused},
		{200, `{"success":true}`, unknown(c.incomplete)},
		{200, `{}`, unknown("the answer cannot be read" + c.unreadable + ": success is missing or no boolean")},
		{500, `{"success":true,` + everything + `}`, unknown("the status says failure, the body says success")},
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
		row.want.Op = c.op
		row.want.Status = row.status
		if got, failed := clients.AsError(err); failed && *got == row.want || !failed && row.want.Message == "" {
			continue
		}
		return fmt.Sprintf("%s: %d %s: %v, want %v", c.op, row.status, row.body, err, &row.want)
	}
	return ""
}

func TestEveryCellCounts(t *testing.T) {
	differs := func() string {
		for i, c := range columns {
			if why := c.differs(t, operations[i]); why != "" {
				return why
			}
		}
		return ""
	}
	cells := anna.Cells()
	if n := len(anna.Rules()); n != len(cells)+len(columns)-1 { // the contradiction is one for all
		t.Errorf("%d rules, %d cells", n, len(cells))
	}
	for name, cell := range cells {
		t.Run(name, func(t *testing.T) {
			clientstest.EveryFieldCounts(t, cell, differs, nil)
		})
	}
}
