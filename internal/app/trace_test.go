package app_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/operator"
	"errand.internal/internal/testwait"
	"errand.internal/internal/webtest"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// A traceparent of another program.
const (
	otherTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	otherParent = "00-" + otherTrace + "-00f067aa0ba902b7-01"
)

// caller is an application that records its own spans.
func caller(t *testing.T, c *apptest.Collector) *sdk.TracerProvider {
	t.Helper()
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(c.URL+"/v1/traces"))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return provider
}

// header returns the traceparent of the last request of an operation.
func header(t *testing.T, requests []sandbox.Request) string {
	t.Helper()
	if len(requests) == 0 {
		t.Fatal("the sandbox got no request")
	}
	return requests[len(requests)-1].Header.Get("traceparent")
}

// A trace leads from a Go caller to the vendor's request, by way of the token and the login
// that it took.
func TestATraceLeadsFromAGoCallerToTheVendor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("dinero")
	spans := apptest.NewCollector(t)
	f.Trace(spans)
	w := f.Start(t)
	ctx, root := caller(t, spans).Tracer("shop").Start(t.Context(), "checkout")
	ticket, err := tasks.Enqueue(ctx, w.Client, listContacts)
	if err != nil {
		t.Fatal(err)
	}
	root.End()
	if _, err := apptest.Wait(t, ticket); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil { // the last spans leave before it ends
		t.Fatal(err)
	}

	id := root.SpanContext().TraceID()
	want := `checkout
  enqueue dinero
    wait dinero
    attempt dinero
      token
        POST token
      GET api call
`
	if got := spans.Tree(id[:], nil); got != want {
		t.Fatalf("the trace is\n%swant\n%s", got, want)
	}
	call := spans.Wait(id[:], "GET api call")
	sent := header(t, f.dinero.Requests(dinerotest.OpContactFind))
	if want := "00-" + id.String() + "-" + hex.EncodeToString(call.GetSpanId()) + "-01"; sent != want {
		t.Errorf("the vendor got the traceparent %q, want %q", sent, want)
	}
	attempt := spans.Wait(id[:], "attempt dinero")
	for key, want := range map[string]string{
		"messaging.message.id":       ticket.ID,
		"messaging.destination.name": "dinero",
		"messaging.operation.type":   "process",
		"errand.task.type":           "dinero:api:call",
		"errand.task.outcome":        "done",
	} {
		if got := apptest.Attribute(attempt, key); got != want {
			t.Errorf("the attempt has %s %q, want %q", key, got, want)
		}
	}
	if len(attempt.GetLinks()) != 1 {
		t.Errorf("the attempt has the links %v, want one to what enqueued it", attempt.GetLinks())
	}
	w.Log.Wait(t, `"trace_id":"`+id.String()+`"`)
}

