package worker_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/clients"
	"errand.internal/internal/broker"
	"errand.internal/internal/monitor"
	"errand.internal/internal/record"
	"errand.internal/internal/testwait"
	"errand.internal/internal/webtest"
)

// tools are a running worker and what an operator has of asynq's: its web UI, and the
// inspector, which is all that its command line uses.
type tools struct {
	*rig
	server *broker.Server
	web    string
	ended  chan struct{} // ends the running tasks
}

func newTools(t *testing.T) *tools {
	t.Helper()
	ended := make(chan struct{})
	again := broker.Policy{Budget: 24 * time.Hour, Backoff: broker.Backoff{Base: time.Hour, Max: time.Hour}}
	returns := func(err error) handler {
		return func(context.Context, string) (any, error) { return nil, err }
	}
	tl := &tools{
		ended: ended,
		rig: newRig(
			t,
			define("t:done", broker.Policy{}, returns(nil)),
			define("t:invalid", broker.Policy{}, returns(fault(clients.Invalid, "no such conversation"))),
			define("t:again", again, returns(fault(clients.Temporary, "maintenance"))),
			define("t:held", broker.Policy{}, func(context.Context, string) (any, error) {
				<-ended
				return nil, nil
			}),
		),
	}
	tl.server = tl.serve()
	h, err := monitor.New(monitor.Config{}, monitor.Parts{
		Redis:   tl.ownClient(),
		Metrics: prometheus.NewRegistry(),
		Tasks:   tl.server.Operator(),
	})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	tl.web = web.URL + "/monitoring/api/queues/otp"
	return tl
}

