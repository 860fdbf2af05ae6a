package anna_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// start runs AnnA's queues against a sandbox with an active user, u-1001, and an
// inactive one, u-1002.
func start(t *testing.T) (*annatest.Sandbox, *tasks.Client) {
	t.Helper()
	f := apptest.New(t)
	f.Only("anna")
	vendor := sandbox.Find[*annatest.Sandbox](f.Sandboxes)
	vendor.PutUser("u-1002", false)
	return vendor, f.StartQueues(t)
}

func TestGoldenPayloads(t *testing.T) {
	apptest.CheckGoldenPayloads(t, anna.Vendor)
}

// Every task type, from its golden payload to the request at the sandbox.
func TestGoldenRequests(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	zone, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ taskType, op string }{
		{"anna:user:hash", annatest.OpHash},
		{"anna:user:force_hash", annatest.OpForceHash},
		{"anna:messenger:structure", annatest.OpStructure},
		{"anna:messenger:requests", annatest.OpRequests},
		{"anna:messenger:link", annatest.OpLink},
		{"anna:messenger:alerts", annatest.OpAlerts},
		{"anna:user:inactivate", annatest.OpInactivate},
	} {
		before := time.Now().In(zone)
		apptest.CheckGoldenRequest(t, c, tt.taskType, vendor.Engine, tt.op, func(text string) string {
			// Relative dates are those of the day.
			for name, days := range map[string]int{"TODAY": 0, "TODAY-7D": -7, "TODAY-30D": -30} {
				for _, at := range []time.Time{before, time.Now().In(zone)} {
					text = strings.ReplaceAll(text, at.AddDate(0, 0, days).Format("02/01/2006"), name)
				}
			}
			return text
		})
	}
}

func TestPayloadRules(t *testing.T) {
	t.Parallel()
	apptest.CheckRules(t, []apptest.Rule{
		{
			Name: "forced hash without a name",
			Type: "anna:user:force_hash",
			Raw:  `{"userId":"u"}`,
			Want: "userName is required",
		},
		{
			Name: "structure with a field",
			Type: "anna:messenger:structure",
			Raw:  `{"userId":"u"}`,
			Want: "userId is unknown",
		},
		{
			Name: "nobody's requests",
			Type: "anna:messenger:requests",
			Raw:  `{}`,
			Want: "userId is required, or both of userDocType and userDocValue",
		},
		{
			Name: "filters of requests",
			Type: "anna:messenger:requests",
			Raw:  `{"userId":"u","messengerFilters":{"status":"X","dataIni":"2026-01-31"}}`,
			Want: "messengerFilters.dataIni must be DD/MM/YYYY, today, or today-7d; messengerFilters.status must be one of A, E",
		},
		{
			Name: "link with filters",
			Type: "anna:messenger:link",
			Raw:  `{"userId":"u","messengerFilters":{}}`,
			Want: "messengerFilters is unknown",
		},
		{
			Name: "link of half a document",
			Type: "anna:messenger:link",
			Raw:  `{"userDocValue":"1"}`,
			Want: "userDocType is required with userDocValue",
		},
		{
			Name: "nobody",
			Type: "anna:messenger:alerts",
			Raw:  `{}`,
			Want: "userId is required, or both of userDocType and userDocValue",
		},
		{
			Name: "half a document",
			Type: "anna:messenger:alerts",
			Raw:  `{"userDocType":"CPF"}`,
			Want: "userDocValue is required with userDocType",
		},
		{
			Name: "both",
			Type: "anna:messenger:alerts",
			Raw:  `{"userId":"u","userDocType":"CPF","userDocValue":"1"}`,
			Want: "userId must not be given together with userDocType or userDocValue",
		},
		{
			Name: "filters",
			Type: "anna:messenger:alerts",
			Raw:  `{"userId":"u","messengerFilters":{"status":"X","pendentes":"Y","dataIni":"31/02/2026","dataFim":"tomorrow","colour":"red"}}`,
			Want: "messengerFilters.colour is unknown; messengerFilters.dataFim must be DD/MM/YYYY, today, or today-7d; messengerFilters.dataIni must be DD/MM/YYYY, today, or today-7d; messengerFilters.pendentes must be one of S, N; messengerFilters.status must be one of A, E",
		},
	})
}

