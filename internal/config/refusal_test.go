package config

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"errand.internal/clients"
	"errand.internal/internal/account"
	"errand.internal/internal/redistest"
	"errand.internal/internal/sandboxes"
	"errand.internal/tasks/all"
)

// A 403 stops the calls of the whole account, whichever task meets it.
func TestA403StopsTheAccountOfEveryType(t *testing.T) {
	t.Parallel()
	vendors := sandboxes.New("").Handler()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(strings.ToLower(r.URL.Path), "token") { // logins work
			vendors.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(web.Close)
	c, err := Read(sandboxes.New("").Environ(web.URL))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := c.Accounts.Open(account.Shared{Redis: redistest.New(t).Client(), Ring: c.Ring})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	for _, info := range all.Vendors.Types() {
		for _, d := range opened.Definitions {
			if d.Type != info.Type {
				continue
			}
			_, err := d.Run(t.Context(), info.Example)
			if e, ok := clients.AsError(err); !ok || e.Status != http.StatusForbidden {
				t.Errorf("%s: %v", info.Type, err)
			}
		}
		stopped := 0
		for _, a := range opened.Parts() {
			for _, o := range a.Outages {
				state, err := o.State(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if state.Why == "refused" && state.OpenFor > 0 {
					stopped++
				}
				if err := o.Clear(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if stopped != 1 {
			t.Errorf("a 403 to %s stops %d accounts", info.Type, stopped)
		}
	}
}
