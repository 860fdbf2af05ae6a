package tasks_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
)

func sendTo(mail string) tasks.OTPSend {
	return tasks.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         tasks.Values{{Key: "COD1_EMAIL", Value: mail}},
	}
}

func outcome(err error) tasks.Outcome {
	if o, ok := errors.AsType[*tasks.OutcomeError](err); ok {
		return o.Outcome
	}
	if err == nil {
		return tasks.Done
	}
	return tasks.Outcome("error: " + err.Error())
}

func TestADroppedAnswerIsUnknownAndNeverRepeated(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	w.otp.Inject(sandbox.Fault{
		Op:          danaconnecttest.OpSend,
		Drop:        true,
		AfterEffect: true,
		Times:       1,
	})
	ticket, err := tasks.Enqueue(t.Context(), c, sendTo("a@example.com"), tasks.Key("k"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, ticket); outcome(err) != tasks.Unknown {
		t.Errorf("ended %s, want unknown", outcome(err))
	}
	if n := w.otp.Calls(danaconnecttest.OpSend); n != 1 {
		t.Errorf("%d calls, want 1", n)
	}
	again, err := tasks.Enqueue(t.Context(), c, sendTo("a@example.com"), tasks.Key("k"))
	if err != nil || !again.Duplicate || again.ID != ticket.ID {
		t.Errorf("after unknown the key must stay taken: %+v, %v", again, err)
	}
}

func TestARefusedConnectionIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(redistest.New(t))
	t.Cleanup(w.close)
	// The vendor is down: connections are refused until it listens again.
	addr := w.web.Listener.Addr().String()
	vendors, err := w.connect(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	handler := w.web.Config.Handler
	w.web.Close()
	if err := w.work(vendors); err != nil {
		t.Fatal(err)
	}
	c := open(t, w.redis.URL())
	ticket, err := tasks.Enqueue(t.Context(), c, sendTo("a@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for { // until the first try has failed
		status, err := c.Status(t.Context(), ticket.ID)
		if err != nil {
			t.Fatal(err)
		}
		if status.Attempts > 0 {
			break
		}
	}
	serveAgain(t, addr, handler)
	if _, err := wait(t, ticket); outcome(err) != tasks.Done {
		t.Errorf("ended %s", outcome(err))
	}
	if n := w.otp.Effects(danaconnecttest.OpSend); n != 1 {
		t.Errorf("%d codes were sent, want 1", n)
	}
}

func TestTwentyProducersWithOneKeySendOneCode(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	var all sync.WaitGroup
	tickets := make(chan *tasks.Ticket[tasks.OTPSent], 20)
	for range 20 {
		all.Go(func() {
			ticket, err := tasks.Enqueue(t.Context(), c, sendTo("a@example.com"), tasks.Key("login-1"))
			if err != nil {
				t.Error(err)
				return
			}
			tickets <- ticket
		})
	}
	all.Wait()
	close(tickets)
	results := map[string]bool{}
	for ticket := range tickets {
		sent, err := wait(t, ticket)
		if err != nil {
			t.Error(err)
		}
		results[ticket.ID+" "+sent.IDRequest] = true
	}
	if len(results) != 1 || w.otp.Effects(danaconnecttest.OpSend) != 1 {
		t.Errorf("results %v, %d codes", results, w.otp.Effects(danaconnecttest.OpSend))
	}
}

func TestAnInactivationIsNeverDeclined(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	ticket, err := tasks.Enqueue(t.Context(), c, tasks.UserInactivate{UserID: "nobody"}, tasks.UsableFor(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	// The vendor does not confirm: the next try lies beyond the minute.
	if _, err := wait(t, ticket); outcome(err) != tasks.Failed {
		t.Errorf("ended %s, want failed", outcome(err))
	}
	ticket, err = tasks.Enqueue(t.Context(), c, tasks.UserInactivate{UserID: "u-1001"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, ticket); outcome(err) != tasks.Done || w.anna.Active("u-1001") {
		t.Errorf("ended %s, active %v", outcome(err), w.anna.Active("u-1001"))
	}
}

func TestHashAndAlerts(t *testing.T) {
	t.Parallel()
	w, c := startWorld(t)
	hash, err := tasks.Enqueue(t.Context(), c, tasks.UserHash{UserID: "u-1001", StartService: "s"})
	if err != nil {
		t.Fatal(err)
	}
	access, err := wait(t, hash)
	if err != nil || access.Hash == "" || access.ChatURL == "" {
		t.Errorf("hash: %v", err)
	}
	inactive, err := tasks.Enqueue(t.Context(), c, tasks.UserHash{UserID: "u-1002"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wait(t, inactive); outcome(err) != tasks.Declined {
		t.Errorf("an inactive user: %s", outcome(err))
	}
	if err := w.anna.SetAlerts("u-1001", 7); err != nil {
		t.Fatal(err)
	}
	w.anna.Inject(sandbox.Fault{Op: annatest.OpAlerts, HTML: true, Times: 1}) // and is read again
	alerts, err := tasks.Enqueue(
		t.Context(),
		c,
		tasks.MessengerAlerts{MessengerUser: tasks.MessengerUser{UserID: "u-1001"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := wait(t, alerts); err != nil || n.AlertCounter != 7 {
		t.Errorf("alerts = %d, %v", n.AlertCounter, err)
	}
}

func TestPayloadRules(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, taskType, raw, want string }{
		{"values as an object", "danaconnect:otp:send", `{"idConversation":1,"values":{"B":"2","A":"1"},"type":1,"length":6}`, ""},
		{"values not text", "danaconnect:otp:send", `{"idConversation":1,"values":{"A":1},"type":1,"length":6}`, "values must hold texts; A is none"},
		{"values null", "danaconnect:otp:send", `{"idConversation":1,"values":null,"type":1,"length":6}`, "values must be a list of {key, value} or an object"},
		{"values empty", "danaconnect:otp:send", `{"idConversation":1,"values":[],"type":1,"length":6}`, "values must have at least 1 entries"},
		{"values twice", "danaconnect:otp:send", `{"idConversation":1,"values":[{"key":"A","value":"1"},{"key":"A","value":"2"}],"type":1,"length":6}`, "values has the key A twice"},
		{"value without key", "danaconnect:otp:send", `{"idConversation":1,"values":[{"value":"1"}],"type":1,"length":6}`, "values has no key or no value in entry 0"},
		{
			"ranges", "danaconnect:otp:send", `{"idConversation":-1,"values":{"A":"1"},"type":3,"length":13,"secondsExpiration":3600,"maximumTries":0}`,
			"idConversation must be at least 1; length must be at most 12; maximumTries must be at least 1; secondsExpiration must be at most 3200; type must be at most 2",
		},
		{"id as a number", "danaconnect:otp:verify", `{"idRequest":251,"otp":"004217"}`, ""},
		{"id as text", "danaconnect:otp:verify", `{"idRequest":"251","otp":"004217"}`, ""},
		{"id no number", "danaconnect:otp:verify", `{"idRequest":"25x","otp":"1"}`, "idRequest must be digits only"},
		{"id null", "danaconnect:otp:verify", `{"idRequest":null,"otp":"1"}`, "idRequest must be a number or text"},
		{"code as a number", "danaconnect:otp:verify", `{"idRequest":251,"otp":4217}`, "otp must be text"},
		{"nobody", "anna:messenger:alerts", `{}`, "userId is required, or both of userDocType and userDocValue"},
		{"half a document", "anna:messenger:alerts", `{"userDocType":"CPF"}`, "userDocValue is required with userDocType"},
		{"both", "anna:messenger:alerts", `{"userId":"u","userDocType":"CPF","userDocValue":"1"}`, "userId must not be given together with userDocType or userDocValue"},
		{
			"filters", "anna:messenger:alerts", `{"userId":"u","messengerFilters":{"status":"X","pendentes":"Y","dataIni":"31/02/2026","dataFim":"tomorrow","colour":"red"}}`,
			"messengerFilters.colour is unknown; messengerFilters.dataFim must be DD/MM/YYYY, today, or today-7d; messengerFilters.dataIni must be DD/MM/YYYY, today, or today-7d; messengerFilters.pendentes must be one of S, N; messengerFilters.status must be one of A, E",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := tasks.DecodePayload(tc.taskType, []byte(tc.raw))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
	if _, err := tasks.DecodePayload("no:such:type", []byte(`{}`)); !errors.Is(err, tasks.ErrUnknownType) {
		t.Errorf("an unknown type: %v", err)
	}
}

func TestOneKeyHoldsForBothWaysToWriteAPayload(t *testing.T) {
	t.Parallel()
	c := open(t, redistest.New(t).URL())
	first, err := c.EnqueueJSON(
		t.Context(),
		"danaconnect:otp:send",
		[]byte(`{"idConversation":1,"values":{"A":"1"},"type":1,"length":6}`),
		tasks.Key("k"),
	)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.EnqueueJSON(
		t.Context(),
		"danaconnect:otp:send",
		[]byte(`{"length":6,"type":1,"values":[{"key":"A","value":"1"}],"idConversation":1}`),
		tasks.Key("k"),
	)
	if err != nil || second.ID != first.ID || !second.Duplicate {
		t.Errorf("second = %+v, %v", second, err)
	}
}

// Types are names for ever: the list only grows, and no name begins another.
func TestGoldenCatalogue(t *testing.T) {
	seen := map[string]bool{}
	for _, info := range tasks.Types() {
		if seen[info.Type] {
			t.Errorf("%s stands twice", info.Type)
		}
		seen[info.Type] = true
		for other := range seen {
			if other != info.Type && (strings.HasPrefix(other, info.Type) || strings.HasPrefix(info.Type, other)) {
				t.Errorf("%s begins like %s", info.Type, other)
			}
		}
		raw, err := json.Marshal(info.Example)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", strings.ReplaceAll(info.Type, ":", "_")+".json")
		clientstest.Golden(t, file, raw)
		if _, err := tasks.DecodePayload(info.Type, clientstest.ReadFile(t, file)); err != nil {
			t.Errorf("the golden payload of %s no longer decodes: %v", info.Type, err)
		}
		if d := info.Example.Policy(); d.Queue == "" || d.Budget <= 0 || info.Summary == "" || info.Vendor == "" {
			t.Errorf("%s: %+v, %q, %q", info.Type, d, info.Summary, info.Vendor)
		}
		for _, f := range info.Fields() {
			if f.Doc == "" {
				t.Errorf("%s: field %s has no doc", info.Type, f.Path)
			}
		}
	}
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".json"), "_", ":")
		if !seen[name] && !seen[strings.Replace(name, "force:hash", "force_hash", 1)] {
			t.Errorf("%s is the payload of no task: types are never removed", file)
		}
	}
}

func serveAgain(t *testing.T, addr string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
}