func TestForceHash(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	forced := anna.UserForceHash{UserID: "u-77", UserName: "Ana"}
	ticket, err := tasks.Enqueue(t.Context(), c, forced)
	if err != nil {
		t.Fatal(err)
	}
	if access, err := apptest.Wait(t, ticket); err != nil || access.Hash == "" || !vendor.Active("u-77") {
		t.Errorf("forced hash: %v", err)
	}
	vendor.Inject(sandbox.Fault{
		Op:          annatest.OpForceHash,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	ticket, err = tasks.Enqueue(t.Context(), c, forced)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, ticket); apptest.Outcome(err) != tasks.Unknown || vendor.EffectsOf(annatest.OpForceHash, "u-77") != 2 {
		t.Errorf("ended %s after %d", apptest.Outcome(err), vendor.EffectsOf(annatest.OpForceHash, "u-77"))
	}
	d := forced.Policy()
	if d.Redelivery != tasks.AtMostOnce || d.Intent != (tasks.Intent{Subject: "u-77", Role: tasks.Opens}) || d.Retention != 5*time.Minute ||
		d.Budget != 2*time.Minute {
		t.Errorf("%+v", d)
	}
}

// A forced hash that waits while its user is inactivated does not bring the user
// back.
func TestForceHashOvertakenByAnInactivation(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	later, err := tasks.Enqueue(
		t.Context(),
		c,
		anna.UserForceHash{UserID: "u-1001", UserName: "Ana"},
		tasks.In(2*time.Second),
	)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := tasks.Enqueue(t.Context(), c, anna.UserInactivate{UserID: "u-1001"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, leave); err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, later); apptest.Outcome(err) != tasks.Superseded || vendor.Active("u-1001") ||
		vendor.Calls(annatest.OpForceHash) != 0 {
		t.Errorf("ended %s, active %v", apptest.Outcome(err), vendor.Active("u-1001"))
	}
}

func TestMessengerReads(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	if err := vendor.SetAlerts("u-1001", 2); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{annatest.OpStructure, annatest.OpRequests, annatest.OpLink} {
		vendor.Inject(sandbox.Fault{Op: op, Times: 1, Body: new(`{"success":true}`)}) // and are asked again
	}
	user := anna.MessengerUser{UserID: "u-1001"}
	structure, err := tasks.Enqueue(t.Context(), c, anna.MessengerStructure{})
	if err != nil {
		t.Fatal(err)
	}
	requests, err := tasks.Enqueue(t.Context(), c, anna.MessengerRequests{MessengerUser: user})
	if err != nil {
		t.Fatal(err)
	}
	link, err := tasks.Enqueue(t.Context(), c, anna.MessengerLink{MessengerUser: user})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := apptest.Wait(t, structure); err != nil || !strings.Contains(string(got.Structure), "Departments") {
		t.Errorf("%s, %v", got.Structure, err)
	}
	var list []any
	if got, err := apptest.Wait(t, requests); err != nil || json.Unmarshal(got.UserRequests, &list) != nil || len(list) != 2 {
		t.Errorf("%s, %v", got.UserRequests, err)
	}
	if got, err := apptest.Wait(t, link); err != nil || !strings.HasPrefix(got.MessengerLink, "https://") ||
		strings.Contains(fmt.Sprint(got), "https") {
		t.Errorf("the link: %v", err)
	}
	// A refusal has no data: a zero would look like a count.
	for _, taskType := range []string{"anna:messenger:link", "anna:messenger:requests", "anna:messenger:alerts", "anna:user:hash"} {
		nobody := apptest.EnqueueJSON(t, c, taskType, `{"userId":"nobody"}`)
		if data, err := apptest.Wait(t, nobody); apptest.Outcome(err) != tasks.Declined || len(data) != 0 {
			t.Errorf("nobody's %s: %s, data %s", taskType, apptest.Outcome(err), data)
		}
		status, err := c.Status(t.Context(), nobody.ID)
		if err != nil || len(status.Data) != 0 {
			t.Errorf("nobody's %s keeps %s, %v", taskType, status.Data, err)
		}
	}
}

func TestAnInactivationIsNeverDeclined(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	ticket, err := tasks.Enqueue(t.Context(), c, anna.UserInactivate{UserID: "nobody"}, tasks.UsableFor(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	// The vendor does not confirm: the next try lies beyond the minute.
	if _, err := apptest.Wait(t, ticket); apptest.Outcome(err) != tasks.Failed {
		t.Errorf("ended %s, want failed", apptest.Outcome(err))
	}
	ticket, err = tasks.Enqueue(t.Context(), c, anna.UserInactivate{UserID: "u-1001"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, ticket); apptest.Outcome(err) != tasks.Done || vendor.Active("u-1001") {
		t.Errorf("ended %s, active %v", apptest.Outcome(err), vendor.Active("u-1001"))
	}
}

func TestHashAndAlerts(t *testing.T) {
	t.Parallel()
	vendor, c := start(t)
	hash, err := tasks.Enqueue(t.Context(), c, anna.UserHash{UserID: "u-1001", StartService: "s"})
	if err != nil {
		t.Fatal(err)
	}
	access, err := apptest.Wait(t, hash)
	if err != nil || access.Hash == "" || access.ChatURL == "" {
		t.Errorf("hash: %v", err)
	}
	inactive, err := tasks.Enqueue(t.Context(), c, anna.UserHash{UserID: "u-1002"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, inactive); apptest.Outcome(err) != tasks.Declined {
		t.Errorf("an inactive user: %s", apptest.Outcome(err))
	}
	if err := vendor.SetAlerts("u-1001", 7); err != nil {
		t.Fatal(err)
	}
	vendor.Inject(sandbox.Fault{Op: annatest.OpAlerts, HTML: true, Times: 1}) // and is read again
	alerts, err := tasks.Enqueue(
		t.Context(),
		c,
		anna.MessengerAlerts{MessengerUser: anna.MessengerUser{UserID: "u-1001"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := apptest.Wait(t, alerts); err != nil || n.AlertCounter != 7 {
		t.Errorf("alerts = %d, %v", n.AlertCounter, err)
	}
}
