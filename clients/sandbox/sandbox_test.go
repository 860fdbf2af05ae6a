package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/sandbox"
)

const base = "/acme/"

func newAcme(t *testing.T) (*sandbox.Engine, string) {
	t.Helper()
	e := sandbox.New(func(_ *sandbox.Call, code string, real *sandbox.Answer) sandbox.Answer {
		return sandbox.JSON(http.StatusOK, map[string]any{"code": code, "real": real != nil})
	})
	e.Handle("v1/order", "order", func(c *sandbox.Call) sandbox.Answer {
		c.Effect(string(c.Body))
		return sandbox.JSON(http.StatusCreated, map[string]string{"code": "01"})
	})
	e.Handle("v1/orders/{id}", "show", func(c *sandbox.Call) sandbox.Answer {
		return sandbox.JSON(http.StatusOK, map[string]string{"id": c.Params["id"]})
	})
	mux := http.NewServeMux()
	sandbox.Mount(mux, base, e)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return e, server.URL + base
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// call sends one request and returns status and body; err is of either.
func call(ctx context.Context, method, url, body string) (int, http.Header, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(raw), err
}

func TestRoutesRecordsAndCounts(t *testing.T) {
	t.Parallel()
	e, url := newAcme(t)
	for _, subject := range []string{"a", "b", "a"} {
		if status, _, body, err := call(t.Context(), "POST", url+"v1/order?x=1", subject); status != 201 ||
			body != `{"code":"01"}` ||
			err != nil {
			t.Fatalf("%d %q %v", status, body, err)
		}
	}
	if _, _, body, err := call(t.Context(), "GET", url+"v1/orders/17", ""); body != `{"id":"17"}` || err != nil {
		t.Errorf("%q %v", body, err)
	}
	for _, stray := range []string{"", "v1", "v1/order/", "v1/orders/", "v1/orders/1/2"} {
		if status, _, _, err := call(t.Context(), "POST", url+stray, ""); status != 404 || err != nil {
			t.Errorf("%q: status %d, %v, want 404", stray, status, err)
		}
	}
	if e.Calls("order") != 3 || e.Effects("order") != 3 || e.EffectsOf("order", "a") != 2 ||
		e.EffectsOf("order", "c") != 0 ||
		e.Calls(sandbox.Unrouted) != 5 {
		t.Errorf("counts %+v", e.Counts())
	}
	got := e.Requests("order")
	if len(got) != 3 || got[0].Method != http.MethodPost || got[0].Path != "v1/order" ||
		got[0].URI != "/acme/v1/order?x=1" ||
		string(got[1].Body) != "b" ||
		got[0].Query.Get("x") != "1" {
		t.Errorf("recorded %+v", got)
	}
	e.Reset()
	if e.Calls("order") != 0 || len(e.Requests("")) != 0 {
		t.Error("Reset left something")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	dropped := errors.New("dropped")
	tests := []struct {
		name    string
		fault   sandbox.Fault
		status  int
		body    string
		header  [2]string
		err     error // dropped: any
		effects int
	}{
		{"none", sandbox.Fault{}, 201, `{"code":"01"}`, [2]string{}, nil, 1},
		{"status", sandbox.Fault{Status: 500}, 500, "", [2]string{}, nil, 0},
		{"status after the effect", sandbox.Fault{Status: 500, AfterEffect: true}, 500, "", [2]string{}, nil, 1},
		{"retry after", sandbox.Fault{Status: 429, RetryAfter: "9"}, 429, "", [2]string{"Retry-After", "9"}, nil, 0},
		{"body", sandbox.Fault{Body: new("x"), Status: 400}, 400, "x", [2]string{}, nil, 0},
		{"body with 200", sandbox.Fault{Body: new(""), AfterEffect: true}, 200, "", [2]string{}, nil, 1},
		{
			"header",
			sandbox.Fault{Header: map[string]string{"X-A": "b"}},
			201,
			`{"code":"01"}`,
			[2]string{"X-A", "b"},
			nil,
			1,
		},
		{
			"web page",
			sandbox.Fault{HTML: true},
			200,
			"<!DOCTYPE html><html><body><h1>It works</h1></body></html>",
			[2]string{"Content-Type", "text/html; charset=utf-8"},
			nil,
			0,
		},
		{"code", sandbox.Fault{Code: "06"}, 200, `{"code":"06","real":false}`, [2]string{}, nil, 0},
		{
			"code with status after the effect",
			sandbox.Fault{Code: "01", Status: 500, AfterEffect: true},
			500,
			`{"code":"01","real":true}`,
			[2]string{},
			nil,
			1,
		},
		{
			"redirect",
			sandbox.Fault{Redirect: "https://other.example/"},
			307,
			"",
			[2]string{"Location", "https://other.example/"},
			nil,
			0,
		},
		{
			"other redirect",
			sandbox.Fault{Redirect: "https://other.example/", Status: 302},
			302,
			"",
			[2]string{"Location", "https://other.example/"},
			nil,
			0,
		},
		{"drop", sandbox.Fault{Drop: true}, 0, "", [2]string{}, dropped, 0},
		{"drop after the effect", sandbox.Fault{Drop: true, AfterEffect: true}, 0, "", [2]string{}, dropped, 1},
		{"truncate", sandbox.Fault{Truncate: true}, 201, `{"code`, [2]string{}, dropped, 1},
		{
			"oversized",
			sandbox.Fault{Oversized: true},
			201,
			`{"code":"01"}` + strings.Repeat(" ", 10<<20),
			[2]string{},
			nil,
			1,
		},
		{"byte by byte", sandbox.Fault{Slow: time.Microsecond}, 201, `{"code":"01"}`, [2]string{}, nil, 1},
		{
			"content type",
			sandbox.Fault{ContentType: "text/plain"},
			201,
			`{"code":"01"}`,
			[2]string{"Content-Type", "text/plain"},
			nil,
			1,
		},
		{"delay", sandbox.Fault{Delay: time.Millisecond}, 201, `{"code":"01"}`, [2]string{}, nil, 1},
		{"no content", sandbox.Fault{Status: 204}, 204, "", [2]string{}, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, url := newAcme(t)
			tt.fault.Op, tt.fault.Times = "order", 1
			e.Inject(tt.fault)
			status, header, body, err := call(t.Context(), "POST", url+"v1/order", "s")
			if status != tt.status || body != tt.body || (err != nil) != (tt.err != nil) {
				t.Errorf("%d %.60q %v, want %d %.60q %v", status, body, err, tt.status, tt.body, tt.err)
			}
			if tt.header[0] != "" && header.Get(tt.header[0]) != tt.header[1] {
				t.Errorf("header %v, want %v", header, tt.header)
			}
			if err := e.WaitAnswered(within(t), "order", 1); err != nil {
				t.Fatal(err)
			}
			if n := e.Effects("order"); n != tt.effects {
				t.Errorf("%d effects, want %d", n, tt.effects)
			}
			if status, _, _, err := call(t.Context(), "POST", url+"v1/order", "s"); status != 201 || err != nil {
				t.Errorf("the fault for one call disturbed the next: %d %v", status, err)
			}
		})
	}
}

func TestFaultsAreTakenInOrder(t *testing.T) {
	t.Parallel()
	e, url := newAcme(t)
	e.Inject(
		sandbox.Fault{Op: "show", Status: 418},
		sandbox.Fault{
			Op:     "order",
			Skip:   1,
			Times:  2,
			Status: 500,
		},
		sandbox.Fault{Op: "order", Skip: 1, Status: 503},
	)
	var got []int
	for range 6 {
		status, _, _, err := call(t.Context(), "POST", url+"v1/order", "s")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, status)
	}
	// The first call uses up both skips: it passed the second fault, too.
	if want := []int{201, 500, 500, 503, 503, 503}; !slices.Equal(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	e.Clear("order")
	if status, _, _, err := call(t.Context(), "POST", url+"v1/order", "s"); status != 201 || err != nil {
		t.Errorf("after Clear: %d %v", status, err)
	}
	if left := e.Faults(); len(left) != 1 || left[0].Op != "show" {
		t.Errorf("armed %+v, want the one of show", left)
	}
}

func TestInjectRefusesWhatCannotHappen(t *testing.T) {
	t.Parallel()
	e, _ := newAcme(t)
	for _, f := range []sandbox.Fault{{Op: "ordre", Status: 500}, {Status: 100}, {Times: -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was armed", f)
				}
			}()
			e.Inject(f)
		}()
	}
}

