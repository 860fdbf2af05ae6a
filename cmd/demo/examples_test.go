package main

import (
	"context"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/settings"
	"errand.internal/internal/vendors"
	"errand.internal/tasks"
)

func TestTheDemoHasAnAccountOfEveryVendor(t *testing.T) {
	t.Parallel()
	var cfg vendors.Config
	if err := settings.Load(&cfg, newSandboxes().environ("http://127.0.0.1:1")); err != nil {
		t.Fatal(err)
	}
	nobody := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // is not asked
	t.Cleanup(func() { _ = nobody.Close() })
	for _, s := range cfg.Sites() {
		if err := s.Validate(); !s.Configured() || err != nil {
			t.Errorf("%s: configured %v, %v", s.Name, s.Configured(), err)
		}
		accounts, err := s.Alone.Open(vendors.Shared{Redis: nobody})
		if err != nil || len(accounts.Credentials) == 0 {
			t.Errorf("%s: opened with %d credentials, %v", s.Name, len(accounts.Credentials), err)
		}
		accounts.Close()
	}
}

// Every type's example runs to its end, done: the demo has what it names.
func TestEveryTypeRunsInTheDemo(t *testing.T) {
	t.Parallel()
	d, err := start(t.Context(), true, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.stop)
	d.vendors.danaconnect.Add(danaconnecttest.OTP{
		IDRequest:    251,
		Code:         "004217",
		MaximumTries: 5,
		ExpiresAt:    time.Now().Add(time.Hour),
	})
	for _, info := range tasks.Types() {
		d.vendors.anna.PutUser(staying, true) // an earlier type may have closed the account
		payload, err := json.Marshal(info.Example)
		if err != nil {
			t.Fatal(err)
		}
		ticket, err := d.client.EnqueueJSON(t.Context(), info.Type, payload)
		if err != nil {
			t.Errorf("%s: %v", info.Type, err)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if _, err := ticket.Wait(ctx); err != nil {
			state := "?"
			if status, err := d.client.Status(t.Context(), ticket.ID); err == nil {
				state = string(status.State)
			}
			t.Errorf(
				"%s: %v; it is %s (pending: no worker runs its queue, for want of an account)",
				info.Type,
				err,
				state,
			)
		}
		cancel()
	}
}
