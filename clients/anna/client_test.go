package anna_test

import (
	"bytes"
	"context"
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
	byID := anna.User{UserID: "u&<1>"}
	byDocument := anna.User{UserDocType: "CPF", UserDocValue: "00123"}
	tests := []struct {
		name string
		op   string
		path string
		call func(*testing.T, *anna.Client) error
	}{
		{
			name: "user-hash",
			op:   annatest.OpHash,
			path: "REST/AnnACorporate/User/UserHash",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.UserHash(t.Context(), "u&<1>", "START & SERVICE")
				return err
			},
		},
		{
			name: "user-hash-bare",
			op:   annatest.OpHash,
			path: "REST/AnnACorporate/User/UserHash",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.UserHash(t.Context(), "u&<1>", "")
				return err
			},
		},
		{
			name: "user-hash-forced",
			op:   annatest.OpForceHash,
			path: "REST/AnnACorporate/User/UserHashForced",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.UserHashForced(t.Context(), "u&<1>", "Zoë & <Tom>", "START & SERVICE")
				return err
			},
		},
		{
			name: "structure",
			op:   annatest.OpStructure,
			path: "REST/AnnACorporate/Messenger/Structure",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.Structure(t.Context())
				return err
			},
		},
		{
			name: "requests",
			op:   annatest.OpRequests,
			path: "REST/AnnACorporate/Messenger/Requests",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.Requests(t.Context(), byID, anna.Filters{
					DataIni:   "01/01/2024",
					DataFim:   "31/12/2024",
					Status:    "E",
					Pendentes: "N",
				})
				return err
			},
		},
		{
			name: "requests-document",
			op:   annatest.OpRequests,
			path: "REST/AnnACorporate/Messenger/Requests",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.Requests(t.Context(), byDocument, anna.Filters{})
				return err
			},
		},
		{
			name: "link",
			op:   annatest.OpLink,
			path: "REST/AnnACorporate/Messenger/Link",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.Link(t.Context(), byID)
				return err
			},
		},
		{
			name: "link-document",
			op:   annatest.OpLink,
			path: "REST/AnnACorporate/Messenger/Link",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.Link(t.Context(), byDocument)
				return err
			},
		},
		{
			name: "user-inactivate",
			op:   annatest.OpInactivate,
			path: "REST/AnnACorporate/User/Inactivate",
			call: func(t *testing.T, c *anna.Client) error {
				return c.Inactivate(t.Context(), "u&<1>")
			},
		},
		{
			name: "alert-counter",
			op:   annatest.OpAlerts,
			path: "REST/AnnACorporate/Messenger/AlertCounter",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.AlertCounter(t.Context(), byID, anna.Filters{
					DepartmentAlias: "sales",
					ChannelAlias:    "web",
					DataIni:         "01/01/2024",
					DataFim:         "31/12/2024",
					Status:          "A",
					Pendentes:       "S",
				})
				return err
			},
		},
		{
			name: "alert-counter-document",
			op:   annatest.OpAlerts,
			path: "REST/AnnACorporate/Messenger/AlertCounter",
			call: func(t *testing.T, c *anna.Client) error {
				_, err := c.AlertCounter(t.Context(), byDocument, anna.Filters{})
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
					"Content-Type":  "application/json",
					"Accept":        "application/json",
					"Authorization": "Bearer " + oldToken,
				} {
					if got := r.Header.Get(key); got != want {
						t.Errorf("%s: %q, want %q", key, got, want)
					}
				}
				golden := "testdata/" + tt.name + "-request.json"
				clientstest.Golden(t, golden, r.Body)
				var exact bytes.Buffer // Golden ignores white space; the request must have none
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
		name    string
		zone    string
		expires string // JSON
		text    string
		at      time.Time
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
			sb.Inject(answerWith(reply))
			cfg := config(clientstest.Serve(t, sb, mount))
			cfg.TimeZone = tt.zone
			got, err := newClient(t, cfg, &source{}, clients.Timeouts{}).UserHash(t.Context(), userID, "")
			if err != nil {
				t.Fatal(err)
			}
			if got.Hash != "USER_HASH" || got.ChatURL != "https://anna.example/chat?h=USER_HASH" ||
				got.EmbeddedURL != "https://anna.example/embedded?h=USER_HASH" {
				t.Errorf("login %q %q %q, want the vendor's", got.Hash, got.ChatURL, got.EmbeddedURL)
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
			if got, err := c.AlertCounter(t.Context(), user, anna.Filters{}); err != nil || got != want {
				t.Errorf("AlertCounter() = %d, %v, want %d", got, err, want)
			}
		})
	}
}