// A trace leads from curl to the vendor's request, and on to the receiver of the event. A
// traceparent that is none is ignored.
func TestATraceLeadsFromCurlToTheVendorAndTheEvent(t *testing.T) {
	t.Parallel()
	receiver := apptest.NewReceiver(t, http.StatusOK)
	f := newFixture(t)
	f.Only("danaconnect")
	f.Receive(receiver)
	spans := apptest.NewCollector(t)
	f.Trace(spans)
	f.Environ["API_ADDR"] = "127.0.0.1:0"
	f.Environ["API_KEYS"] = httpapi.Entry("shop", "errand_canary-shop")
	w := f.Start(t)
	post := func(traceparent string) string {
		t.Helper()
		payload, err := json.Marshal(otpFor("ana@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "curl", "-sS", "--fail-with-body",
			"http://"+w.API+"/v1/tasks/danaconnect:otp:send?wait=20s&notify=true",
			"-H", "Authorization: Bearer errand_canary-shop",
			"-H", "traceparent: "+traceparent, "-d", string(payload)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"outcome":"done"`) {
			t.Fatalf("%v: %s", err, out)
		}
		return header(t, f.danaconnect.Requests("send"))
	}
	sent := post(otherParent)
	if e := receiver.Next(); e.Data["traceId"] != otherTrace {
		t.Errorf("event %+v, want the trace %s", e, otherTrace)
	}
	if got := receiver.Traceparent(); !strings.HasPrefix(got, "00-"+otherTrace+"-") {
		t.Errorf("the event came with the traceparent %q", got)
	}
	for _, malformed := range []string{"00-" + otherTrace + "-0000000000000000-01", "canary", "00-xyz-00f067aa0ba902b7-01"} {
		if got := post(malformed); !strings.HasPrefix(got, "00-") || strings.Contains(got, otherTrace) {
			t.Errorf("with the traceparent %q the vendor got %q, want another trace", malformed, got)
		}
		receiver.Next()
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}

	id, err := hex.DecodeString(otherTrace)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := hex.DecodeString("00f067aa0ba902b7")
	if err != nil {
		t.Fatal(err)
	}
	want := `POST /v1/tasks/{type}
  enqueue otp
    wait otp
    attempt otp
      POST otp send
      wait events
      attempt events
        POST deliver
`
	if got := spans.Tree(id, remote); got != want {
		t.Fatalf("the trace is\n%swant\n%s", got, want)
	}
	call := spans.Wait(id, "POST otp send")
	if want := "00-" + otherTrace + "-" + hex.EncodeToString(call.GetSpanId()) + "-01"; sent != want {
		t.Errorf("the vendor got the traceparent %q, want %q", sent, want)
	}
}

// A worker without a collector passes the trace on, and a task without a trace has none.
func TestATracePassesAWorkerThatRecordsNone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("danaconnect")
	w := f.Start(t)
	if _, err := apptest.Run(t, w, otpFor("ana@example.com")); err != nil {
		t.Fatal(err)
	}
	if got := header(t, f.danaconnect.Requests("send")); got != "" {
		t.Errorf("the request of a task without a trace has the traceparent %q", got)
	}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID:    trace.TraceID{1},
		SpanID:     trace.SpanID{2},
		TraceFlags: trace.FlagsSampled,
	}))
	ticket, err := tasks.Enqueue(ctx, w.Client, otpFor("ana@example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, ticket); err != nil {
		t.Fatal(err)
	}
	const want = "00-01000000000000000000000000000000-0200000000000000-01"
	if got := header(t, f.danaconnect.Requests("send")); got != want {
		t.Errorf("the vendor got the traceparent %q, want %q", got, want)
	}
}

// Every attempt of a task is a span beside the others, under what enqueued it.
func TestTheAttemptsOfATaskStandSideBySide(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("dinero")
	f.Environ["DINERO_BREAKER"] = "off" // it would hold the second attempt back
	spans := apptest.NewCollector(t)
	f.Trace(spans)
	w := f.Start(t)
	f.dinero.Inject(sandbox.Fault{Op: dinerotest.OpContactFind, Status: http.StatusServiceUnavailable, Times: 1})
	ctx, root := caller(t, spans).Tracer("shop").Start(t.Context(), "checkout")
	ticket, err := tasks.Enqueue(ctx, w.Client, listContacts)
	root.End()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := apptest.Wait(t, ticket); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	id := root.SpanContext().TraceID()
	want := `checkout
  enqueue dinero
    wait dinero
    attempt dinero
      token
        POST token
      GET api call
    attempt dinero
      token
      GET api call
`
	if got := spans.Tree(id[:], nil); got != want {
		t.Fatalf("the trace is\n%swant\n%s", got, want)
	}
	var ends []string
	for _, s := range spans.Spans(id[:]) {
		if s.GetName() == "attempt dinero" {
			ends = append(ends, apptest.Attribute(s, "error.type")+s.GetStatus().GetCode().String())
		}
	}
	if want := []string{"unknownSTATUS_CODE_ERROR", "STATUS_CODE_UNSET"}; !slices.Equal(ends, want) {
		t.Errorf("the attempts ended %q, want %q", ends, want)
	}
}

// A replay begins a trace of its own, which links to that of the dead letter: a producer's,
// or the one that the worker began.
func TestTheTraceOfAReplayLinksToTheDeadLetter(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Only("danaconnect")
	spans := apptest.NewCollector(t)
	f.Trace(spans)
	w := f.Start(t)
	ctx, root := caller(t, spans).Tracer("shop").Start(t.Context(), "checkout")
	root.End()
	wrong := otpFor("ana@example.com")
	wrong.IDConversation = 1
	var dead []string
	for _, ctx := range []context.Context{ctx, t.Context()} {
		ticket, err := tasks.Enqueue(ctx, w.Client, wrong)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := apptest.Wait(t, ticket); apptest.Outcome(err) != tasks.Invalid {
			t.Fatal(err)
		}
		dead = append(dead, ticket.ID)
	}
	o, err := operator.Open(t.Context(), f.Environ)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	replays := map[string]string{} // by dead letter
	_, err = o.Replay(t.Context(), operator.ReplayOrder{IDs: dead, Reason: "a test"}, func(r operator.Replayed) error {
		replays[r.ID] = r.Replay
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range replays {
		testwait.Eventually(t, time.Minute, "the replay ends", func() bool {
			status, err := w.Client.Status(t.Context(), id)
			return err == nil && status.Outcome == tasks.Invalid
		})
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	attempts := map[string]*tracepb.Span{} // by task
	for _, s := range spans.Spans(nil) {
		if s.GetName() == "attempt otp" {
			attempts[apptest.Attribute(s, "messaging.message.id")] = s
		}
	}
	if got := attempts[dead[0]].GetTraceId(); string(got) != string(traceOf(root)) {
		t.Errorf("the dead letter has the trace %x, want its producer's, %x", got, traceOf(root))
	}
	for _, id := range dead {
		old, replay := attempts[id], attempts[replays[id]]
		links := replay.GetLinks()
		if len(links) != 1 || string(links[0].GetTraceId()) != string(old.GetTraceId()) ||
			string(links[0].GetSpanId()) != string(old.GetSpanId()) {
			t.Errorf("the replay of %s has the links %v, want one to the span %x", id, links, old.GetSpanId())
		}
		if string(replay.GetTraceId()) == string(old.GetTraceId()) {
			t.Errorf("the replay of %s is part of its trace", id)
		}
	}
}

func traceOf(s trace.Span) []byte {
	id := s.SpanContext().TraceID()
	return id[:]
}

// Spans have no personal datum and no secret, whatever the tasks: their attributes are
// these, and no text of a payload or of a secret setting is sent.
func TestSpansHaveNoPersonalDatumAndNoSecret(t *testing.T) {
	t.Parallel()
	receiver := apptest.NewReceiver(t, http.StatusOK)
	f := newFixture(t)
	f.Receive(receiver)
	f.Environ["DCKAP_AUTH"] = "query"
	spans := apptest.NewCollector(t)
	f.Trace(spans)
	f.Environ["API_ADDR"] = "127.0.0.1:0"
	f.Environ["API_KEYS"] = httpapi.Entry("shop", "errand_canary-shop")
	w := f.Start(t)
	f.danaconnect.Inject(sandbox.Fault{Op: "send", Status: http.StatusInternalServerError, Times: 1})
	var personal []string
	for _, info := range all.Vendors.Types() {
		ticket, err := w.Client.EnqueuePayload(t.Context(), info.Example, tasks.Notify())
		if err != nil {
			t.Fatalf("%s: %v", info.Type, err)
		}
		if _, err := apptest.Wait(t, ticket); strings.HasPrefix(string(apptest.Outcome(err)), "error") {
			t.Fatalf("%s: %v", info.Type, err)
		}
		raw, err := json.Marshal(info.Example)
		if err != nil {
			t.Fatal(err)
		}
		personal = append(personal, texts(t, raw)...)
	}
	if err := exec.CommandContext(t.Context(), "curl", "-sS", "http://"+w.API+"/v1/tasks/canary-person?wait=1s",
		"-H", "Authorization: Bearer errand_canary-shop").Run(); err != nil {
		t.Fatal(err)
	}
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}

	known := []string{
		"errand.operation", "errand.task.attempt", "errand.task.class", "errand.task.outcome", "errand.task.type",
		"errand.vendor", "error.type", "http.request.method", "http.response.status_code", "http.route",
		"messaging.destination.name", "messaging.message.id", "messaging.operation.name", "messaging.operation.type",
		"messaging.system", "server.address", "server.port", "url.scheme",
	}
	found := map[string]bool{}
	for _, s := range spans.Spans(nil) {
		for _, a := range s.GetAttributes() {
			found[a.GetKey()] = true
		}
	}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, known) {
		t.Errorf("the spans have the attributes\n%q, want\n%q", got, known)
	}
	for name, value := range f.Environ {
		if value == "dinero" { // a secret of the sandbox, and the name of the vendor
			continue
		}
		if strings.HasSuffix(name, "_PASSWORD") || strings.HasSuffix(name, "_SECRET") || strings.HasSuffix(name, "_TOKEN") ||
			strings.HasSuffix(name, "_HASH") || strings.HasSuffix(name, "_USERNAME") || strings.HasSuffix(name, "_USER") {
			personal = append(personal, value)
		}
	}
	sent := spans.Raw()
	for _, text := range append(personal, "canary") {
		if strings.Contains(sent, text) {
			t.Errorf("the spans have the text %q", text)
		}
	}
	if len(personal) < 20 {
		t.Errorf("only %q were looked for", personal)
	}
}

// texts are the texts of a payload that name a person or a thing: those with a digit, a
// blank or an @.
func texts(t *testing.T, raw []byte) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	var found []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		case string:
			if len(v) >= 5 && strings.ContainsAny(v, "0123456789@ ") {
				found = append(found, v)
			}
		}
	}
	walk(v)
	return found
}

// A collector that is not there, or takes everything and answers nothing, delays no task,
// fails none, and does not keep the worker from stopping.
func TestADeadCollectorHarmsNoTask(t *testing.T) {
	t.Parallel()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() }) // its queue of connections takes them
	for name, addr := range map[string]string{"closed": webtest.Reserve(t).Addr, "silent": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.Only("danaconnect")
			f.Environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://" + addr
			w := f.Start(t)
			for range 5 {
				began := time.Now()
				if _, err := apptest.Run(t, w, otpFor("ana@example.com")); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("a task took %s", took)
				}
			}
			began := time.Now()
			if err := w.Stop(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the worker took %s to stop", took)
			}
		})
	}
}