func TestGateHoldsBeforeAndAfterTheEffect(t *testing.T) {
	t.Parallel()
	e, url := newAcme(t)
	before, after := e.Hold("order"), e.HoldAnswer("order")
	done := make(chan int, 1)
	go func() {
		status, _, _, _ := call(t.Context(), "POST", url+"v1/order", "s")
		done <- status
	}()
	if err := e.WaitCalls(within(t), "order", 1); err != nil {
		t.Fatal(err)
	}
	if n := e.Effects("order"); n != 0 {
		t.Errorf("%d effects behind the first gate", n)
	}
	before.Release()
	if err := e.WaitEffects(within(t), "order", 1); err != nil {
		t.Fatal(err)
	}
	if n := e.Answered("order"); n != 0 {
		t.Errorf("%d answers behind the second gate", n)
	}
	after.Release()
	after.Release()
	if status := <-done; status != 201 {
		t.Errorf("status %d", status)
	}
}

func TestAClientThatGoesAwayEndsItsCall(t *testing.T) {
	t.Parallel()
	for name, block := range map[string]func(e *sandbox.Engine){
		"gate":  func(e *sandbox.Engine) { e.Hold("order") },
		"delay": func(e *sandbox.Engine) { e.Inject(sandbox.Fault{Op: "order", Delay: time.Hour}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, url := newAcme(t)
			block(e)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _, _, _, _ = call(ctx, "POST", url+"v1/order", "s") }()
			if err := e.WaitCalls(within(t), "order", 1); err != nil {
				t.Fatal(err)
			}
			cancel()
			if err := e.WaitAnswered(within(t), "order", 1); err != nil {
				t.Fatal(err)
			}
			if n := e.Effects("order"); n != 0 {
				t.Errorf("%d effects of a call that was given up", n)
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	e, _ := newAcme(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.WaitCalls(ctx, "order", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestControlAPI(t *testing.T) {
	t.Parallel()
	e, url := newAcme(t)
	control := func(method, path, body string, want int) string {
		t.Helper()
		status, _, got, err := call(t.Context(), method, url+"_sandbox/"+path, body)
		if status != want || err != nil {
			t.Fatalf("%s %s: %d %q %v, want %d", method, path, status, got, err, want)
		}
		return got
	}
	control("POST", "faults", `{"op":"order","times":2,"status":503,"retryAfter":"1","delay":"1ms"}`, 204)
	if got := control("GET", "faults", "", 200); strings.TrimSpace(
		got,
	) != `[{"op":"order","times":2,"status":503,"retryAfter":"1","delay":"1ms"}]` {
		t.Errorf("armed %s", got)
	}
	if status, _, _, err := call(t.Context(), "POST", url+"v1/order", "s"); status != 503 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	control("DELETE", "faults?op=order", "", 204)
	if status, _, _, err := call(t.Context(), "POST", url+"v1/order", "s"); status != 201 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	var counts sandbox.Counts
	if err := json.Unmarshal([]byte(control("GET", "counts", "", 200)), &counts); err != nil {
		t.Fatal(err)
	}
	if counts.Calls["order"] != 2 || counts.Effects["order"]["s"] != 1 {
		t.Errorf("counts %+v", counts)
	}
	control("POST", "reset", "", 204)
	if e.Calls("order") != 0 {
		t.Error("reset left the counts")
	}
	for _, bad := range []string{`{"op":"ordre"}`, `{"statsu":500}`, `{"delay":"long"}`, `{"status":99}`, `[]`, ``} {
		if got := control("POST", "faults", bad, 400); !strings.Contains(got, "error") {
			t.Errorf("%s: %s", bad, got)
		}
	}
	control("DELETE", "faults?op=ordre", "", 404)
	control("GET", "nothing", "", 404)
	if n := e.Calls(sandbox.Unrouted); n != 0 {
		t.Errorf("%d control calls were counted as the vendor's", n)
	}
}

func TestFaultJSONRoundTrip(t *testing.T) {
	t.Parallel()
	in := sandbox.Fault{
		Op:          "order",
		Times:       1,
		Skip:        2,
		AfterEffect: true,
		Status:      500,
		Header:      map[string]string{"A": "b"},
		RetryAfter:  "3",
		Body:        new("x"),
		HTML:        true,
		Code:        "06",
		Redirect:    "https://other.example/",
		Drop:        true,
		Truncate:    true,
		Oversized:   true,
		Slow:        time.Millisecond,
		ContentType: "text/plain",
		Delay:       time.Second,
		ExpireToken: true,
	}
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out sandbox.Fault
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(out)
	if err != nil || !bytes.Equal(raw, again) || out.Delay != time.Second || out.Slow != time.Millisecond ||
		*out.Body != "x" {
		t.Errorf("%s became %s, %v", raw, again, err)
	}
}
