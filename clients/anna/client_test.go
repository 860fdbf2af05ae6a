package anna_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/anna"
	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
)

func TestRequests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, op, path string
		call           func(*testing.T, *anna.Client) error
	}{
		{"user-hash", annatest.OpHash, "REST/AnnACorporate/User/UserHash", func(t *testing.T, c *anna.Client) error {
			_, err := c.UserHash(t.Context(), "u&<1>", "START & SERVICE")
			return err
		}},
		{
			"user-hash-bare",
			annatest.OpHash,
			"REST/AnnACorporate/User/UserHash",
			func(t *testing.T, c *anna.Client) error {
				_, err := c.UserHash(t.Context(), "u&<1>", "")
				return err
			},
		},
		{
			"user-hash-forced",
			annatest.OpForceHash,
			"REST/AnnACorporate/User/UserHashForced",
			func(t *testing.T, c *anna.Client) error {
				_, err := c.UserHashForced(t.Context(), "u&<1>", "Zoë & <Tom>", "START & SERVICE")
				return err
			},
		},
		{
			"structure",
			annatest.OpStructure,
			"REST/AnnACorporate/Messenger/Structure",
			func(t *testing.T, c *anna.Client) error {
				_, err := c.Structure(t.Context())
				return err
			},
		},
		{
			"requests",
			annatest.OpRequests,
			"REST/AnnACorporate/Messenger/Requests",
			func(t *testing.T, c *anna.Client) error {
				_, err := c.Requests(t.Context(), anna.AlertQuery{UserID: "u&<1>", Filters: anna.Filters{
					DataIni:   "01/01/2024",
					DataFim:   "31/12/2024",
					Status:    "E",
					Pendentes: "N",
				}})
				return err
			},
		},
		{
			"requests-document",
			annatest.OpRequests,
			"REST/AnnACorporate/Messenger/Requests",
			func(t *testing.T, c *anna.Client) error {
				_, err := c.Requests(t.Context(), anna.AlertQuery{UserDocType: "CPF", UserDocValue: "00123"})
				return err
			},
		},
		{"link", annatest.OpLink, "REST/AnnACorporate/Messenger/Link", func(t *testing.T, c *anna.Client) error {
			_, err := c.Link(t.Context(), anna.UserQuery{UserID: "u&<1>"})
			return err
		}},
		{
			"link-document",
			annatest.OpLink,
			"REST/AnnACorporate/Messenger/Link",
			func(t *testing.T, c *anna.Client) error {
				_, err := c.Link(t.Context(), anna.UserQuery{UserDocType: "CPF", UserDocValue: "00123"})
				return err
			},
		},
		{
			"user-inactivate",
			annatest.OpInactivate,
			"REST/AnnACorporate/User/Inactivate",
			func(t *testing.T, c *anna.Client) error {
				return c.Inactivate(t.Context(), "u&<1>")
			},
		},
		{
			"alert-counter",
			annatest.OpAlerts,
			"REST/AnnACorporate/Messenger/AlertCounter",
			func(t *testing.T, c *anna.Client) error {
				_, err := c.AlertCounter(t.Context(), anna.AlertQuery{UserID: "u&<1>", Filters: anna.Filters{
					DepartmentAlias: "sales",
					ChannelAlias:    "web",
					DataIni:         "01/01/2024",
					DataFim:         "31/12/2024",
					Status:          "A",
					Pendentes:       "S",
				}})
				return err
			},
		},
		{
			"alert-counter-document",
			annatest.OpAlerts,
			"REST/AnnACorporate/Messenger/AlertCounter",
			func(t *testing.T, c *anna.Client) error {
				_, err := c.AlertCounter(t.Context(), anna.AlertQuery{UserDocType: "CPF", UserDocValue: "00123"})
				return err
			},
		},
	}
	for _, tt := range tests {
		for name, trailing := range map[string]string{"slash": "/", "no slash": "", "slashes": "//"} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				t.Parallel()
				sb := newSandbox(annatest.Options{})
				sb.PutUser("u&<1>", true)
				sb.SetDocumentAlerts("CPF", "00123", 4)
				base := strings.TrimRight(clientstest.Serve(t, sb, mount), "/") + trailing
				if err := tt.call(t, newClient(t, config(base), &source{}, clients.Timeouts{})); err != nil {
					t.Fatal(err)
				}
				requests := sb.Requests("")
				if len(requests) != 1 {
					t.Fatalf("%d requests, want 1", len(requests))
				}
				r := requests[0]
				if r.Op != tt.op || r.Method != http.MethodPost || r.URI != mount+tt.path {
					t.Errorf("%s %s (%s), want POST %s (%s)", r.Method, r.URI, r.Op, mount+tt.path, tt.op)
				}
				for key, want := range map[string]string{
					"Content-Type": "application/json", "Accept": "application/json", "Authorization": "Bearer " + oldToken,
				} {
					if got := r.Header.Get(key); got != want {
						t.Errorf("%s: %q, want %q", key, got, want)
					}
				}
				golden := "testdata/" + tt.name + "-request.json"
				clientstest.Golden(t, golden, r.Body)
				var exact bytes.Buffer // Golden forgives white space; what we send has none
				if err := json.Compact(&exact, clientstest.ReadFile(t, golden)); err != nil ||
					exact.String() != string(r.Body) {
					t.Errorf("body %s, want %s", r.Body, &exact)
				}
			})
		}
	}
}

