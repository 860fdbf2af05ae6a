package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"errand.internal/internal/broker"
	"errand.internal/internal/produce"
	"errand.internal/internal/record"
	"errand.internal/internal/secret"
	"errand.internal/tasks"
)

// Parts are what the interface works with.
type Parts struct {
	Client   *tasks.Client
	Registry prometheus.Registerer
	Log      zerolog.Logger
	// Tracer records a span of each call; nil for none.
	Tracer trace.Tracer
	// Used, if not nil, is told of each key that is used, once a day. It must be quick.
	Used func(key string)
	// Stopping ends once the worker stops: what waits then answers with what it has.
	Stopping context.Context
}

// api serves the calls.
type api struct {
	client   *tasks.Client
	gate     *gate
	metrics  *metrics
	tracer   trace.Tracer
	log      zerolog.Logger
	stopping context.Context
	// description is the OpenAPI description, and docs the page made of it.
	description []byte
	docs        []byte
}

// call is one call of the interface.
type call struct {
	method string
	path   string
	// name is its label in the metrics.
	name string
	// public calls need no key: they have nothing but what the source has.
	public bool
	serve  func(*request) error
}

// calls lists the calls.
func (a *api) calls() []call {
	return []call{
		{method: http.MethodPost, path: tasksPath + "/{type}", name: "enqueue", serve: a.enqueue},
		{method: http.MethodPost, path: tasksPath + ":bulk", name: "bulk", serve: a.bulk},
		{method: http.MethodGet, path: tasksPath + "/{id}", name: "status", serve: a.status},
		{method: http.MethodDelete, path: tasksPath + "/{id}", name: "cancel", serve: a.cancel},
		{method: http.MethodGet, path: "/v1/types", name: "types", public: true, serve: a.types},
		{method: http.MethodGet, path: "/v1/openapi.json", name: "description", public: true, serve: a.openAPI},
		{method: http.MethodGet, path: "/v1/docs", name: "docs", public: true, serve: a.page},
	}
}

const tasksPath = "/v1/tasks"

// API is the interface as an http.Handler.
type API struct {
	http.Handler
	gate *gate
}

// SetKeys replaces the keys, those of Config.Keys. A wrong list changes nothing.
func (a *API) SetKeys(list secret.String) error {
	return a.gate.setKeys(list)
}

// New returns the interface. Config must be valid.
func New(cfg Config, parts Parts) (*API, error) {
	a := &api{
		client:   parts.Client,
		tracer:   parts.Tracer,
		log:      parts.Log,
		stopping: parts.Stopping,
	}
	if err := a.describe(); err != nil {
		return nil, err
	}
	calls := a.calls()
	names := make([]string, len(calls))
	for i, c := range calls {
		names[i] = c.name
	}
	a.metrics = newMetrics(parts.Registry, names)
	a.gate = newGate(cfg, a.metrics, func(remote string) {
		a.log.Warn().Str("remote", remote).Msg("a request of the HTTP interface has a wrong API key, or none; refused")
	})
	a.gate.used = parts.Used
	if err := a.gate.setKeys(cfg.Keys); err != nil {
		return nil, err
	}
	return &API{Handler: a.routes(calls), gate: a.gate}, nil
}

// routes leads each request to its call, and every other one to a problem.
func (a *api) routes(calls []call) http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, c := range calls {
		mux.HandleFunc(c.method+" "+c.path, a.handler(c))
		// The mux takes {type} and {id} for one.
		path := strings.ReplaceAll(c.path, "{type}", "{id}")
		methods[path] = append(methods[path], c.method)
	}
	for path, allowed := range methods {
		list := strings.Join(allowed, ", ")
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", list)
			problem(http.StatusMethodNotAllowed, "method", "there are "+list+" here").write(w)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		problem(http.StatusNotFound, "not-found", "there is nothing here; GET /v1/docs lists the calls").write(w)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Cache-Control"] = noStore
		h["X-Content-Type-Options"] = noSniff
		mux.ServeHTTP(w, r)
	})
}

// The values of headers that every answer shares.
var (
	noStore  = []string{"no-store"}
	noSniff  = []string{"nosniff"}
	jsonType = []string{"application/json"}
)

// request is a request with its answer and its key.
type request struct {
	*http.Request
	w      answer
	client *client
	ctx    context.Context // the request's own, with its trace
}

// answer remembers the status.
type answer struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *answer) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController access to the connection.
func (w *answer) Unwrap() http.ResponseWriter {
	return w.ResponseWriter
}

// json writes an answer.
func (w *answer) json(status int, v any) {
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	writeJSON(w, v)
}

