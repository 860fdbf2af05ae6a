package events_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients"
	"errand.internal/clients/clientstest"
	"errand.internal/internal/alert"
	"errand.internal/internal/events"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

// FuzzReceiver gives a delivery any answer. It is a success only with a 2xx, only 410 is
// final, and a wait is never longer than an hour.
func FuzzReceiver(f *testing.F) {
	for _, status := range []int{200, 204, 299, 301, 400, 401, 403, 408, 410, 429, 500, 503, 599, 999} {
		f.Add(status, "", "")
		f.Add(status, "7", "canary-of-the-receiver")
		f.Add(status, "Sat, 31 Jan 9999 12:00:30 GMT", `{"code":"canary-of-the-receiver"}`)
	}
	server := redistest.New(f)
	cfg := events.Config{URL: secret.New("https://receiver.example/?token=canary-of-the-url"), Secret: secret.New(newSecret('a'))}
	receiver, err := events.NewReceiver(cfg, server.Client(), seal.NewSalt(server.Client()))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, retryAfter, body string) {
		answer := clientstest.Canned{Status: 200 + (status%800+800)%800, Body: body, Header: http.Header{}}
		answer.Header.Set("Retry-After", retryAfter)
		stopped := 0
		s, err := events.NewSender(
			cfg, receiver, nil, clients.NewCaller(events.Vendor, clients.Timeouts{}, answer, nil), func(alert.Alert) { stopped++ }, time.Now,
		)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Send(t.Context(), sample, false)
		gone, resumeErr := receiver.Resume(t.Context())
		if resumeErr != nil {
			t.Fatal(resumeErr)
		}
		if (err == nil) != (answer.Status <= 299) || gone != (answer.Status == http.StatusGone) || gone != (stopped == 1) {
			t.Errorf("%d: %v, gone %v, %d alerts", answer.Status, err, gone, stopped)
		}
		if err == nil {
			return
		}
		e, ok := clients.AsError(err)
		if !ok || e.Vendor != events.Vendor || e.Final != gone || e.NotSent || e.RetryAfter < 0 || e.RetryAfter > time.Hour {
			t.Fatalf("%d: %+v", answer.Status, err)
		}
		switch e.Kind {
		case clients.Temporary, clients.Blocked, clients.Unknown, clients.Failed:
		default:
			t.Errorf("%d: a delivery ends %s", answer.Status, e.Kind)
		}
		clientstest.NoLeak(t, err, "canary-of-the-receiver", "canary-of-the-url")
	})
}

// FuzzConfig reads the address and the secrets of a receiver. Each fault names its
// variable and quotes nothing, and what is accepted signs.
func FuzzConfig(f *testing.F) {
	for _, url := range []string{"https://h/hooks?token=canary-token", "http://h/", "https://u:canary-token@h/", "https://h/#f", "", " https://h "} {
		f.Add(url, newSecret('a'))
		f.Add(url, newSecret('a')+" whsec_canary-token\n"+newSecret('b'))
	}
	f.Add("https://h/", "whsec_"+strings.Repeat("A", 31)+"=")
	f.Fuzz(func(t *testing.T, url, secrets string) {
		cfg := events.Config{URL: secret.New(url), Secret: secret.New(secrets)}
		err := cfg.Validate()
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "EVENTS_URL: ") && !strings.HasPrefix(line, "EVENTS_SECRET: ") ||
					strings.Contains(line, "canary-token") {
					t.Errorf("%q, %q: %s", url, secrets, line)
				}
			}
			return
		}
		if !cfg.Configured() {
			if url+secrets != "" {
				t.Errorf("%q, %q are no receiver", url, secrets)
			}
			return
		}
		var sent http.Header
		rdb := redistest.Canned(t, "salt", "")
		receiver, err := events.NewReceiver(cfg, rdb, seal.NewSalt(rdb))
		if err != nil {
			t.Fatal(err)
		}
		record := transport(func(r *http.Request) (*http.Response, error) {
			sent = r.Header
			return clientstest.Canned{Status: 200}.RoundTrip(r)
		})
		s, err := events.NewSender(cfg, receiver, nil, clients.NewCaller(events.Vendor, clients.Timeouts{}, record, nil), nil, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(t.Context(), sample, false); err != nil {
			t.Fatalf("%q, %q: %v", url, secrets, err)
		}
		if n := len(strings.Fields(sent.Get("webhook-signature"))); n != len(strings.Fields(secrets)) {
			t.Errorf("%q gave %d signatures", secrets, n)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// FuzzChanges reads the hash of a counter. Changes that were written are read, in order,
// and one that cannot be read hides none of the others without an error.
func FuzzChanges(f *testing.F) {
	f.Add(int64(1700000000), int64(3), int64(-4), "v", "7", "e1700000001", "evt_x 1 2 3")
	f.Add(int64(-1), int64(0), int64(0), "e", "", "e0x7", "evt_x 1 2 3")
	f.Add(int64(math.MinInt64), int64(math.MaxInt64), int64(1), "e9223372036854775807", "evt_y 1 2", "e1", "a b c d")
	f.Fuzz(func(t *testing.T, sequence, previous, current int64, name1, value1, name2, value2 string) {
		ours := fmt.Sprintf("e%d", sequence)
		if name1 == ours || name2 == ours || name1 == name2 {
			return // a hash has each field once
		}
		hash := []any{name1, value1, ours, fmt.Sprintf("evt_1 %d %d %d", previous, current, int64(5)), name2, value2}
		changes, err := events.ParseChanges(hash)
		if err != nil {
			if changes != nil {
				t.Errorf("%+v beside %v", changes, err)
			}
			return
		}
		want := events.Change{
			ID:       "evt_1",
			Sequence: sequence,
			Previous: previous,
			Current:  current,
			At:       5,
		}
		if !slices.Contains(changes, want) {
			t.Errorf("%q: %+v without %+v", hash, changes, want)
		}
		if !slices.IsSortedFunc(changes, func(a, b events.Change) int {
			switch {
			case a.Sequence < b.Sequence:
				return -1
			case a.Sequence > b.Sequence:
				return 1
			}
			return 0
		}) {
			t.Errorf("%+v are out of order", changes)
		}
	})
}
