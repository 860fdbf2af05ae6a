package broker

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
)

// recorder notes the scripts that a client calls, by the kinds of their keys, and what
// serverHook takes each for.
type recorder struct {
	hook *serverHook

	mu      sync.Mutex
	calls   []string        // name and arguments of every command
	scripts map[string]bool // "question: kinds of keys: digest"
	args    [][]any
}

func newRecorder(queue string) *recorder {
	d := &dispatch{queue: queue}
	return &recorder{hook: &serverHook{queues: map[string]*dispatch{asynqPrefix(queue): d}}, scripts: map[string]bool{}}
}

func (r *recorder) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.note(cmd)
		return next(ctx, cmd)
	}
}

func (r *recorder) note(cmd redis.Cmder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	args := cmd.Args()
	r.args = append(r.args, args)
	r.calls = append(r.calls, cmd.Name())
	if cmd.Name() != "evalsha" {
		return
	}
	_, question := r.hook.recognize(args)
	var kinds []string
	for _, key := range args[3 : 3+args[2].(int)] {
		kinds = append(kinds, kindOf(key.(string)))
	}
	digest, _ := args[1].(string)
	r.scripts[question+": "+strings.Join(kinds, " ")+": "+digest[:12]] = true
}

var (
	dated  = regexp.MustCompile(`:\d{4}-\d\d-\d\d$`)
	unique = regexp.MustCompile(`^unique:.*$`)
	task   = regexp.MustCompile(`^t:.+$`)
)

// kindOf is a key without the name of its queue, and of a task, a day or a server.
func kindOf(key string) string {
	if before, after, ok := strings.Cut(key, "}:"); ok && strings.HasPrefix(before, "asynq:{") {
		return task.ReplaceAllString(unique.ReplaceAllString(dated.ReplaceAllString(after, ":DAY"), "unique"), "t")
	}
	before, _, _ := strings.Cut(key, "{")
	return before
}

func (r *recorder) sorted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for s := range r.scripts {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// asynqsScripts are the scripts of asynq v0.26.0 that meet Errand's queues: what
// serverHook takes each for ("" if it goes to Redis), the kinds of its keys, and the
// start of its digest. When a line differs, asynq has changed: see doc.go.
var asynqsScripts = []string{
	": active lease completed t processed:DAY processed unique: ce6833ccce36",
	": active lease completed t processed:DAY processed: 117dca952700",
	": active lease pending t: f34cbfd11d1f",
	": active lease t processed:DAY processed unique: a2631c71357a",
	": active lease t processed:DAY processed: 1241eaa1c734",
	": active pending scheduled retry archived completed groups: 0c80fc1868e3",
	": active: e33b162cbcaa",
	": aggregation_sets: 7c08714194a1",
	"tell: asynq:servers: asynq:workers:: 3c8548ad44d0",
	": asynq:servers: asynq:workers:: 79cf8dbc80de",
	": completed: 49c4326d80c1",
	": pending active scheduled retry archived completed processed:DAY failed:DAY processed failed paused groups: 8495598cb6d9",
	": t active lease archived processed:DAY failed:DAY processed failed t:: 9c3b1eb9947c",
	": t active lease retry processed:DAY failed:DAY processed failed: 65fa409c8819",
	": t archived groups: c3183bd2c882",
	": t groups: ffa79e9140e5",
	": t pending groups: 2fb646810e34",
	": t pending: 98d28b426508",
	": t scheduled: 8ce6b38a99b7",
	": t: 1463a65d3fd6",
	": unique t pending: 297b3f9abfd9",
	": unique t scheduled: e9b8aa859a97",
	"dequeue: pending paused active lease: a8153319360a",
	"expired leases: lease: 16988a462595",
	"forward the others: retry pending: 522b1a6ae66f",
	"forward: scheduled pending: 522b1a6ae66f",
}

// Everything that asynq does with a queue is done with scripts that are known; a
// release that changes one is noticed here.
func TestAsynqsScripts(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	rec := newRecorder("q")
	rdb.AddHook(rec)
	client, inspector := asynq.NewClientFromRedisClient(rdb), asynq.NewInspectorFromRedisClient(rdb)
	enqueue := func(taskType string, options ...asynq.Option) string {
		t.Helper()
		info, err := client.Enqueue(asynq.NewTask(taskType, []byte(taskType)), append(options, asynq.Queue("q"))...)
		if err != nil {
			t.Fatal(err)
		}
		return info.ID
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	kept, lock := asynq.Retention(time.Hour), asynq.Unique(time.Hour)
	must(inspector.DeleteTask("q", enqueue("delete", lock)))
	scheduled := enqueue("scheduled", asynq.ProcessIn(time.Hour))
	must(inspector.ArchiveTask("q", scheduled))
	must(inspector.RunTask("q", scheduled))
	must(inspector.ArchiveTask("q", scheduled))
	enqueue("scheduled-unique", asynq.ProcessIn(time.Hour), lock)
	for _, n := range []string{"done", "done-unique", "complete", "complete-unique"} {
		var options []asynq.Option
		if strings.HasPrefix(n, "complete") {
			options = append(options, kept)
		}
		if strings.HasSuffix(n, "unique") {
			options = append(options, lock)
		}
		enqueue(n, options...)
	}
	retried, archived := enqueue("retry"), enqueue("archive")
	held := make(chan struct{})
	defer close(held)
	hung := make(chan struct{}, 1)
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Concurrency: 1, Queues: map[string]int{"q": 1}, TaskCheckInterval: 10 * time.Millisecond,
		DelayedTaskCheckInterval: 20 * time.Millisecond, JanitorInterval: 50 * time.Millisecond,
		ShutdownTimeout: 10 * time.Millisecond, LogLevel: asynq.FatalLevel,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return time.Hour },
	})
	must(server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
		switch task.Type() {
		case "retry":
			return errors.New("again")
		case "archive":
			return asynq.SkipRetry
		case "hang":
			hung <- struct{}{}
			<-held
		}
		return nil
	})))
	testwait.Eventually(t, testwait.Limit, "the tasks are settled", func() bool {
		a, err1 := inspector.GetTaskInfo("q", retried)
		b, err2 := inspector.GetTaskInfo("q", archived)
		return err1 == nil && err2 == nil && a.State == asynq.TaskStateRetry && b.State == asynq.TaskStateArchived
	})
	enqueue("hang")
	<-hung
	_, err := inspector.GetQueueInfo("q")
	must(err)
	_, err = inspector.ListActiveTasks("q")
	must(err)
	testwait.Poll(20*time.Second, func() bool { // what asynq does now and then; a stop does the last two
		return len(difference(asynqsScripts, rec.sorted())) <= 2
	})
	server.Shutdown()
	for _, missing := range difference(asynqsScripts, rec.sorted()) {
		t.Error("asynq does not call " + missing)
	}
	for _, unknown := range difference(rec.sorted(), asynqsScripts) {
		t.Error("asynq calls " + unknown)
	}
}

