package events_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/clients"
	"errand.internal/internal/alert"
	"errand.internal/internal/events"
	"errand.internal/internal/redistest"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

type senderFixture struct {
	*events.Sender
	receiver *events.Receiver
	alerts   *[]alert.Alert
}

func newSender(t testing.TB, server *redistest.Server, url, secrets string, limits clients.Timeouts) senderFixture {
	t.Helper()
	cfg := events.Config{URL: secret.New(url), Secret: secret.New(secrets)}
	receiver, err := events.NewReceiver(cfg, server.Client(), seal.NewSalt(server.Client()))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	alerts := &[]alert.Alert{}
	s, err := events.NewSender(
		cfg,
		receiver,
		nil,
		clients.NewCaller(events.Vendor, limits, nil, nil),
		func(a alert.Alert) {
			mu.Lock()
			defer mu.Unlock()
			*alerts = append(*alerts, a)
		},
		time.Now,
	)
	if err != nil {
		t.Fatal(err)
	}
	return senderFixture{
		Sender:   s,
		receiver: receiver,
		alerts:   alerts,
	}
}

var sample = events.Event{
	ID:        "evt_1",
	Type:      "task.finished",
	Timestamp: "2026-01-31T12:00:00.000Z",
	Data:      []byte(`{"id":"otp-1","note":"<ü>"}`),
}

func TestRequestOfADelivery(t *testing.T) {
	t.Parallel()
	receiver := newReceiver(t, newSecret('a'))
	s := newSender(t, redistest.New(t), receiver.web.URL+"/hooks/errand/?token=t", newSecret('a'), clients.Timeouts{})
	var uri string
	receiver.respond(
		func(w http.ResponseWriter, r *http.Request) { uri = r.RequestURI; w.WriteHeader(http.StatusAccepted) },
	)
	if err := s.Send(t.Context(), sample, false); err != nil {
		t.Fatal(err)
	}
	d := receiver.next()
	want := `{"type":"task.finished","timestamp":"2026-01-31T12:00:00.000Z",` +
		`"data":{"id":"otp-1","note":"\u003cü\u003e"}}`
	if string(d.body) != want {
		t.Errorf("body %s\nwant %s", d.body, want)
	}
	if d.id != "evt_1" || d.header.Get("Content-Type") != "application/json" || uri != "/hooks/errand/?token=t" {
		t.Errorf("%s %v to %s", d.id, d.header, uri)
	}
}

// During a rotation, both the old and the new secret verify a request.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	receiver := newReceiver(t, newSecret('a'))
	s := newSender(t, redistest.New(t), receiver.web.URL, newSecret('b')+" "+newSecret('a'), clients.Timeouts{})
	if err := s.Send(t.Context(), sample, false); err != nil {
		t.Fatal(err)
	}
	d := receiver.next()
	for letter, valid := range map[byte]bool{'a': true, 'b': true, 'c': false} {
		hook, err := standardwebhooks.NewWebhook(newSecret(letter))
		if err != nil {
			t.Fatal(err)
		}
		if err := hook.Verify(d.body, d.header); (err == nil) != valid {
			t.Errorf("secret %c: %v", letter, err)
		}
	}
}

func TestErrorByAnswer(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	const canary = "canary-of-the-receiver"
	status := func(code int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, canary)
		}
	}
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		kind   clients.Kind
		wait   time.Duration
		ok     bool
	}{
		{name: "200", answer: status(200), ok: true},
		{name: "204", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, ok: true},
		{name: "299", answer: status(299), ok: true},
		{name: "redirect", answer: status(302, "Location", "http://127.0.0.1:1/"), kind: clients.Temporary},
		{name: "permanent redirect", answer: status(308, "Location", "/"), kind: clients.Temporary},
		{name: "400", answer: status(400), kind: clients.Temporary},
		{name: "401", answer: status(401), kind: clients.Temporary},
		{name: "404", answer: status(404), kind: clients.Temporary},
		{
			name:   "429",
			answer: status(429, "Retry-After", "7"),
			kind:   clients.Blocked,
			wait:   7 * time.Second,
		},
		{
			name:   "429 for a day",
			answer: status(429, "Retry-After", "86400"),
			kind:   clients.Blocked,
			wait:   time.Hour,
		},
		{name: "500", answer: status(500), kind: clients.Unknown},
		{
			name:   "503",
			answer: status(503, "Retry-After", "2"),
			kind:   clients.Temporary,
			wait:   2 * time.Second,
		},
		{name: "slow", kind: clients.Unknown, answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{name: "dropped", kind: clients.Unknown, answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				tc.answer(w, r)
			}))
			defer web.Close()
			s := newSender(t, server, web.URL+"/secret-path", newSecret('a'), clients.Timeouts{Call: 2 * time.Second})
			err := s.Send(t.Context(), sample, false)
			if tc.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			fault, ok := clients.AsError(err)
			if !ok || fault.Kind != tc.kind || fault.RetryAfter != tc.wait || fault.Final {
				t.Errorf("%#v, %v", fault, err)
			}
			if text := fmt.Sprint(err); strings.Contains(text, canary) || strings.Contains(text, "secret-path") {
				t.Errorf("the error quotes the receiver: %s", text)
			}
		})
	}
}