func TestUserHashResult(t *testing.T) {
	t.Parallel()
	utc := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
	tests := []struct {
		name, zone, expires string
		text                string
		at                  time.Time
	}{
		{"west of UTC: UTC comes first", "America/Sao_Paulo", `"20310203040506"`, "20310203040506", utc},
		{"east of UTC: local comes first", "Asia/Tokyo", `"20310203040506"`, "20310203040506", utc.Add(-9 * time.Hour)},
		{"the default zone", "", `"20310203040506"`, "20310203040506", utc},
		{"a number", "", `20310203040506`, "20310203040506", utc},
		{"no such date", "", `"20311399000000"`, "20311399000000", time.Time{}},
		{"prose", "", `"tomorrow"`, "tomorrow", time.Time{}},
		{"empty", "", `""`, "", time.Time{}},
		{"null", "", `null`, "", time.Time{}},
		{"an object", "", `{"date":1}`, "", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			reply := strings.Replace(
				string(clientstest.ReadFile(t, "testdata/user-hash.json")),
				`"20310203040506"`,
				tt.expires,
				1,
			)
			sb.Inject(body(reply))
			cfg := config(clientstest.Serve(t, sb, mount))
			cfg.TimeZone = tt.zone
			got, err := newClient(t, cfg, &source{}, clients.Timeouts{}).UserHash(t.Context(), userID, "")
			if err != nil {
				t.Fatal(err)
			}
			if got.Hash != "USER_HASH" || got.ChatURL != "https://anna.example/chat?h=USER_HASH" ||
				got.EmbeddedURL != "https://anna.example/embedded?h=USER_HASH" {
				t.Errorf("login %q %q %q is not the vendor's", got.Hash, got.ChatURL, got.EmbeddedURL)
			}
			if got.Expires != tt.text || !got.ExpiresAt.Equal(tt.at) {
				t.Errorf("Expires %q at %v, want %q at %v", got.Expires, got.ExpiresAt, tt.text, tt.at)
			}
		})
	}
}

func TestAlertCounterResult(t *testing.T) {
	t.Parallel()
	for _, want := range []int{0, 3} {
		t.Run(fmt.Sprint(want), func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			if err := sb.SetAlerts(userID, want); err != nil {
				t.Fatal(err)
			}
			c := newClient(t, config(clientstest.Serve(t, sb, mount)), &source{}, clients.Timeouts{})
			if got, err := c.AlertCounter(t.Context(), query); err != nil || got != want {
				t.Errorf("AlertCounter() = %d, %v, want %d", got, err, want)
			}
		})
	}
}

func TestWhatIsListedComesAsTheVendorHasIt(t *testing.T) {
	t.Parallel()
	sb := newSandbox(annatest.Options{})
	base := clientstest.Serve(t, sb, mount)
	c := newClient(t, config(base), &source{}, clients.Timeouts{})
	for _, tt := range []struct {
		op, field, value string
		call             func() (any, error)
	}{
		{annatest.OpStructure, "structure", `{"Departments":[{"n":12345678901234567890}]}`, func() (any, error) { return c.Structure(t.Context()) }},
		{annatest.OpRequests, "userRequests", `[{"protocol":12345678901234567890},null]`, func() (any, error) { return c.Requests(t.Context(), query) }},
		{annatest.OpLink, "messengerLink", `"https://l/?h=1&x=<é>"`, func() (any, error) {
			got, err := c.Link(t.Context(), anna.UserQuery{UserID: userID})
			var plain bytes.Buffer
			enc := json.NewEncoder(&plain)
			enc.SetEscapeHTML(false)
			_ = enc.Encode(got.MessengerLink)
			return json.RawMessage(bytes.TrimSpace(plain.Bytes())), err
		}},
	} {
		sb.Inject(
			sandbox.Fault{Op: tt.op, Body: new(`{"success":true,"message":"","` + tt.field + `":` + tt.value + `}`)},
		)
		got, err := tt.call()
		if err != nil || string(got.(json.RawMessage)) != tt.value {
			t.Errorf("%s: %s, %v", tt.op, got, err)
		}
	}
}

// A forced hash opens access: it is worth the proof that the client calls once,
// and that the user is as asked for.
func TestForcedHashMakesTheUser(t *testing.T) {
	t.Parallel()
	sb := newSandbox(annatest.Options{})
	c := newClient(t, config(clientstest.Serve(t, sb, mount)), &source{}, clients.Timeouts{})
	sb.PutUser(userID, false)
	for _, id := range []string{userID, "new"} {
		access, err := c.UserHashForced(t.Context(), id, "Ana", "support")
		if err != nil || access.Hash == "" || access.ExpiresAt.IsZero() {
			t.Fatalf("forced hash: %v", err)
		}
		if !sb.Active(id) || sb.EffectsOf(annatest.OpForceHash, id) != 1 {
			t.Errorf("active %v, %d effects", sb.Active(id), sb.EffectsOf(annatest.OpForceHash, id))
		}
	}
}

