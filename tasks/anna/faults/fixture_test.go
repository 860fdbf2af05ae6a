package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/fleet"
	"errand.internal/internal/redisconn"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
)

// waitLimit bounds waits that take an instant on an idle machine.
const waitLimit = 90 * time.Second

func TestMain(m *testing.M) {
	// The tests wait more than they compute. A -parallel on the command line takes
	// precedence, because it is read later.
	_ = flag.Set("test.parallel", "5")
	redisconn.LogTo(zerolog.Nop()) // the tests' own clients see every outage
	fleet.Main(m)
}

// loginPath is the path of AnnA's login.
const loginPath = "/REST/Credentials/GetToken"

// fixture is a fleet whose workers run AnnA's tasks.
type fixture struct {
	*fleet.Fixture
	t    *testing.T
	anna *annatest.Sandbox

	// inactivations run at least once, and are recorded in the audit trail.
	inactivations *fleet.Kind
	// forcedHashes run at most once, and are superseded by a later inactivation.
	forcedHashes *fleet.Kind
	// hashes and alerts run at least once; alerts have no effect.
	hashes *fleet.Kind
	alerts *fleet.Kind
}

func newFixture(t *testing.T, o fleet.Options) *fixture {
	t.Helper()
	if o.Env == nil {
		o.Env = map[string]string{}
	}
	// So many that held tasks of one type do not fill a worker before one of another comes.
	o.Env["WORKER_QUEUES"] = "anna=20,polls=8"
	f := &fixture{Fixture: fleet.New(t, o), t: t}
	f.anna = sandbox.Find[*annatest.Sandbox](f.Sandboxes)
	f.inactivations = f.AddKind(&fleet.Kind{
		Type:   anna.UserInactivate{}.Type(),
		Engine: f.anna.Engine,
		Op:     annatest.OpInactivate,
		New:    func() tasks.Payload { return anna.UserInactivate{UserID: f.newUser()} },
		Subject: func(_ string, p tasks.Payload) string {
			return p.(anna.UserInactivate).UserID
		},
	})
	f.forcedHashes = f.AddKind(&fleet.Kind{
		Type:   anna.UserForceHash{}.Type(),
		Engine: f.anna.Engine,
		Op:     annatest.OpForceHash,
		New:    func() tasks.Payload { return f.forceHash(f.Name("user")) },
		Subject: func(_ string, p tasks.Payload) string {
			return p.(anna.UserForceHash).UserID
		},
		ResultSecrets: loginSecrets,
	})
	f.hashes = f.AddKind(&fleet.Kind{
		Type:   anna.UserHash{}.Type(),
		Engine: f.anna.Engine,
		Op:     annatest.OpHash,
		New:    func() tasks.Payload { return anna.UserHash{UserID: f.newUser()} },
		Subject: func(_ string, p tasks.Payload) string {
			return p.(anna.UserHash).UserID
		},
		ResultSecrets: loginSecrets,
	})
	f.alerts = f.AddKind(&fleet.Kind{
		Type:   anna.MessengerAlerts{}.Type(),
		Engine: f.anna.Engine,
		Op:     annatest.OpAlerts,
		New: func() tasks.Payload {
			return anna.MessengerAlerts{MessengerUser: anna.MessengerUser{UserID: f.newUser()}}
		},
		Subject: func(_ string, p tasks.Payload) string {
			return p.(anna.MessengerAlerts).UserID
		},
		Uncounted: true,
	})
	return f
}

// newUser adds an active user to AnnA.
func (f *fixture) newUser() string {
	id := f.Name("user")
	f.anna.PutUser(id, true)
	return id
}

func (f *fixture) forceHash(userID string) anna.UserForceHash {
	return anna.UserForceHash{UserID: userID, UserName: f.Name("name")}
}

// loginSecrets are the secrets in the result of a minted login.
func loginSecrets(status *tasks.Status) []string {
	var access anna.UserAccess
	if json.Unmarshal(status.Data, &access) != nil || access.Hash == "" {
		return nil
	}
	return []string{access.Hash}
}

// warmUp makes every worker log in.
func (f *fixture) warmUp() {
	f.t.Helper()
	for _, p := range f.Processes() {
		for _, kind := range []*fleet.Kind{f.alerts, f.inactivations} {
			for n := 0; !p.HasEnded(kind) && n < 100; n++ {
				f.Wait(waitLimit, f.EnqueueMany(20, kind))
			}
		}
	}
}

// limitContext is a context that ends after waitLimit.
func (f *fixture) limitContext() context.Context {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), waitLimit)
	f.t.Cleanup(cancel)
	return ctx
}

// StopAll stops all workers. In a long run, a quiet phase comes before.
func (f *fixture) StopAll() {
	f.t.Helper()
	if fleet.Long() {
		f.Quiet(fleet.QuietPhase, f.alerts)
	}
	f.Fixture.StopAll()
}

// checkOffboarding asserts that the users of the inactivations are inactive, and that
// the audit trail has each inactivation once, confirmed.
func (f *fixture) checkOffboarding(ids []string) {
	f.t.Helper()
	var out bytes.Buffer
	if err := app.ExportOffboarding(f.t.Context(), f.Settings(), false, &out); err != nil {
		f.t.Fatal(err)
	}
	lines := map[string][]app.Offboarding{}
	for dec := json.NewDecoder(&out); dec.More(); {
		var line app.Offboarding
		if err := dec.Decode(&line); err != nil {
			f.t.Fatal(err)
		}
		lines[line.ID] = append(lines[line.ID], line)
	}
	for _, id := range ids {
		user := f.Subject(id)
		if f.anna.Active(user) {
			f.t.Errorf("%s is done, and its user is active", id)
		}
		found := lines[id]
		if len(found) != 1 || found[0].Confirmed == nil || found[0].UserID != user ||
			found[0].Outcome != tasks.Done {
			f.t.Errorf("%s is exported as %+v, want one confirmed line", id, found)
		}
	}
}