// call calls the web UI's interface and returns the answer.
func (tl *tools) call(method, path string, ids ...string) (status int, body string) {
	tl.t.Helper()
	raw, err := json.Marshal(map[string][]string{"task_ids": ids})
	if err != nil {
		tl.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(tl.t.Context(), method, tl.web+path, strings.NewReader(string(raw)))
	if err != nil {
		tl.t.Fatal(err)
	}
	resp, err := webtest.Client.Do(req)
	if err != nil {
		tl.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tl.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// prepare brings a task into a state of asynq's, and returns its ID. A task is pending
// while the queue is paused.
func (tl *tools) prepare(state string) string {
	tl.t.Helper()
	key := func(j *broker.Job) { j.Key = rand.Text() }
	switch state {
	case "pending":
		if code, _ := tl.call(http.MethodPost, ":pause"); code != http.StatusNoContent {
			tl.t.Fatalf("pause: %d", code)
		}
		return tl.enqueue("t:done", key).ID
	case "scheduled":
		return tl.enqueue("t:done", key, func(j *broker.Job) { j.In = time.Hour }).ID
	case "retry":
		id := tl.enqueue("t:again", key).ID
		tl.await(id, record.Retrying)
		return id
	case "archived":
		id := tl.enqueue("t:invalid", key).ID
		tl.wait(id)
		return id
	case "completed":
		id := tl.enqueue("t:done", key).ID
		tl.wait(id)
		return id
	case "active":
		id := tl.enqueue("t:held", key).ID
		tl.await(id, record.Running)
		return id
	}
	tl.t.Fatalf("no way into the state %s", state)
	return ""
}

// says is asynq's state of a task.
func (tl *tools) says(id string) string {
	tl.t.Helper()
	info, err := tl.asynq.GetTaskInfo("otp", id)
	if err != nil {
		return "nothing"
	}
	return info.State.String()
}

// toolCases are what an operator may do to a task in each state, and what becomes of it.
var toolCases = []struct {
	state, action string
	// outcome is the task's, "" if it goes on as before.
	outcome record.Outcome
	// asynq is where asynq has it then.
	asynq string
	// taken: its key still leads to it.
	taken bool
}{
	{state: "pending", action: "delete", outcome: record.Cancelled, asynq: "nothing"},
	{state: "pending", action: "archive", outcome: record.Cancelled, asynq: "nothing"},
	{state: "scheduled", action: "delete", outcome: record.Cancelled, asynq: "nothing"},
	{state: "scheduled", action: "archive", outcome: record.Cancelled, asynq: "nothing"},
	{state: "scheduled", action: "run", asynq: "scheduled", taken: true}, // it is not due
	{state: "retry", action: "delete", outcome: record.Failed, asynq: "nothing"},
	{state: "retry", action: "archive", outcome: record.Failed, asynq: "archived"},
	{state: "retry", action: "run", asynq: "retry", taken: true}, // not before the vendor's time
	{state: "archived", action: "delete", outcome: record.Invalid, asynq: "nothing"},
	{state: "archived", action: "run", outcome: record.Invalid, asynq: "archived"}, // an end stands
	{state: "completed", action: "delete", outcome: record.Done, asynq: "nothing", taken: true},
	{state: "active", action: "cancel", asynq: "active", taken: true}, // a call is not broken off
}

// buttonCases are the buttons of the web UI on a task in each state, and what becomes of
// it.
var buttonCases = []struct {
	state, action string
	// refusal is a part of the sentence with which it is refused, "" if it is done.
	refusal string
	outcome record.Outcome
	asynq   string
	taken   bool
}{
	{state: "pending", action: "delete", outcome: record.Cancelled, asynq: "nothing"},
	{state: "pending", action: "archive", refusal: "was never attempted", asynq: "pending", taken: true},
	{state: "scheduled", action: "delete", outcome: record.Cancelled, asynq: "nothing"},
	{state: "scheduled", action: "archive", refusal: "was never attempted", asynq: "scheduled", taken: true},
	{state: "scheduled", action: "run", outcome: record.Done, asynq: "completed", taken: true},
	{state: "retry", action: "delete", outcome: record.Failed, asynq: "nothing"},
	{state: "retry", action: "archive", outcome: record.Failed, asynq: "archived"},
	{state: "retry", action: "run", asynq: "retry", taken: true},
	{state: "archived", action: "delete", outcome: record.Invalid, asynq: "nothing"},
	{state: "archived", action: "run", refusal: "has ended invalid", outcome: record.Invalid, asynq: "archived"},
	{state: "completed", action: "delete", outcome: record.Done, asynq: "nothing", taken: true},
	{state: "active", action: "cancel", refusal: "cannot be taken back", asynq: "active", taken: true},
}

// press sends what a button of the web UI sends, for one task, a batch, or all of the
// state, and returns the answer.
func (tl *tools) press(form, state, action, id string) (status int, body string) {
	tl.t.Helper()
	list := "/" + state + "_tasks"
	method, path := http.MethodPost, list+"/"+id+":"+action
	switch {
	case form == "batch":
		path = list + ":batch_" + action
	case action == "delete" && form == "all":
		method, path = http.MethodDelete, list+":delete_all"
	case form == "all":
		path = list + ":" + action + "_all"
	case action == "delete":
		method, path = http.MethodDelete, list+"/"+id
	}
	return tl.call(method, path, id)
}

// A button of the web UI does what it says, or answers 409 with a sentence and changes
// nothing: the record and the queue agree when it has answered, and the key is free if
// the task is gone.
func TestTheWebUIAgainstARunningWorker(t *testing.T) {
	t.Parallel()
	for _, tc := range buttonCases {
		t.Run(tc.state+", "+tc.action, func(t *testing.T) {
			t.Parallel()
			tl := newTools(t)
			for _, form := range []string{"one", "batch", "all"} {
				id := tl.prepare(tc.state)
				list := "/" + tc.state + "_tasks"
				if code, body := tl.call(http.MethodGet, list); code != http.StatusOK || !strings.Contains(body, id) {
					t.Errorf("the list: %d %s", code, body)
				}
				want := map[string]int{"one": http.StatusNoContent}[form]
				want = cmp.Or(want, http.StatusOK)
				if tc.refusal != "" {
					want = http.StatusConflict
				}
				code, body := tl.press(form, tc.state, tc.action, id)
				if code != want || !strings.Contains(body, tc.refusal) {
					t.Errorf("%s: %d %s, want %d %q", form, code, body, want, tc.refusal)
				}
				if tc.action != "run" {
					tl.check() // at once
				}
				if tc.state == "retry" && tc.action == "run" {
					testwait.Eventually(t, testwait.Limit, "it is attempted again", func() bool {
						got, err := tl.store.Get(t.Context(), id)
						return err == nil && got.State == record.Retrying && len(got.History) == 2
					})
				}
				tl.checkTool(id, tc.outcome, tc.asynq, tc.taken)
				tl.release(id)
			}
		})
	}
}

// The pages show how often Errand has attempted a task, not asynq's counter and its limit
// of 2147483647, and a queue can be paused and resumed twice.
func TestTheWebUIShowsAttempts(t *testing.T) {
	t.Parallel()
	tl := newTools(t)
	id := tl.prepare("retry")
	for _, path := range []string{"/retry_tasks", "/tasks/" + id} {
		code, body := tl.call(http.MethodGet, path)
		if code != http.StatusOK || !strings.Contains(body, `"max_retry":"∞"`) || !strings.Contains(body, `"retried":1`) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	for _, action := range []string{":pause", ":pause", ":resume", ":resume"} {
		if code, body := tl.call(http.MethodPost, action); code != http.StatusNoContent {
			t.Errorf("%s: %d %s", action, code, body)
		}
	}
	for path, want := range map[string]int{
		"/retry_tasks/otp_nosuchtask:run":     http.StatusNotFound,
		"/retry_tasks/otp_nosuchtask:archive": http.StatusNotFound,
		"/retry_tasks:batch_run":              http.StatusOK,
		"/retry_tasks:batch_explode":          http.StatusNotFound,
	} {
		if code, body := tl.call(http.MethodPost, path); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
	}
	if code, body := tl.call(http.MethodDelete, "/retry_tasks/otp_nosuchtask"); code != http.StatusNotFound {
		t.Errorf("delete: %d %s", code, body)
	}
}

// What may have happened, and what closes an access, keeps its pauses whatever button is
// pressed.
func TestRunKeepsThePausesThatMatter(t *testing.T) {
	t.Parallel()
	tl := newTools(t)
	id := tl.prepare("retry")
	tl.do("HSET", record.Key("otp", id), "doubt", "0")
	if code, body := tl.press("one", "retry", "run", id); code != http.StatusConflict || !strings.Contains(body, "may have happened") {
		t.Errorf("in doubt: %d %s", code, body)
	}
	tl.do("HDEL", record.Key("otp", id), "doubt")
	once := strings.Fields(client(tl.rig).HGet(t.Context(), record.Key("otp", id), "once").Val())
	role := once[6]
	once[6] = "closes"
	tl.do("HSET", record.Key("otp", id), "once", strings.Join(once, " "))
	if code, body := tl.press("one", "retry", "run", id); code != http.StatusConflict || !strings.Contains(body, "closes an access") {
		t.Errorf("closing: %d %s", code, body)
	}
	once[6] = role
	tl.do("HSET", record.Key("otp", id), "once", strings.Join(once, " "))
}

func (tl *tools) do(args ...any) {
	tl.t.Helper()
	if err := client(tl.rig).Do(tl.t.Context(), args...).Err(); err != nil {
		tl.t.Fatal(err)
	}
}

// The same with asynq's inspector: what it deletes or archives ends when the worker
// looks at the records.
func TestTheInspectorAgainstARunningWorker(t *testing.T) {
	t.Parallel()
	for _, tc := range toolCases {
		t.Run(tc.state+", "+tc.action, func(t *testing.T) {
			t.Parallel()
			tl := newTools(t)
			id := tl.prepare(tc.state)
			listed, err := tl.list(tc.state)
			if err != nil || !slices.ContainsFunc(listed, func(i *asynq.TaskInfo) bool { return i.ID == id }) {
				t.Errorf("the list has %d tasks, %v", len(listed), err)
			}
			switch tc.action {
			case "delete":
				err = tl.asynq.DeleteTask("otp", id)
			case "archive":
				err = tl.asynq.ArchiveTask("otp", id)
			case "run":
				err = tl.asynq.RunTask("otp", id)
			case "cancel":
				err = tl.asynq.CancelProcessing(id)
			}
			if err != nil {
				t.Errorf("%s: %v", tc.action, err)
			}
			if err := tl.server.EndForeign(t.Context(), "otp"); err != nil {
				t.Fatal(err)
			}
			tl.checkTool(id, tc.outcome, tc.asynq, tc.taken)
			tl.release(id)
		})
	}
}

func (tl *tools) list(state string) ([]*asynq.TaskInfo, error) {
	switch state {
	case "pending":
		return tl.asynq.ListPendingTasks("otp")
	case "scheduled":
		return tl.asynq.ListScheduledTasks("otp")
	case "retry":
		return tl.asynq.ListRetryTasks("otp")
	case "archived":
		return tl.asynq.ListArchivedTasks("otp")
	case "completed":
		return tl.asynq.ListCompletedTasks("otp")
	}
	return tl.asynq.ListActiveTasks("otp")
}

// checkTool asserts what has become of a task.
func (tl *tools) checkTool(id string, outcome record.Outcome, says string, taken bool) {
	tl.t.Helper()
	testwait.Eventually(tl.t, testwait.Limit, "asynq has the task in "+says, func() bool { return tl.says(id) == says })
	if got, err := tl.store.Get(tl.t.Context(), id); err != nil || got.Outcome != outcome {
		tl.t.Errorf("the record: %+v, %v; want the outcome %q", got, err, outcome)
	}
	tl.check()
	holder, _, _ := strings.Cut(client(tl.rig).Get(tl.t.Context(), tl.keyOf(id)).Val(), " ")
	if (holder == id) != taken {
		tl.t.Errorf("the key leads to %q; taken by the task: want %v", holder, taken)
	}
}

// keyOf is the name of the key that a task was enqueued with.
func (tl *tools) keyOf(id string) string {
	tl.t.Helper()
	fields := strings.Fields(client(tl.rig).HGet(tl.t.Context(), record.Key("otp", id), "once").Val())
	return record.Prefix("otp") + "key:" + fields[4]
}

// release lets the worker go on.
func (tl *tools) release(id string) {
	tl.t.Helper()
	if code, _ := tl.call(http.MethodPost, ":resume"); code != http.StatusNoContent {
		tl.t.Errorf("resume: %d", code)
	}
	// A task that is attempted again may be active as well, and waits for nobody.
	if got, err := tl.store.Get(tl.t.Context(), id); err == nil && got.Type == "t:held" {
		tl.ended <- struct{}{}
		if got := tl.wait(id); got.Outcome != record.Done {
			tl.t.Errorf("the cancelled task ended %s", got.Outcome)
		}
	}
}
