package fleet

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
)

// rotated are the secrets that TestSecretsRotateUnderLoad changes: one that goes along with
// every call, and two that log in.
var rotated = []string{"DANACONNECT_PASSWORD", "DANACONNECT_CLIENT_SECRET", "DINERO_CLIENT_SECRET"}

// secretFiles is a directory of secrets, as the workers of one host see it.
type secretFiles struct {
	f   *Fixture
	dir string
}

func (f *Fixture) newSecretFiles() secretFiles {
	f.tb.Helper()
	s := secretFiles{f: f, dir: f.tb.TempDir()}
	for _, name := range rotated {
		s.write(name, f.Settings()[name])
	}
	return s
}

func (s secretFiles) write(name, value string) {
	s.f.tb.Helper()
	path := filepath.Join(s.dir, name)
	err := os.WriteFile(path+".new", []byte(value), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		s.f.tb.Fatal(err)
	}
}

// replace replaces all secrets.
func (s secretFiles) replace() {
	s.f.tb.Helper()
	for _, name := range rotated {
		s.write(name, s.f.Canary+"-next")
	}
}

// environ are the settings that name the files.
func (s secretFiles) environ() []string {
	var list []string
	for _, name := range rotated {
		list = append(list, name+"=", name+"_FILE="+filepath.Join(s.dir, name))
	}
	return list
}

// All secrets are replaced under load and the old ones, with their tokens, revoked at once.
// Half of the workers see the new ones later. No task fails, no process is restarted, and no
// login is tried more often than while a secret is wrong.
func TestSecretsRotateUnderLoad(t *testing.T) {
	t.Parallel()
	for _, kind := range redisKinds[:Size(1, 2)] {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			f := New(t, Options{Nodes: kind.nodes, Env: loadQueues()})
			dana := sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes)
			dinero := sandbox.Find[*dinerotest.Sandbox](f.Sandboxes)
			early, late := f.newSecretFiles(), f.newSecretFiles()
			workers := slices.Concat(f.Start(2, early.environ()...), f.Start(2, late.environ()...))
			ids := warmUp(f, workers)
			Elapse(t, 11*time.Second) // a 401 does not count against a token of less than 10 s

			var loads []func() []string
			for _, kind := range f.loadKinds() {
				loads = append(loads, f.Load(10*time.Millisecond, kind))
			}
			next := f.Canary + "-next"
			early.replace()
			dana.SetPassword(f.Settings()["DANACONNECT_USERNAME"]+"@"+f.Settings()["DANACONNECT_COMPANY"], next)
			dana.SetClientSecret(f.Settings()["DANACONNECT_CLIENT_ID"], next)
			dinero.SetClientSecret(next)
			Elapse(t, Size(5*time.Second, 10*time.Second))
			late.replace()
			ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
			defer cancel()
			for _, p := range workers {
				for _, account := range []string{"danaconnect", "danaconnect API 2.0", "dinero"} {
					if _, err := p.WaitLog(ctx, "the changed secret of "+account+" works"); err != nil {
						t.Fatalf("%s, %s: %v", p.Name, account, err)
					}
				}
			}
			for _, stop := range loads {
				ids = append(ids, stop()...)
			}
			for _, kind := range f.loadKinds() {
				ids = append(ids, f.EnqueueMany(20, kind)...)
			}
			f.Wait(waitLimit, ids)
			f.CheckDone(ids)

			// A password that goes along with every call is refused to the calls under way.
			const underWay = 4 * 8
			if refused := f.Passcodes.Calls() - f.Passcodes.Effects(); refused > underWay {
				t.Errorf("%d calls were refused, want at most the %d under way", refused, underWay)
			}
			for name, engine := range map[string]*sandbox.Engine{"danaconnect": dana.Engine, "dinero": dinero.Engine} {
				logins, calls := engine.Effects("token"), engine.Calls("token")
				if logins != 2 || calls > 3 {
					t.Errorf("%s: %d logins, %d of them good; want 2 good ones and at most one more", name, calls, logins)
				}
			}
			f.StopAll()
			f.CheckSecrets(nil)
		})
	}
}
