package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// Tasks does what the buttons ask for (broker.Operator). What cannot be done is a
// *broker.RefusedError; record.ErrNotFound says that there is no such task or queue.
type Tasks interface {
	Delete(ctx context.Context, queue, id string) error
	Archive(ctx context.Context, queue, id string) error
	Run(ctx context.Context, queue, id string) error
	Cancel(ctx context.Context, queue, id string) error
	Pause(ctx context.Context, queue string, paused bool) error
	List(ctx context.Context, queue, state string) ([]string, error)
	Attempts(ctx context.Context, queue string, ids []string) (map[string]int64, error)
	// Act writes a line of the operators' log.
	Act(ctx context.Context, a record.Action) error
}

// change is a request to change tasks or a queue.
//
//	POST   /api/queues/{queue}:pause, :resume
//	DELETE /api/queues/{queue}/{state}_tasks/{id}
//	POST   /api/queues/{queue}/{state}_tasks/{id}:{archive,run,cancel}
//	DELETE /api/queues/{queue}/{state}_tasks:delete_all
//	POST   /api/queues/{queue}/{state}_tasks:{archive,run,cancel}_all
//	POST   /api/queues/{queue}/{state}_tasks:batch_{delete,archive,run,cancel}    {"task_ids": [...]}
type change struct {
	queue  string
	state  string
	action string
	// id is that of one task; all and batch are for several.
	id    string
	all   bool
	batch bool
}

// readChange reports false for a request that changes nothing that Errand keeps.
func readChange(r *http.Request) (c change, ok bool) {
	path, found := strings.CutPrefix(r.URL.Path, uiAPI+"queues/")
	if !found || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return change{}, false
	}
	queue, list, found := strings.Cut(path, "/")
	if !found {
		queue, action, found := strings.Cut(path, ":")
		return change{queue: queue, action: action}, found && (action == "pause" || action == "resume")
	}
	state, rest, found := strings.Cut(list, "_tasks")
	if !found {
		return change{}, false
	}
	c = change{
		queue: queue,
		state: state[strings.LastIndexByte(state, '/')+1:], // groups/{group}/aggregating
	}
	if id, one := strings.CutPrefix(rest, "/"); one {
		c.id, c.action = id, "delete"
		if i := strings.LastIndexByte(id, ':'); i >= 0 && r.Method == http.MethodPost {
			c.id, c.action = id[:i], id[i+1:]
		}
		return c, c.id != ""
	}
	action, found := strings.CutPrefix(rest, ":")
	if !found {
		return change{}, false
	}
	if c.action, c.all = strings.CutSuffix(action, "_all"); !c.all {
		c.action, c.batch = strings.CutPrefix(action, "batch_")
	}
	return c, c.all || c.batch
}

// results names the members of asynqmon's answers about several tasks.
var results = map[string]struct{ count, done, failed string }{
	"delete":  {"deleted", "deleted_ids", "failed_ids"},
	"archive": {"archived", "archived_ids", "error_ids"},
	"run":     {"scheduled", "pending_ids", "error_ids"},
	"cancel":  {"", "canceled_ids", "error_ids"},
}

// changes has the buttons change the record of each task and its place in the queue
// together. asynqmon would change its own copy only, and answer that all was done.
func changes(tasks Tasks, log zerolog.Logger, next http.Handler) http.Handler {
	if tasks == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := changeHandler{tasks: tasks, who: clickedBy(r)}
		h.log = log.With().Str("who", h.who).Logger()
		c, ok := readChange(r)
		switch {
		case ok:
			h.change = c
			h.log = h.log.With().Str("queue", c.queue).Str("action", c.action).Logger()
			h.serve(w, r)
		case r.Method == http.MethodGet, r.Method == http.MethodHead, r.Method == http.MethodOptions:
			next.ServeHTTP(w, r)
		default: // of what Errand does not keep, such as an empty queue
			answered := &statusWriter{ResponseWriter: w, status: http.StatusOK}
			next.ServeHTTP(answered, r)
			h.audit(r.Context(), strings.ToLower(r.Method), r.URL.Path, http.StatusText(answered.status))
		}
	})
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// clickedBy says who used a button, as far as it is known.
func clickedBy(r *http.Request) string {
	if user, _, ok := r.BasicAuth(); ok {
		return "web UI (" + user + ")"
	}
	return "web UI (" + clientOf(r).Addr().String() + ")"
}

