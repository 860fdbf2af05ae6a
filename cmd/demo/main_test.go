package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/tasks"
)

func TestTheStoryComesOutRight(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"-once"}, &out, &errs); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	if strings.Contains(out.String(), "WRONG") || strings.Count(out.String(), "  ok  ") < 8 {
		t.Errorf("story:\n%s", out.String())
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-nosuch"}, {"extra"}, {"-vendors-only", "-addr", "nowhere"}} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), args, &out, &errs); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// The embedded Redis knows what the limits ask of it.
func TestDemoKeepsLimits(t *testing.T) {
	t.Parallel()
	d, err := start(t.Context(), true, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer d.stop()
	var tickets []*tasks.Ticket[tasks.VendorAnswer]
	for range 7 { // five go at once
		ticket, err := tasks.Enqueue(
			t.Context(),
			d.client,
			tasks.DineroCall{OrganizationID: dinerotest.Organization, Method: "GET", Path: "contacts"},
		)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
	}
	for _, ticket := range tickets {
		if _, err := ticket.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.admin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	metrics, err := io.ReadAll(resp.Body)
	if account := `{account="dinero-` + dinerotest.Organization + `"`; err != nil ||
		!strings.Contains(string(metrics), "errand_limit_unasked_total"+account+"} 0") ||
		strings.Contains(string(metrics), "errand_limit_waits_total"+account+`,how="here"} 0`) && strings.Contains(string(metrics), "errand_limit_waits_total"+account+`,how="parked"} 0`) {
		t.Errorf("%v\n%s", err, metrics)
	}
}