func difference(a, b []string) (only []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			only = append(only, s)
		}
	}
	return only
}

// The message of a task is what asynq's client would have encoded of it, byte for byte.
func TestTheMessageIsAsAsynqsClientEncodesIt(t *testing.T) {
	t.Parallel()
	server := redistest.New(t)
	rdb, ctx := server.Client(), t.Context()
	job := Job{
		Type:    "a:b",
		Payload: []byte(`{"x":1}`),
		Policy:  Policy{Queue: "q", Budget: 90 * time.Minute, Retention: 25 * time.Hour},
	}
	for name, job := range map[string]Job{
		"plain":            job,
		"expires":          {Type: "t", Payload: bytes.Repeat([]byte("x"), 300), Policy: job.Policy, ExpireAfter: time.Millisecond},
		"of no length":     {Type: "t", Policy: job.Policy},
		"kept for no time": {Type: "t", Payload: []byte("1"), Policy: Policy{Queue: "q", Retention: time.Millisecond}},
	} {
		id := "q_" + strings.ReplaceAll(name, " ", "")
		task := asynq.NewTaskWithHeaders(job.Type, job.Payload, map[string]string{headerUsable: usable(&job).String()})
		if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(task, asynq.Queue("q"), asynq.TaskID(id), asynq.MaxRetry(neverRetry),
			asynq.Timeout(slotTimeout), asynq.Retention(job.Policy.Retention)); err != nil {
			t.Fatal(err)
		}
		want := rdb.HGet(ctx, "asynq:{q}:t:"+id, "msg").Val()
		if got := string(newMessage(id, &job, job.Payload, "")); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// The fields of asynq's message, by what asynq's client and server write into them.
func TestTheFieldsOfAsynqsMessage(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t).Client()
	ctx := t.Context()
	deadline := time.Now().Add(time.Hour)
	task := asynq.NewTaskWithHeaders("a:b", []byte("payload"), map[string]string{"name": "text"})
	if _, err := asynq.NewClientFromRedisClient(rdb).Enqueue(task, asynq.Queue("q"), asynq.TaskID("id"), asynq.MaxRetry(5),
		asynq.Timeout(6*time.Second), asynq.Deadline(deadline), asynq.Retention(7*time.Second), asynq.Unique(time.Hour), asynq.Group("g")); err != nil {
		t.Fatal(err)
	}
	raw := message(rdb.HGet(ctx, "asynq:{q}:t:id", "msg").Val())
	// asynq's own reader of the message says what our changes mean.
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	read := func(m message) *asynq.TaskInfo {
		t.Helper()
		pipe := rdb.TxPipeline()
		pipe.HSet(ctx, "asynq:{q}:t:id", "msg", []byte(m), "state", "archived")
		pipe.ZAdd(ctx, "asynq:{q}:archived", redis.Z{Score: 1, Member: "id"})
		if _, err := pipe.Exec(ctx); err != nil {
			t.Fatal(err)
		}
		info, err := inspector.GetTaskInfo("q", "id")
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	before := read(raw)
	if before.Timeout != 6*time.Second || before.MaxRetry != 5 || before.Retention != 7*time.Second || before.Headers["name"] != "text" {
		t.Fatalf("asynq reads %+v", before)
	}
	if p, ok := raw.parts(); !ok || p.taskType != "a:b" || string(p.payload) != "payload" || p.headers["name"] != "text" || p.completed {
		t.Errorf("we read %+v", p)
	}
	at := time.Unix(1700000000, 0)
	completed := raw.completed(at, time.Minute)
	if got := read(completed); !got.CompletedAt.Equal(at) || got.Retention != time.Minute || got.MaxRetry != 5 || got.ID != "id" {
		t.Errorf("completed reads as %+v", got)
	}
	if p, _ := completed.parts(); !p.completed {
		t.Error("we do not see that asynq has completed it")
	}
	if got := read(raw.failed(at, "failed: why")); !got.LastFailedAt.Equal(at) || got.LastErr != "failed: why" || got.Queue != "q" {
		t.Errorf("failed reads as %+v", got)
	}
	adopted := read(raw.failed(at, "x").adopted(time.Minute))
	if adopted.MaxRetry != neverRetry || adopted.Timeout != slotTimeout || !adopted.Deadline.IsZero() || adopted.Retention != time.Minute ||
		adopted.Retried != 0 || adopted.Group != "g" || adopted.Headers["name"] != "text" || string(adopted.Payload) != "payload" || adopted.LastErr != "x" {
		t.Errorf("adopted reads as %+v", adopted)
	}
}
