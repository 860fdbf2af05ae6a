package app_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/sandboxes"
	"errand.internal/internal/webtest"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// mount is a directory of secrets as Kubernetes mounts it: each file is a symbolic link
// through ..data, which leads to another directory when the secret changes.
type mount struct {
	t    *testing.T
	dir  string
	next int
}

func newMount(t *testing.T, secrets map[string]string) *mount {
	t.Helper()
	m := &mount{t: t, dir: t.TempDir()}
	m.set(secrets)
	for name := range secrets {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(m.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// set replaces all files at once.
func (m *mount) set(secrets map[string]string) {
	m.t.Helper()
	m.next++
	version := filepath.Join(m.dir, "..v"+string(rune('0'+m.next)))
	link := filepath.Join(m.dir, "..data")
	err := os.Mkdir(version, 0o700)
	for name, value := range secrets {
		if err == nil {
			err = os.WriteFile(filepath.Join(version, name), []byte(value+"\n"), 0o600)
		}
	}
	if err == nil {
		err = os.Symlink(filepath.Base(version), link+"_new")
	}
	if err == nil {
		err = os.Rename(link+"_new", link)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// environ names the files.
func (m *mount) environ(secrets map[string]string) map[string]string {
	names := map[string]string{}
	for name := range secrets {
		names[name+"_FILE"] = filepath.Join(m.dir, name)
	}
	return names
}

// change is a secret of an account, and how it changes at the vendor.
type change struct {
	account  string
	variable string
	after    string
	apply    func(f *fixture, after string)
}

var changes = []change{
	{"danaconnect", "DANACONNECT_PASSWORD", "cnr-1", func(f *fixture, after string) {
		f.danaconnect.SetPassword(danaconnecttest.Username+"@"+danaconnecttest.Company, after)
	}},
	{"danaconnect API 2.0", "DANACONNECT_CLIENT_SECRET", "cnr-2", func(f *fixture, after string) {
		f.danaconnect.SetClientSecret(danaconnecttest.ClientID, after)
	}},
	{"anna", "ANNA_PASSWORD", "cnr-3", func(f *fixture, after string) {
		sandbox.Find[*annatest.Sandbox](f.Sandboxes).SetPassword(after)
	}},
	{"dckap", "DCKAP_TOKEN", "cnr-4", func(f *fixture, after string) { f.dckap.SetToken(after) }},
	{"dinero", "DINERO_API_KEYS", dinerotest.Organization + "=cnr-5", func(f *fixture, after string) {
		f.dinero.SetAPIKey(dinerotest.Organization, strings.TrimPrefix(after, dinerotest.Organization+"="))
	}},
}

// The secrets of all vendors change at the vendors, and a moment later in their files. The
// worker takes them over, whether they log in or not, and the tasks of that moment are done.
func TestEveryVendorsSecretIsTakenOverWhileTasksRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i, v := range sandboxes.Vendors {
		if v.PrepareExample != nil {
			v.PrepareExample(f.Sandboxes[i])
		}
	}
	f.Environ["DINERO_API_KEYS"] = dinerotest.Organization + "=" + dinerotest.APIKey
	before, after := map[string]string{}, map[string]string{}
	for _, c := range changes {
		before[c.variable] = f.Environ[c.variable]
		after[c.variable] = c.after
		delete(f.Environ, c.variable)
	}
	files := newMount(t, before)
	maps.Copy(f.Environ, files.environ(before))
	w := f.Start(t)

	var types []tasks.Info // the first one of each account
	for _, v := range all.Vendors {
		for _, a := range v.Accounts {
			if !slices.ContainsFunc(changes, func(c change) bool { return c.account == a.Name }) {
				t.Fatalf("no secret of the account %s changes", a.Name)
			}
			info, _ := all.Vendors.Find(v.Unopened(a)[0].Type)
			types = append(types, info)
		}
	}
	run := func() {
		t.Helper()
		var tickets []*tasks.Ticket[json.RawMessage]
		for _, info := range types {
			raw, err := json.Marshal(info.Example)
			if err != nil {
				t.Fatal(err)
			}
			tickets = append(tickets, apptest.EnqueueJSON(t, w.Client, info.Type, string(raw)))
		}
		for i, ticket := range tickets {
			// A 401 on a token of less than 10 s parks a task for half a minute.
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			if _, err := ticket.Wait(ctx); err != nil {
				t.Errorf("%s: %v", types[i].Type, err)
			}
			cancel()
		}
	}
	run()
	for _, c := range changes {
		c.apply(f, c.after)
	}
	files.set(after)
	run()
	for _, c := range changes {
		w.Log.Wait(t, "the changed secret of "+c.account+" works; the old one is dropped")
	}
	run()
	if strings.Contains(w.Log.String(), "cnr") {
		t.Error("the log has a secret")
	}
}

// An organization that is added to the file of keys has its tasks run, and can be paused
// like the others, without a restart.
func TestAnOrganizationIsAddedWithoutARestart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("dinero")
	f.Remove("DINERO_API_KEYS")
	keys := dinerotest.Organization + "=" + dinerotest.APIKey
	files := newMount(t, map[string]string{"DINERO_API_KEYS": keys})
	maps.Copy(f.Environ, files.environ(map[string]string{"DINERO_API_KEYS": keys}))
	w := f.Start(t)
	if _, err := apptest.Run(t, w, listContacts); err != nil {
		t.Fatal(err)
	}
	files.set(map[string]string{"DINERO_API_KEYS": keys + "," + dinerotest.Organization2 + "=" + dinerotest.APIKey2})
	w.Log.Wait(t, "the changed secret of dinero works; the old one is dropped")
	list := listContacts
	list.OrganizationID = dinerotest.Organization2
	if _, err := apptest.Run(t, w, list); err != nil {
		t.Error(err)
	}
	_, metrics := w.Get(t, "/metrics")
	if series := `errand_account_paused{account="dinero-` + dinerotest.Organization2 + `"} 0`; !strings.Contains(metrics, series) {
		t.Errorf("no %s in\n%s", series, metrics)
	}
}

// rotating is a worker whose password of DANAConnect is in a file.
type rotating struct {
	*fixture
	*apptest.Worker
	t    *testing.T
	path string
}

func newRotating(t *testing.T, environ map[string]string) *rotating {
	t.Helper()
	r := &rotating{fixture: newFixture(t), t: t, path: filepath.Join(t.TempDir(), "password")}
	r.Only("danaconnect")
	r.Remove("DANACONNECT_CLIENT_")
	r.Remove("DANACONNECT_PASSWORD")
	r.Environ["DANACONNECT_PASSWORD_FILE"] = r.path
	maps.Copy(r.Environ, environ)
	r.write(r.path, danaconnecttest.Password)
	r.Worker = r.Start(t)
	return r
}

// write writes a file in one step.
func (r *rotating) write(path, text string) {
	r.t.Helper()
	err := os.WriteFile(path+".new", []byte(text), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// send sends a passcode, and fails the test unless it is done.
func (r *rotating) send() {
	r.t.Helper()
	if _, err := apptest.Run(r.t, r.Worker, otpFor("ana@example.com")); err != nil {
		r.t.Error(err)
	}
}

// Whatever is wrong with a changed file, the old secret stays in use, and one line of the
// log says what to do. A good one is taken over afterwards.
func TestAWrongSecretFileChangesNothing(t *testing.T) {
	t.Parallel()
	r := newRotating(t, nil)
	r.send()
	const stays = "a changed secret is not taken over, and the old one stays in use"
	for i, bad := range []struct {
		name string
		do   func()
		says string
	}{
		{"empty", func() { r.write(r.path, "\n") }, "the file is empty"},
		{"gone", func() { _ = os.Remove(r.path) }, "no such file"},
		{"too large", func() { r.write(r.path, strings.Repeat("x", 64<<10+1)) }, "more than 65536 bytes"},
		{"not UTF-8", func() { r.write(r.path, "half\xff") }, "DANACONNECT_PASSWORD"},
		{"unreadable", func() {
			_ = os.Remove(r.path)
			_ = os.Mkdir(r.path, 0o700)
		}, "cannot read the file"},
	} {
		bad.do()
		r.Log.WaitTimes(t, stays, i+1)
		lines := r.Log.Lines(stays)
		if last := lines[len(lines)-1]; !strings.Contains(last, bad.says) || !strings.Contains(last, "DANACONNECT_PASSWORD") {
			t.Errorf("%s: the log says %s", bad.name, last)
		}
		r.send()
	}

	_ = os.Remove(r.path)
	r.write(r.path, "wrong-canary") // such as the half of a password
	r.Log.Wait(t, "has changed; it is tried, and the old one is kept until it works")
	r.send()
	r.Log.Wait(t, "the changed secret of danaconnect is refused; the old one stays in use")
	r.send()
	if n := len(r.Log.Lines("credential.parked")); n > 0 {
		t.Errorf("%d alerts about a secret that nobody needs", n)
	}

	r.write(r.path, "next-canary")
	r.Log.WaitTimes(t, "has changed; it is tried, and the old one is kept until it works", 2)
	r.danaconnect.SetPassword(danaconnecttest.Username+"@"+danaconnecttest.Company, "next-canary")
	r.send()
	r.Log.Wait(t, "the changed secret of danaconnect works; the old one is dropped")
	r.send()
	if strings.Contains(r.Log.String(), "canary") {
		t.Error("the log has a secret")
	}
}

// SIGHUP has the files read without the second look.
func TestAHangupTakesSecretsOver(t *testing.T) {
	t.Parallel()
	r := newRotating(t, nil)
	r.danaconnect.SetPassword(danaconnecttest.Username+"@"+danaconnecttest.Company, "next")
	r.write(r.path, "next")
	r.Hangup()
	r.Log.Wait(t, "the files of secrets are read again, as the signal asks")
	r.send()
	r.Log.Wait(t, "the changed secret of danaconnect works; the old one is dropped")
}

// The secrets of the worker itself: API keys, the login of the web UI, and one that is read
// at the start only.
func TestTheWorkersOwnSecretsAreTakenOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	const first, second = "errand_first", "errand_second"
	for name, text := range map[string]string{
		"keys":       httpapi.Entry("shop", first),
		"monitoring": "the first password",
		"proxy":      "http://127.0.0.1:1",
	} {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newRotating(t, map[string]string{
		"API_ADDR":                 "127.0.0.1:0",
		"API_KEYS_FILE":            file("keys"),
		"MONITORING_USER":          "ops",
		"MONITORING_PASSWORD_FILE": file("monitoring"),
		"OUTBOUND_PROXY_FILE":      file("proxy"),
	})
	status := func(url, user, secret string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		if user != "" {
			req.SetBasicAuth(user, secret)
		}
		resp, err := webtest.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	task := "http://" + r.API + "/v1/tasks/otp_none"
	pages := "http://" + r.Admin + "/monitoring/"
	if got := status(task, "", first); got != http.StatusNotFound {
		t.Fatalf("the first key gets %d", got)
	}

	r.write(file("keys"), "shop:nonsense")
	r.Log.Wait(t, "API_KEYS: key 1: must have the SHA-256 of the key")
	r.write(file("keys"), httpapi.Entry("shop", second))
	r.Log.Wait(t, "API_KEYS has changed; the new secret is in use")
	if gotFirst, gotSecond := status(task, "", first), status(task, "", second); gotFirst != http.StatusUnauthorized ||
		gotSecond != http.StatusNotFound {
		t.Errorf("the old key gets %d, the new one %d", gotFirst, gotSecond)
	}

	r.write(file("monitoring"), "short")
	r.Log.Wait(t, "MONITORING_PASSWORD: must have at least 12 characters")
	r.write(file("monitoring"), "the second password")
	r.Log.Wait(t, "MONITORING_PASSWORD has changed; the new secret is in use")
	if gotFirst, gotSecond := status(pages, "ops", "the first password"), status(pages, "ops", "the second password"); gotFirst !=
		http.StatusUnauthorized || gotSecond != http.StatusOK {
		t.Errorf("the old password gets %d, the new one %d", gotFirst, gotSecond)
	}

	r.write(file("proxy"), "http://127.0.0.1:2")
	r.Log.Wait(t, "OUTBOUND_PROXY has changed and is read at the start only")
}