func TestResultsAreUnchanged(t *testing.T) {
	t.Parallel()
	sb := newSandbox(annatest.Options{})
	c := newClient(t, config(clientstest.Serve(t, sb, mount)), &source{}, clients.Timeouts{})
	for _, tt := range []struct {
		op    string
		field string
		value string
		call  func() (json.RawMessage, error)
	}{
		{
			annatest.OpStructure,
			"structure",
			`{"Departments":[{"n":12345678901234567890}]}`,
			func() (json.RawMessage, error) { return c.Structure(t.Context()) },
		},
		{
			annatest.OpRequests,
			"userRequests",
			`[{"protocol":12345678901234567890},null]`,
			func() (json.RawMessage, error) { return c.Requests(t.Context(), user, anna.Filters{}) },
		},
		{
			annatest.OpLink,
			"messengerLink",
			`"https://l/?h=1&x=<é>"`,
			func() (json.RawMessage, error) {
				got, err := c.Link(t.Context(), anna.User{UserID: userID})
				if err != nil {
					return nil, err
				}
				return clients.EncodeJSON(got.MessengerLink)
			},
		},
	} {
		sb.Inject(sandbox.Fault{
			Op:   tt.op,
			Body: new(`{"success":true,"message":"","` + tt.field + `":` + tt.value + `}`),
		})
		got, err := tt.call()
		if err != nil || string(got) != tt.value {
			t.Errorf("%s: %s, %v", tt.op, got, err)
		}
	}
}

// A forced hash opens access, so the client must call exactly once.
func TestForcedHashCreatesTheUser(t *testing.T) {
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

func TestRelativeDatesUseTheZone(t *testing.T) {
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
			filters := anna.Filters{DataIni: "today-7d", DataFim: "today"}
			if _, err := c.AlertCounter(t.Context(), user, filters); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Requests(t.Context(), user, filters); err != nil {
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

func TestInvalidArguments(t *testing.T) {
	t.Parallel()
	src := &source{}
	c := newClient(t, config("https://anna.example"), src, clients.Timeouts{})
	alerts := func(u anna.User, f anna.Filters) error {
		_, err := c.AlertCounter(t.Context(), u, f)
		return err
	}
	requests := func(u anna.User, f anna.Filters) error {
		_, err := c.Requests(t.Context(), u, f)
		return err
	}
	link := func(u anna.User) error {
		_, err := c.Link(t.Context(), u)
		return err
	}
	hash := func(userID string) error {
		_, err := c.UserHash(t.Context(), userID, "support")
		return err
	}
	forcedHash := func(userID, userName string) error {
		_, err := c.UserHashForced(t.Context(), userID, userName, "support")
		return err
	}
	for name, err := range map[string]error{
		"hash without a user":           hash(""),
		"forced hash without a user":    forcedHash("", userName),
		"forced hash without a name":    forcedHash(userID, ""),
		"inactivation without a user":   c.Inactivate(t.Context(), ""),
		"alerts without a user":         alerts(anna.User{}, anna.Filters{}),
		"alerts of half a document":     alerts(anna.User{UserDocType: "CPF"}, anna.Filters{}),
		"alerts with an ISO date":       alerts(user, anna.Filters{DataIni: "2024-01-01"}),
		"alerts with the month first":   alerts(user, anna.Filters{DataFim: "12/31/2024"}),
		"requests of half a document":   requests(anna.User{UserDocValue: docValue}, anna.Filters{}),
		"requests with an unknown date": requests(user, anna.Filters{DataIni: "yesterday"}),
		"link without a user":           link(anna.User{}),
		"link of half a document":       link(anna.User{UserDocType: "CPF"}),
	} {
		if e := wantKind(t, err, clients.Invalid); !e.NotSent {
			t.Errorf("%s: NotSent is false", name)
		}
	}
	if src.gets != 0 {
		t.Errorf("%d tokens were requested", src.gets)
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
			sb.Inject(answerWith(`{"success":false,"message":` + tt.message + `}`))
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
				t.Error("the token is suspected after an answer that is as good as success")
			}
		})
	}
	t.Run("another operation", func(t *testing.T) {
		t.Parallel()
		sb := newSandbox(annatest.Options{})
		sb.PutUser(userID, false)
		cfg := config(clientstest.Serve(t, sb, mount))
		cfg.AlreadyInactive = []string{"is inactive"}
		_, err := newClient(t, cfg, &source{}, clients.Timeouts{}).UserHash(t.Context(), userID, "")
		wantKind(t, err, clients.Declined)
	})
}

func TestSharedChecks(t *testing.T) {
	t.Parallel()
	for _, o := range operations {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			clientstest.Check(t, clientstest.Subject{
				Op:         o.name,
				Mount:      mount,
				New:        func(*testing.T) clientstest.Sandbox { return newSandbox(annatest.Options{}) },
				Unreadable: clients.Unknown,
				Canaries:   canaries,
				Call: func(t *testing.T, baseURL string, timeouts clients.Timeouts) func(context.Context) error {
					c := newClient(t, config(baseURL), &source{}, timeouts)
					return func(ctx context.Context) error { return o.run(ctx, c) }
				},
			})
		})
	}
}
