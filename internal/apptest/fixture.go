// Package apptest runs whole workers in tests: app.Worker, between a Redis of its
// own and the vendors' sandboxes.
package apptest

import (
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
	"errand.internal/internal/redistest"
	"errand.internal/internal/sandboxes"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// EncryptionKeys are values of ENCRYPTION_KEYS: two keys, one in each.
const (
	EncryptionKeys      = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	OtherEncryptionKeys = "k2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

// Fixture is a Redis and a sandbox of every vendor, with the settings of a worker
// between them.
type Fixture struct {
	Redis     *redistest.Server
	Sandboxes sandbox.Vendors
	// Environ has the settings. Tests may change it.
	Environ map[string]string
	// Now is the clock of the workers' machine, if it is not that of the test.
	Now func() time.Time
}

// New returns a fixture. Its settings configure an account of every vendor.
func New(t testing.TB, opts ...redistest.Option) *Fixture {
	t.Helper()
	return newFixture(t, sandboxes.New(""), opts...)
}

// NewWith is New with some of the sandboxes replaced, each by its Path.
func NewWith(t testing.TB, replace ...sandbox.Vendor) *Fixture {
	t.Helper()
	list := sandboxes.New("")
	for _, r := range replace {
		i := slices.IndexFunc(list, func(v sandbox.Vendor) bool { return v.Path() == r.Path() })
		list[i] = r
	}
	return newFixture(t, list)
}

func newFixture(t testing.TB, list sandbox.Vendors, opts ...redistest.Option) *Fixture {
	t.Helper()
	f := &Fixture{
		Redis:     redistest.New(t, opts...),
		Sandboxes: list,
	}
	web := httptest.NewServer(f.Sandboxes.Handler())
	t.Cleanup(web.Close)
	f.Environ = f.Sandboxes.Environ(web.URL)
	f.Environ["REDIS_URL"] = f.Redis.URL()
	f.Environ["HTTP_ADDR"] = "127.0.0.1:0"
	return f
}

// With returns the settings with some of them changed.
func (f *Fixture) With(change map[string]string) map[string]string {
	environ := maps.Clone(f.Environ)
	maps.Copy(environ, change)
	return environ
}

// Only removes the settings of all vendors but these.
func (f *Fixture) Only(vendors ...string) {
	for _, v := range all.Vendors {
		if !slices.Contains(vendors, v.Name) {
			f.Remove(v.Prefix())
		}
	}
}

// Remove removes the settings whose names begin with prefix.
func (f *Fixture) Remove(prefix string) {
	maps.DeleteFunc(f.Environ, func(name, _ string) bool { return strings.HasPrefix(name, prefix) })
}

// Client returns a client for the fixture's Redis, with the keys of its settings.
func (f *Fixture) Client(t testing.TB) *tasks.Client {
	t.Helper()
	client, err := tasks.Open(f.Environ["REDIS_URL"], tasks.EncryptionKeys(f.Environ["ENCRYPTION_KEYS"]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
