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
		{"user-hash-bare", annatest.OpHash, "REST/AnnACorporate/User/UserHash", func(t *testing.T, c *anna.Client) error {
			_, err := c.UserHash(t.Context(), "u&<1>", "")
			return err
		}},
		{"user-inactivate", annatest.OpInactivate, "REST/AnnACorporate/User/Inactivate", func(t *testing.T, c *anna.Client) error {
			return c.Inactivate(t.Context(), "u&<1>")
		}},
		{"alert-counter", annatest.OpAlerts, "REST/AnnACorporate/Messenger/AlertCounter", func(t *testing.T, c *anna.Client) error {
			_, err := c.AlertCounter(t.Context(), anna.AlertQuery{UserID: "u&<1>", Filters: anna.Filters{
				DepartmentAlias: "sales", ChannelAlias: "web", DataIni: "01/01/2024", DataFim: "31/12/2024", Status: "A", Pendentes: "S",
			}})
			return err
		}},
		{"alert-counter-document", annatest.OpAlerts, "REST/AnnACorporate/Messenger/AlertCounter", func(t *testing.T, c *anna.Client) error {
			_, err := c.AlertCounter(t.Context(), anna.AlertQuery{UserDocType: "CPF", UserDocValue: "00123"})
			return err
		}},
	}
	for _, tt := range tests {
		for name, trailing := range map[string]string{"slash": "/", "no slash": "", "slashes": "//"} {
			t.Run(tt.name+" "+name, func(t *testing.T) {
				t.Parallel()
				sb := newSandbox(annatest.Options{})
				sb.PutUser("u&<1>", true)
				sb.SetDocumentAlerts("CPF", "00123", 4)
				base := strings.TrimRight(clientstest.Serve(t, sb, mount), "/") + trailing
				if err := tt.call(t, newClient(t, config(base), &source{}, clients.Limits{})); err != nil {
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
				if err := json.Compact(&exact, clientstest.ReadFile(t, golden)); err != nil || exact.String() != string(r.Body) {
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
			reply := strings.Replace(string(clientstest.ReadFile(t, "testdata/user-hash.json")), `"20310203040506"`, tt.expires, 1)
			sb.Inject(body(reply))
			cfg := config(clientstest.Serve(t, sb, mount))
			cfg.TimeZone = tt.zone
			got, err := newClient(t, cfg, &source{}, clients.Limits{}).UserHash(t.Context(), userID, "")
			if err != nil {
				t.Fatal(err)
			}
			if got.Hash != "USER_HASH" || got.ChatURL != "https://anna.example/chat?h=USER_HASH" || got.EmbeddedURL != "https://anna.example/embedded?h=USER_HASH" {
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
			c := newClient(t, config(clientstest.Serve(t, sb, mount)), &source{}, clients.Limits{})
			if got, err := c.AlertCounter(t.Context(), query); err != nil || got != want {
				t.Errorf("AlertCounter() = %d, %v, want %d", got, err, want)
			}
		})
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
			c := newClient(t, cfg, &source{}, clients.Limits{})
			c.SetNow(func() time.Time { return time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC) })
			q := query
			q.Filters = anna.Filters{DataIni: "today-7d", DataFim: "today"}
			if _, err := c.AlertCounter(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			if sent := sb.Requests(annatest.OpAlerts)[0].Body; !strings.Contains(string(sent), want) {
				t.Errorf("sent %s, want %s in it", sent, want)
			}
		})
	}
}

func TestArgumentsAreCheckedBeforeAnythingLeaves(t *testing.T) {
	t.Parallel()
	src := &source{}
	c := newClient(t, config("https://anna.example"), src, clients.Limits{})
	_, hashErr := c.UserHash(t.Context(), "", "support")
	_, noneErr := c.AlertCounter(t.Context(), anna.AlertQuery{})
	_, halfErr := c.AlertCounter(t.Context(), anna.AlertQuery{UserDocType: "CPF"})
	_, iniErr := c.AlertCounter(t.Context(), anna.AlertQuery{UserID: userID, Filters: anna.Filters{DataIni: "2024-01-01"}})
	_, fimErr := c.AlertCounter(t.Context(), anna.AlertQuery{UserID: userID, Filters: anna.Filters{DataFim: "12/31/2024"}})
	for name, err := range map[string]error{
		"first date": iniErr, "last date": fimErr,
		"hash": hashErr, "inactivate": c.Inactivate(t.Context(), ""), "nobody's alerts": noneErr, "half a document": halfErr,
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
			err := newClient(t, cfg, src, clients.Limits{}).Inactivate(t.Context(), userID)
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
		_, err := newClient(t, cfg, &source{}, clients.Limits{}).UserHash(t.Context(), userID, "")
		wantKind(t, err, clients.Declined)
	})
}