func TestRelativeDatesAreThoseOfTheZone(t *testing.T) {
	t.Parallel()
	for zone, want := range map[string]string{
		"America/Sao_Paulo": `"dataIni":"21/02/2026","dataFim":"28/02/2026"`,
		"UTC":               `"dataIni":"22/02/2026","dataFim":"01/03/2026"`,
	} {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			cfg := config(clientstest.Serve(t, sb, mount))
			cfg.TimeZone = zone
			c := newClient(t, cfg, &source{}, clients.Timeouts{})
			c.SetNow(func() time.Time { return time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC) })
			q := query
			q.Filters = anna.Filters{DataIni: "today-7d", DataFim: "today"}
			if _, err := c.AlertCounter(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Requests(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			for _, op := range []string{annatest.OpAlerts, annatest.OpRequests} {
				if sent := sb.Requests(op)[0].Body; !strings.Contains(string(sent), want) {
					t.Errorf("sent %s, want %s in it", sent, want)
				}
			}
		})
	}
}

func TestArgumentsAreCheckedBeforeAnythingLeaves(t *testing.T) {
	t.Parallel()
	src := &source{}
	c := newClient(t, config("https://anna.example"), src, clients.Timeouts{})
	_, hashErr := c.UserHash(t.Context(), "", "support")
	_, noneErr := c.AlertCounter(t.Context(), anna.AlertQuery{})
	_, halfErr := c.AlertCounter(t.Context(), anna.AlertQuery{UserDocType: "CPF"})
	_, iniErr := c.AlertCounter(
		t.Context(),
		anna.AlertQuery{UserID: userID, Filters: anna.Filters{DataIni: "2024-01-01"}},
	)
	_, fimErr := c.AlertCounter(
		t.Context(),
		anna.AlertQuery{UserID: userID, Filters: anna.Filters{DataFim: "12/31/2024"}},
	)
	_, forcedErr := c.UserHashForced(t.Context(), "", userName, "support")
	_, namelessErr := c.UserHashForced(t.Context(), userID, "", "support")
	_, requestsErr := c.Requests(t.Context(), anna.AlertQuery{UserDocValue: docValue})
	_, requestsDateErr := c.Requests(
		t.Context(),
		anna.AlertQuery{UserID: userID, Filters: anna.Filters{DataIni: "yesterday"}},
	)
	_, linkErr := c.Link(t.Context(), anna.UserQuery{})
	_, halfLinkErr := c.Link(t.Context(), anna.UserQuery{UserDocType: "CPF"})
	for name, err := range map[string]error{
		"first date":                  iniErr,
		"last date":                   fimErr,
		"nobody's forced hash":        forcedErr,
		"forced hash without a name":  namelessErr,
		"requests of half a document": requestsErr,
		"requests' date":              requestsDateErr,
		"nobody's link":               linkErr,
		"link of half a document":     halfLinkErr,
		"hash":                        hashErr,
		"inactivate":                  c.Inactivate(t.Context(), ""),
		"nobody's alerts":             noneErr,
		"half a document":             halfErr,
	} {
		if e := wantKind(t, err, clients.Invalid); !e.NotSent {
			t.Errorf("%s: NotSent is false", name)
		}
	}
	if src.gets != 0 {
		t.Errorf("%d tokens were asked for", src.gets)
	}
}

func TestAlreadyInactive(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		texts   []string
		message string
		ok      bool
	}{
		{"none declared", nil, `"User canary is inactive."`, false},
		{"declared", []string{"is inactive"}, `"User canary is inactive."`, true},
		{"second of two, other case", []string{"já inativo", " Is INACTIVE. "}, `"User canary is inactive."`, true},
		{"accents", []string{"JÁ INATIVO"}, `"Usuário já inativo"`, true},
		{"another text", []string{"is inactive"}, `"Invalid token"`, false},
		{"no message", []string{"is inactive"}, `null`, false},
		{"no text", []string{"is inactive"}, `["is inactive"]`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sb := newSandbox(annatest.Options{})
			sb.Inject(body(`{"success":false,"message":` + tt.message + `}`))
			cfg := config(clientstest.Serve(t, sb, mount))
			cfg.AlreadyInactive = tt.texts
			src := &source{}
			err := newClient(t, cfg, src, clients.Timeouts{}).Inactivate(t.Context(), userID)
			if !tt.ok {
				wantKind(t, err, clients.Temporary)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(src.suspected) != 0 {
				t.Error("the token was suspected of an answer that is as good as success")
			}
		})
	}
	t.Run("only of an inactivation", func(t *testing.T) {
		t.Parallel()
		sb := newSandbox(annatest.Options{})
		sb.PutUser(userID, false)
		cfg := config(clientstest.Serve(t, sb, mount))
		cfg.AlreadyInactive = []string{"is inactive"}
		_, err := newClient(t, cfg, &source{}, clients.Timeouts{}).UserHash(t.Context(), userID, "")
		wantKind(t, err, clients.Declined)
	})
}
