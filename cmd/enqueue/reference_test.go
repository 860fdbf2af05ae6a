package main

import (
	"fmt"
	"strings"
	"testing"

	"errand.internal/internal/bulk"
)

// invoice is the payload of an invoice with a reference and a description.
func invoice(reference, description string) string {
	return fmt.Sprintf(
		`{"organizationId":"123456","body":{"ExternalReference":%q,"ProductLines":[{"Description":%q}]}}`,
		reference,
		description,
	)
}

// One reference is one invoice, whichever way it is enqueued: in a file, in the same
// file with a typo mended, singly, and with a key beside it.
func TestReferenceIsOneInvoice(t *testing.T) {
	t.Parallel()
	const create = "dinero:invoice:create"
	h := newHarness(t)
	enqueue := func(code int, row string) bulk.Receipt {
		t.Helper()
		d := h.runWith(t.Context(), strings.NewReader(row), "bulk", "-", "--type", create)
		if d.code != code {
			t.Fatalf("bulk %s: exit code %d, want %d: %s", row, d.code, code, d.stderr)
		}
		return decodeReceipt(t, d.stdout)[0]
	}
	row := func(description, key string) string {
		return `{"payload":` + invoice("order-1001", description) + key + `}`
	}
	first := enqueue(0, row("Consultng", ""))
	if first.ID == "" || first.Duplicate || first.Key != "123456:order-1001" {
		t.Fatalf("the first row: %+v", first)
	}
	for name, again := range map[string]string{
		"the same row":                    row("Consultng", ""),
		"with the reference as key":       row("Consultng", `,"key":"order-1001"`),
		"with the organization's own key": row("Consultng", `,"key":"123456:order-1001"`),
	} {
		if line := enqueue(0, again); line.ID != first.ID || !line.Duplicate {
			t.Errorf("%s: %+v is not the first task, %s", name, line, first.ID)
		}
	}
	const conflict = "the key is taken by a task with another payload"
	if line := enqueue(9, row("Consulting", "")); line.ID != "" || !strings.HasPrefix(line.Error, conflict) {
		t.Errorf("the mended row: %+v", line)
	}
	const contradiction = "the key contradicts body.ExternalReference, which is the task's key; leave it out"
	if line := enqueue(9, row("Consultng", `,"key":"row-1"`)); line.Error != contradiction || line.Key != "row-1" {
		t.Errorf("the row with another key: %+v", line)
	}

	single := h.wantExit(0, create, "--payload", invoice("order-1001", "Consultng"), "--json").report(t)
	if single.ID != first.ID || !single.Duplicate {
		t.Errorf("singly: %+v is not the first task, %s", single, first.ID)
	}
	mended := h.wantExit(3, create, "--payload", invoice("order-1001", "Consulting"))
	wantText(t, "stderr", mended.stderr, conflict)
	other := h.wantExit(3, create, "--payload", invoice("order-1001", "Consultng"), "--key", "order-2")
	wantText(t, "stderr", other.stderr, contradiction)
	if n, err := h.redis.Client().LLen(t.Context(), "asynq:{dinero}:pending").Result(); n != 1 || err != nil {
		t.Errorf("%d invoices in the queue (%v), want 1", n, err)
	}
}

// Of the rows of a file with one reference, the first is enqueued, however many are
// under way at once; one with another body is refused.
func TestTheFirstRowOfAReferenceWins(t *testing.T) {
	t.Parallel()
	const (
		create     = "dinero:invoice:create"
		references = 50
	)
	h := newHarness(t)
	var file strings.Builder
	for n := range references {
		for _, description := range []string{"first", "second", "first"} {
			padding := ""
			if description == "first" { // it takes longer to decode
				padding = strings.Repeat(" ", 200_000)
			}
			fmt.Fprintf(&file, "{%s\"payload\":%s}\n", padding, invoice(fmt.Sprint("order-", n), description))
		}
	}
	d := h.runWith(t.Context(), strings.NewReader(file.String()), "bulk", "-", "--type", create)
	lines := decodeReceipt(t, d.stdout)
	if d.code != 9 || len(lines) != 3*references {
		t.Fatalf("exit code %d, %d rows, want 9 and %d: %s", d.code, len(lines), 3*references, d.stderr)
	}
	for n := range references {
		first, second, third := lines[3*n], lines[3*n+1], lines[3*n+2]
		if first.ID == "" || first.Duplicate {
			t.Errorf("order-%d: the first row: %+v", n, first)
		}
		if second.ID != "" || !strings.HasPrefix(second.Error, "the key is taken by a task with another payload") {
			t.Errorf("order-%d: the second row: %+v", n, second)
		}
		if third.ID != first.ID || !third.Duplicate {
			t.Errorf("order-%d: the same row again: %+v", n, third)
		}
	}
}