// Send does not wait for an answer's body, which may be slow or endless.
func TestSendDoesNotWaitForTheBody(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		for r.Context().Err() == nil {
			_, _ = w.Write(make([]byte, 100))
			w.(http.Flusher).Flush()
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	}))
	defer web.Close()
	s := newSender(t, redistest.New(t), web.URL, newSecret('a'), clients.Timeouts{Call: time.Minute})
	start := time.Now()
	if err := s.Send(t.Context(), sample, false); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestGoneStopsDelivery(t *testing.T) {
	t.Parallel()
	server, receiver := redistest.New(t), newReceiver(t, newSecret('a'))
	receiver.respond(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	one := newSender(t, server, receiver.web.URL+"/a", newSecret('a'), clients.Timeouts{})
	other := newSender(t, server, receiver.web.URL+"/a", newSecret('a'), clients.Timeouts{})
	final := func(err error) {
		t.Helper()
		if fault, ok := clients.AsError(err); !ok || fault.Kind != clients.Failed || !fault.Final {
			t.Errorf("%#v", err)
		}
	}
	final(one.Send(t.Context(), sample, false))
	receiver.next()
	final(one.Send(t.Context(), sample, false))
	final(other.Send(t.Context(), sample, false))
	if len(receiver.deliveries) != 0 {
		t.Error("the receiver was called again")
	}
	if alerts := append(*one.alerts, *other.alerts...); len(alerts) != 1 || alerts[0].Kind != alert.ReceiverGone ||
		alerts[0].Subject != strings.TrimPrefix(receiver.web.URL, "http://") {
		t.Errorf("alerts %+v", alerts)
	}
	receiver.respond(nil)
	moved := newSender(t, server, receiver.web.URL+"/b", newSecret('a'), clients.Timeouts{})
	if err := moved.Send(t.Context(), sample, false); err != nil {
		t.Errorf("another URL: %v", err)
	}
	if was, err := other.receiver.Resume(t.Context()); err != nil || !was {
		t.Errorf("Resume() = %t, %v", was, err)
	}
	if was, err := other.receiver.Resume(t.Context()); err != nil || was {
		t.Errorf("the second Resume() = %t, %v", was, err)
	}
	if err := one.Send(t.Context(), sample, false); err != nil {
		t.Errorf("after Resume: %v", err)
	}
}

func TestNothingIsSentWithoutRedis(t *testing.T) {
	t.Parallel()
	server, receiver := redistest.New(t), newReceiver(t, newSecret('a'))
	s := newSender(t, server, receiver.web.URL, newSecret('a'), clients.Timeouts{})
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if fault, ok := clients.AsError(s.Send(ctx, sample, false)); !ok || fault.Kind != clients.Temporary ||
		!fault.NotSent {
		t.Errorf("%+v", fault)
	}
	if len(receiver.deliveries) != 0 {
		t.Error("an event was sent although it is unknown whether the receiver is gone")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	good := newSecret('a')
	for _, tc := range []struct{ name, url, secret, want string }{
		{"nothing", "", "", ""},
		{"good", "https://example.com/hooks?token=1", good + "  " + newSecret('b'), ""},
		{"loopback", "http://127.0.0.1:8080/", good, ""},
		{"plain http", "http://example.com/", good, "EVENTS_URL: must use https"},
		{"no URL", "", good, "EVENTS_URL: is not set"},
		{"no secret", "https://example.com", "", "EVENTS_SECRET: is not set"},
		{"a password in it", "https://u:canary@example.com", good, "EVENTS_URL: must not contain a user"},
		{"a fragment", "https://example.com/?a=1#canary", good, "EVENTS_URL: must not contain a fragment"},
		{"a tab in the query", "https://example.com/?a=1\tcanary", good, "EVENTS_URL: must not contain a blank or a control character"},
		{"no prefix", "https://example.com", "canary", "EVENTS_SECRET: secret 1 of 1 must begin with whsec_"},
		{"no base64", "https://example.com", good + " whsec_canary!", "EVENTS_SECRET: secret 2 of 2 is not base64"},
		{"short", "https://example.com", "whsec_Y2FuYXJ5", "has 6 bytes and must have at least 24"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := events.Config{URL: secret.New(tc.url), Secret: secret.New(tc.secret)}.Validate()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "Y2Fu")) {
				t.Errorf("the error quotes the value: %v", err)
			}
		})
	}
	insecure := events.Config{
		URL:               secret.New("http://example.com/"),
		Secret:            secret.New(good),
		AllowInsecureHTTP: true,
	}
	if err := insecure.Validate(); err != nil {
		t.Error(err)
	}
}
