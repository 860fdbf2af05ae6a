package httpapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/produce"
	"errand.internal/internal/redistest"
)

// The keys of these tests.
const (
	shopKey   = "errand_canary-shop"
	officeKey = "errand_canary-office" // another one
	auditKey  = "errand_canary-audit"  // reads what all have enqueued
	pipeKey   = "errand_canary-pipe"   // for one type
)

const (
	sendType   = "danaconnect:otp:send"
	pipeType   = "dckap:dynamic:call"
	otpPayload = `{"idConversation":824541,"values":{"COD1_EMAIL":"canary-9@example.com"},"type":1,"length":6}`
)

// fixture is a worker that serves the interface, between a Redis and the sandboxes.
type fixture struct {
	*apptest.Fixture
	t      testing.TB
	worker *apptest.Worker
	otp    *danaconnecttest.Sandbox
	base   string // URL of the interface
	http   *http.Client
}

func newFixture(t testing.TB, settings map[string]string, opts ...redistest.Option) *fixture {
	t.Helper()
	f := &fixture{
		Fixture: apptest.New(t, opts...),
		t:       t,
		http:    &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
	}
	f.otp = sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes)
	f.Environ["API_ADDR"] = "127.0.0.1:0"
	f.Environ["API_RATE"] = "none"
	f.Environ["API_KEYS"] = strings.Join([]string{
		httpapi.Entry("shop", shopKey),
		httpapi.Entry("office", officeKey),
		httpapi.Entry("audit", auditKey) + ":read",
		httpapi.Entry("pipe", pipeKey) + ":" + pipeType,
	}, "\n")
	for name, value := range settings {
		f.Environ[name] = value
	}
	f.worker = f.Start(t)
	f.base = "http://" + f.worker.API
	t.Cleanup(f.http.CloseIdleConnections)
	return f
}

// answer is an answer of the interface.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request with the key of the shop, unless header names another one.
func (f *fixture) do(method, path, body string, header ...string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.base+path, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shopKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	return f.send(req)
}

func (f *fixture) send(req *http.Request) answer {
	f.t.Helper()
	resp, err := f.http.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, raw}
}

func as(key string) []string { return []string{"Authorization", "Bearer " + key} }

// report decodes an answer with a status.
func (f *fixture) report(a answer, status int) produce.Report {
	f.t.Helper()
	var r produce.Report
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil || a.status != status {
		f.t.Fatalf("status %d, want %d (%v): %s", a.status, status, err, a.body)
	}
	return r
}

// problem decodes a problem with a status.
func (f *fixture) problem(a answer, status int, kind string) httpapi.Problem {
	f.t.Helper()
	var p httpapi.Problem
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil || a.status != status || p.Status != status ||
		p.Type != "urn:errand:problem:"+kind || p.Title == "" || p.Detail == "" ||
		a.header.Get("Content-Type") != "application/problem+json" {
		f.t.Errorf("status %d, want %d %s (%v): %v %s", a.status, status, kind, err, a.header, a.body)
	}
	if strings.Contains(string(a.body), "canary") {
		f.t.Errorf("the problem quotes the request: %s", a.body)
	}
	return p
}

// wantFaults expects exactly these places to be at fault.
func (f *fixture) wantFaults(p httpapi.Problem, want ...string) {
	f.t.Helper()
	var got []string
	for _, e := range p.Errors {
		got = append(got, e.In+" "+e.Field+": "+e.Rule)
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		f.t.Errorf("faults:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func pointer[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