type changeHandler struct {
	change
	tasks Tasks
	who   string
	log   zerolog.Logger
}

// audit writes a line of the operators' log. What was done stays done without it.
func (h changeHandler) audit(ctx context.Context, verb, target, result string) {
	err := h.tasks.Act(context.WithoutCancel(ctx), record.Action{
		Who:    h.who,
		Verb:   verb,
		Target: target,
		Result: result,
	})
	if err != nil {
		h.log.Error().Err(err).Str("target", target).Msg("the audit does not have what was done in the web UI")
	}
}

func (h changeHandler) serve(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if h.state == "" {
		h.answer(w, r, h.tasks.Pause(ctx, h.queue, h.action == "pause"))
		return
	}
	do := map[string]func(ctx context.Context, queue, id string) error{
		"delete":  h.tasks.Delete,
		"archive": h.tasks.Archive,
		"run":     h.tasks.Run,
		"cancel":  h.tasks.Cancel,
	}[h.action]
	if do == nil {
		http.NotFound(w, r)
		return
	}
	if h.id != "" {
		h.answer(w, r, do(ctx, h.queue, h.id))
		return
	}
	ids, err := h.several(ctx, r)
	if err != nil {
		h.fail(w, err)
		return
	}
	h.doAll(w, r, ids, do)
}

// several returns the tasks that a request is about.
func (h changeHandler) several(ctx context.Context, r *http.Request) ([]string, error) {
	if h.all {
		return h.tasks.List(ctx, h.queue, h.state)
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var body struct {
		TaskIDs []string `json:"task_ids"`
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		return nil, &badRequestError{err}
	}
	return body.TaskIDs, nil
}

// auditedIDs is how many tasks the audit names one by one.
const auditedIDs = 20

// doAll does it to each task. If none of several could be done it answers with the first
// reason; asynqmon's pages show the lists as they are then.
func (h changeHandler) doAll(
	w http.ResponseWriter,
	r *http.Request,
	ids []string,
	do func(ctx context.Context, queue, id string) error,
) {
	done, failed := []string{}, []string{}
	var first error
	for _, id := range ids {
		err := do(r.Context(), h.queue, id)
		switch {
		case err == nil:
			done = append(done, id)
			continue
		case first == nil:
			first = err
		}
		failed = append(failed, id)
	}
	h.log.Info().Int("done", len(done)).Int("failed", len(failed)).Msg("tasks changed in the web UI")
	if len(done) > 0 {
		target := fmt.Sprintf("%d %s tasks of %s", len(ids), h.state, h.queue)
		if len(ids) <= auditedIDs {
			target = strings.Join(ids, " ")
		}
		h.audit(r.Context(), h.action, target, fmt.Sprintf("%d done, %d refused", len(done), len(failed)))
	}
	if first != nil && len(done) == 0 {
		h.fail(w, first)
		return
	}
	names := results[h.action]
	body := map[string]any{names.done: done, names.failed: failed}
	if h.all {
		body = map[string]any{names.count: len(done)}
	}
	_ = json.NewEncoder(w).Encode(body)
}

// answer answers a change of one task, or of a queue.
func (h changeHandler) answer(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		h.fail(w, err)
		return
	}
	line := h.log.Info()
	target := h.queue
	if h.id != "" {
		line = line.Str("task_id", h.id)
		target = h.id
	}
	line.Msg("changed in the web UI")
	h.audit(r.Context(), h.action, target, "")
	w.WriteHeader(http.StatusNoContent)
}

type badRequestError struct{ error }

func (h changeHandler) fail(w http.ResponseWriter, err error) {
	refused, isRefused := errors.AsType[*broker.RefusedError](err)
	_, isBad := errors.AsType[*badRequestError](err)
	switch {
	case isRefused:
		http.Error(w, refused.Reason, http.StatusConflict)
	case errors.Is(err, record.ErrNotFound), errors.Is(err, record.ErrBadID):
		http.Error(w, "there is no such task or queue any more", http.StatusNotFound)
	case isBad:
		http.Error(w, "the body must be {\"task_ids\": [...]}", http.StatusBadRequest)
	default:
		h.log.Error().Err(err).Msg("not changed in the web UI")
		http.Error(w, "it could not be done: "+err.Error(), http.StatusServiceUnavailable)
	}
}