// handler returns the handler of a call: it finds the key, calls, and counts.
func (a *api) handler(c call) http.HandlerFunc {
	counted := a.metrics.of(c.name)
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, span := a.trace(r.Context(), c, r)
		q := &request{
			Request: r,
			w:       answer{ResponseWriter: w},
			ctx:     ctx,
		}
		who := "-"
		defer func() {
			endTrace(span, q.w.status)
			counted.observe(who, q.w.status, time.Since(began))
		}()
		if !c.public {
			allowed, refusal := a.gate.open(r)
			if refusal != nil {
				refusal.write(&q.w)
				return
			}
			who = allowed.name
			if refusal, reason := allowed.admit(began); refusal != nil {
				a.metrics.refused.WithLabelValues(reason).Inc()
				refusal.write(&q.w)
				return
			}
			defer allowed.leave()
			q.client = allowed
		}
		if err := serve(c, q); err != nil {
			a.fail(q, c, err)
		}
	}
}

// untilStop returns the context of what may take long. It ends with the request, and once
// the worker stops: a waiting request answers before the worker is gone.
func (a *api) untilStop(q *request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(q.ctx)
	detach := context.AfterFunc(a.stopping, cancel)
	return ctx, func() {
		detach()
		cancel()
	}
}

// serve calls, and turns a panic into an error.
func serve(c call, q *request) (err error) {
	defer produce.RecoverPanic(&err)
	return c.serve(q)
}

// fail answers with the problem of an error, unless the answer has begun.
func (a *api) fail(q *request, c call, err error) {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		a.log.Warn().Err(err).Str("call", c.name).Int("status", p.Status).Msg("a call of the HTTP interface failed")
	}
	if q.w.status == 0 {
		p.write(&q.w)
	}
}

// KeyUser is how the audit names a key.
func KeyUser(key string) string {
	return "key " + key
}

// by notes whose the task is.
func by(name string) tasks.Option {
	return func(j *broker.Job) { j.By = name }
}

// types answers with all task types.
func (a *api) types(q *request) error {
	described := describedTypes()
	if faults := newParameters(q.Request).end(); len(faults) > 0 {
		return invalid(faults...)
	}
	q.w.json(http.StatusOK, described)
	return nil
}

// errNotOurs answers what another key has enqueued as if it did not exist.
var errNotOurs = tasks.ErrNotFound

// mayRead reports whether the key of a request may read a task.
func (q *request) mayRead(s *tasks.Status) bool {
	return s.By == q.client.name || q.client.readAll
}

// find reads the status of the task that the path names.
func (a *api) find(q *request) (*tasks.Status, error) {
	ctx, cancel := context.WithTimeout(q.ctx, produce.StoreTimeout)
	defer cancel()
	status, err := a.client.Status(ctx, q.PathValue("id"))
	if status == nil {
		return nil, err
	}
	return status, nil // its data may be sealed with another key
}

// status answers with a task, after waiting for its end if that is asked for.
func (a *api) status(q *request) error {
	p := newParameters(q.Request)
	wait := p.wait()
	if faults := p.end(); len(faults) > 0 {
		return invalid(faults...)
	}
	status, err := a.find(q)
	if err != nil {
		return err
	}
	if !q.mayRead(status) {
		return errNotOurs
	}
	if wait > 0 && status.State != tasks.Ended {
		if later, _ := a.wait(q, status.ID, wait); later != nil {
			status = later
		}
	}
	r := &produce.Report{ID: status.ID}
	r.SetStatus(status)
	r.SetHistory(status)
	q.w.json(http.StatusOK, r)
	return nil
}

// cancel cancels a task of the key's own that was never attempted.
func (a *api) cancel(q *request) error {
	if faults := newParameters(q.Request).end(); len(faults) > 0 {
		return invalid(faults...)
	}
	status, err := a.find(q)
	if err != nil {
		return err
	}
	if status.By != q.client.name {
		return errNotOurs
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(q.ctx), produce.StoreTimeout)
	defer stop()
	if err := a.client.Cancel(record.WithWho(ctx, KeyUser(q.client.name)), status.ID); err != nil {
		return err
	}
	r := &produce.Report{ID: status.ID}
	if after, _ := a.client.Status(ctx, status.ID); after != nil {
		r.SetStatus(after)
	} else { // Redis went away in between
		status.State, status.Outcome = tasks.Ended, tasks.Cancelled
		r.SetStatus(status)
	}
	q.w.json(http.StatusOK, r)
	return nil
}

// isTimeout reports whether an error is about a deadline.
func isTimeout(err error) bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && timeout.Timeout()
}
