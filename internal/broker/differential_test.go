package broker_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/encoding/protowire"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
)

// twin is asynq's own queue in a Redis of its own, to which the same happens.
type twin struct {
	t     *testing.T
	rdb   *redis.Client
	asynq *asynq.Inspector
	id    string
}

// fails is an error that asynq's handler returns.
type fails struct {
	text string
	dead bool
}

func (f fails) Error() string        { return f.text }
func (f fails) Is(target error) bool { return f.dead && target == asynq.SkipRetry }

// enqueue enqueues what Errand has enqueued, with the same message.
func (w *twin) enqueue(r *rig, id string, options ...asynq.Option) {
	w.t.Helper()
	m := decoded(w.t, r.rdb.HGet(w.t.Context(), "asynq:{otp}:t:"+id, "msg").Val())
	headers := map[string]string{}
	for _, raw := range m[15] {
		entry := decoded(w.t, raw)
		headers[entry[1][0]] = entry[2][0]
	}
	task := asynq.NewTaskWithHeaders(m[1][0], []byte(m[2][0]), headers)
	w.id = id
	options = append([]asynq.Option{
		asynq.TaskID(id), asynq.Queue(queue), asynq.MaxRetry(math.MaxInt32), asynq.Timeout(time.Hour), asynq.Retention(time.Hour),
	}, options...)
	if _, err := asynq.NewClientFromRedisClient(w.rdb).Enqueue(task, options...); err != nil {
		w.t.Fatal(err)
	}
}

// serve runs asynq's server until it has brought about what the test waits for. during
// is called while the handler runs.
func (w *twin) serve(handler error, during func(), until func() bool) {
	w.t.Helper()
	own := redis.NewClient(w.rdb.Options())
	defer func() { _ = own.Close() }()
	s := asynq.NewServerFromRedisClient(own, asynq.Config{
		Concurrency: 1, Queues: map[string]int{queue: 1},
		TaskCheckInterval: 10 * time.Millisecond, DelayedTaskCheckInterval: 20 * time.Millisecond,
		RetryDelayFunc:  func(int, error, *asynq.Task) time.Duration { return time.Hour },
		IsFailure:       func(err error) bool { return errors.As(err, &fails{}) && strings.HasPrefix(err.Error(), "counted") },
		ShutdownTimeout: 10 * time.Millisecond, LogLevel: asynq.FatalLevel,
	})
	called, answer := make(chan struct{}, 1), make(chan struct{})
	defer close(answer)
	if err := s.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		called <- struct{}{}
		if during != nil {
			<-answer
		}
		return handler
	})); err != nil {
		w.t.Fatal(err)
	}
	if during != nil {
		<-called
		during()
	}
	if until != nil {
		testwait.Eventually(w.t, testwait.Limit, "asynq's server has done its step", until)
	}
	s.Shutdown()
}

// settle has asynq's handler return once.
func (w *twin) settle(err error, state asynq.TaskState) {
	w.t.Helper()
	w.serve(err, nil, func() bool {
		info, err := w.asynq.GetTaskInfo(queue, w.id)
		return err == nil && info.State == state
	})
}

// A step of ours leaves in asynq's keys what asynq's own step leaves there. What differs
// on purpose is named with each; and everywhere:
//   - times to run are by Redis' clock and in milliseconds, so that scores in scheduled
//     and retry have fractions;
//   - every task is kept after its end, so that asynq's step "done", which deletes, has
//     no counterpart.
func TestStepsLeaveWhatAsynqsLeave(t *testing.T) {
	t.Parallel()
	later := func(j *broker.Job) { j.In = time.Hour }
	notCounted := []string{
		"asynq:{otp}:failed: only asynq has it", "asynq:{otp}:failed:DAY: only asynq has it",
		"asynq:{otp}:processed: only asynq has it", "asynq:{otp}:processed:DAY: only asynq has it",
		"the task's field 6: asynq has 1, we have nothing",
	}
	for _, tc := range []struct {
		name  string
		job   func(*broker.Job)
		also  []asynq.Option
		ours  func(r *rig, id string)
		asynq func(w *twin)
		// differs are the intended differences.
		differs []string
	}{
		{name: "enqueue"},
		{name: "schedule", job: later, also: []asynq.Option{asynq.ProcessIn(time.Hour)}},
		{
			name: "dequeue", ours: func(r *rig, _ string) { r.take() },
			asynq: func(w *twin) {
				var active map[string]string
				w.serve(nil, func() { active = w.dump() }, nil)
				w.keep(active)
			},
			differs: []string{"asynq:{otp}:lease ID: only asynq has it"},
		},
		{
			name:  "dequeue from a paused queue",
			ours:  func(r *rig, _ string) { _ = r.asynq.PauseQueue(queue); r.takeNothing() },
			asynq: func(w *twin) { _ = w.asynq.PauseQueue(queue); w.serveALook() },
		},
		{
			name: "complete", ours: func(r *rig, _ string) { r.end(r.take(), ended(record.Done)) },
			asynq: func(w *twin) { w.settle(nil, asynq.TaskStateCompleted) },
			differs: []string{ // the payload is erased, and what only a task that runs needs
				"the task's field 15: asynq has \n\rerrand-usable\x12\x041m0s, we have nothing",
				"the task's field 2: asynq has \x00{\"x\":1}, we have nothing",
				"the task's field 5: asynq has 2147483647, we have nothing",
				"the task's field 8: asynq has 3600, we have nothing",
			},
		},
		{
			name:  "retry of what is no failure",
			ours:  func(r *rig, _ string) { r.end(r.take(), again(time.Hour)) },
			asynq: func(w *twin) { w.settle(fails{text: "retrying: maintenance"}, asynq.TaskStateRetry) },
		},
		{
			name: "retry of a failure", // asynq counts attempts, we count tasks; ours are in the record
			ours: func(r *rig, _ string) {
				result := again(time.Hour)
				result.Parked, result.Message = false, "maintenance"
				r.end(r.take(), result)
			},
			asynq: func(w *twin) { w.settle(fails{text: "counted"}, asynq.TaskStateRetry) },
			differs: append(slices.Clone(notCounted),
				"the task's field 7: asynq has counted, we have retrying: maintenance"),
		},
		{
			name: "park",
			ours: func(r *rig, _ string) { r.end(r.take(), parked("cred", time.Hour)) },
			asynq: func(w *twin) {
				w.settle(fails{text: "parked: no login"}, asynq.TaskStateRetry)
			},
		},
		{
			name: "archive",
			ours: func(r *rig, _ string) {
				result := ended(record.Failed)
				result.Message = "gave up"
				r.end(r.take(), result)
			},
			asynq: func(w *twin) { w.settle(fails{text: "failed: gave up", dead: true}, asynq.TaskStateArchived) },
		},
		{
			name: "requeue",
			ours: func(r *rig, id string) { r.take(); r.requeue(id, "w1", false) },
			asynq: func(w *twin) {
				w.serve(nil, func() {}, nil) // its stop requeues what still runs
			},
			differs: []string{"the task's pending_since: only we have it"}, // asynq's metrics then say 292 years
		},
		{
			name: "forward a scheduled one", job: later, also: []asynq.Option{asynq.ProcessIn(time.Hour)},
			ours: func(r *rig, id string) {
				r.due("scheduled", id)
				r.forwarded(1)
			},
			asynq: func(w *twin) { w.due("scheduled"); w.forwarded("pending") },
		},
		{
			name: "forward one of a group", job: later, also: []asynq.Option{asynq.ProcessIn(time.Hour)},
			ours: func(r *rig, id string) {
				r.rdb.HSet(context.Background(), "asynq:{otp}:t:"+id, "group", "g1")
				r.due("scheduled", id)
				r.forwarded(1)
			},
			asynq: func(w *twin) {
				w.rdb.HSet(context.Background(), "asynq:{otp}:t:"+w.id, "group", "g1")
				w.due("scheduled")
				w.forwarded("aggregating")
			},
		},
		{
			name: "forward a retry",
			ours: func(r *rig, id string) {
				r.end(r.take(), again(time.Hour))
				r.due("retry", id)
				r.forwarded(1)
			},
			asynq: func(w *twin) {
				w.settle(fails{text: "retrying: maintenance"}, asynq.TaskStateRetry)
				w.due("retry")
				w.forwarded("pending")
			},
		},
		{
			name: "forward nothing", job: later, also: []asynq.Option{asynq.ProcessIn(time.Hour)},
			ours:  func(r *rig, _ string) { r.forwarded(0) },
			asynq: func(w *twin) { w.serveALook() },
		},
		{
			name: "wake", // is asynq's Run of a task in retry
			ours: func(r *rig, _ string) {
				r.end(r.take(), parked("cred", time.Hour))
				if n, err := r.server("w1").Wake(context.Background(), queue, "cred", 1); n != 1 || err != nil {
					r.t.Errorf("woke %d, %v", n, err)
				}
			},
			asynq: func(w *twin) {
				w.settle(fails{text: "parked: no login"}, asynq.TaskStateRetry)
				w.must(w.asynq.RunTask(queue, w.id))
			},
			differs: []string{"the task's pending_since: only we have it"},
		},
		{
			name: "cancel a pending one", ours: func(r *rig, id string) { r.cancel(id) },
			asynq: func(w *twin) { w.must(w.asynq.DeleteTask(queue, w.id)) },
		},
		{
			name: "cancel a scheduled one", job: later, also: []asynq.Option{asynq.ProcessIn(time.Hour)},
			ours:  func(r *rig, id string) { r.cancel(id) },
			asynq: func(w *twin) { w.must(w.asynq.DeleteTask(queue, w.id)) },
		},
		{
			name: "cancel a parked one", ours: func(r *rig, id string) { r.end(r.take(), parked("cred", time.Hour)); r.cancel(id) },
			asynq: func(w *twin) {
				w.settle(fails{text: "parked: no login"}, asynq.TaskStateRetry)
				w.must(w.asynq.DeleteTask(queue, w.id))
			},
		},
		{
			name: "run, whose time it is not", // the task goes back to its time, where asynq runs it
			ours: func(r *rig, id string) {
				r.end(r.take(), again(time.Hour))
				if err := r.asynq.RunTask(queue, id); err != nil {
					r.t.Error(err)
				}
				r.takeNothing()
			},
			asynq: func(w *twin) { w.settle(fails{text: "retrying: maintenance"}, asynq.TaskStateRetry) },
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := &twin{t: t, rdb: redistest.New(t).Client()}
			w.asynq = asynq.NewInspectorFromRedisClient(w.rdb)
			job := tc.job
			if job == nil {
				job = func(*broker.Job) {}
			}
			id := r.enqueue(job).ID
			w.enqueue(r, id, tc.also...)
			if tc.ours != nil {
				tc.ours(r, id)
				tc.asynq(w)
			}
			got := notSince(differences(t, w.dump(), dump(t, r.rdb, id)), tc.differs)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], id, "ID")
			}
			want := slices.Clone(tc.differs)
			slices.Sort(want)
			if !slices.Equal(got, want) && len(got)+len(want) > 0 {
				t.Errorf("the differences are\n\t%s\nintended are\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
		})
	}
}

// notSince leaves out that the take keeps pending_since, which asynq deletes: nobody
// reads it of a task that is not pending, and who makes it pending writes it anew.
func notSince(differences, intended []string) []string {
	const since = "the task's pending_since: only we have it"
	return slices.DeleteFunc(differences, func(d string) bool {
		return d == since && !slices.Contains(intended, since)
	})
}

// A task with a unique lock, which only a plain asynq client can have enqueued: it ends
// as asynq ends it.
func TestAnAdoptedTaskEndsAsAsynqs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		result broker.Result
		asynq  error
		state  asynq.TaskState
		// differs: asynq keeps the lock of an archived task until its time is up.
		differs []string
	}{
		{name: "done", result: ended(record.Done), state: asynq.TaskStateCompleted},
		{name: "retry", result: again(time.Hour), asynq: fails{text: "retrying: maintenance"}, state: asynq.TaskStateRetry},
		{
			name: "dead", result: ended(record.Failed), asynq: fails{text: "failed: ", dead: true}, state: asynq.TaskStateArchived,
			differs: []string{"asynq:{otp}:unique: only asynq has it"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			w := &twin{t: t, rdb: redistest.New(t).Client(), id: "otp_plain"}
			w.asynq = asynq.NewInspectorFromRedisClient(w.rdb)
			for _, rdb := range []*redis.Client{r.rdb, w.rdb} {
				_, err := asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("a:b", []byte(`{}`)), asynq.TaskID(w.id), asynq.Queue(queue),
					asynq.MaxRetry(math.MaxInt32), asynq.Timeout(time.Hour), asynq.Retention(time.Hour), asynq.Unique(time.Hour))
				w.must(err)
			}
			w.must(r.take().Adopt(sample().Policy, false))
			r.end(r.take(), tc.result)
			w.settle(tc.asynq, tc.state)
			if got := notSince(differences(t, w.dump(), dump(t, r.rdb, w.id)), nil); !slices.Equal(got, tc.differs) {
				t.Errorf("the differences are %q, intended are %q", got, tc.differs)
			}
		})
	}
}

func (r *rig) cancel(id string) {
	r.t.Helper()
	if err := r.producer.Cancel(r.t.Context(), id); err != nil {
		r.t.Fatal(err)
	}
}

// due lets the time of a task come by which asynq's sets are sorted.
func (r *rig) due(set, id string) {
	r.rdb.ZAdd(r.t.Context(), "asynq:{otp}:"+set, redis.Z{Score: float64(r.now().Unix() - 10), Member: id})
}

func (r *rig) forwarded(want int64) {
	r.t.Helper()
	if n, err := r.server("w1").Forward(r.t.Context(), queue); n != want || err != nil {
		r.t.Errorf("forwarded %d, %v; want %d", n, err, want)
	}
}

func (w *twin) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *twin) due(set string) {
	w.rdb.ZAdd(w.t.Context(), "asynq:{otp}:"+set, redis.Z{Score: float64(time.Now().Unix() - 10), Member: w.id})
}

// forwarded has asynq's server forward a task, and not run it.
func (w *twin) forwarded(state string) {
	w.t.Helper()
	w.must(w.asynq.PauseQueue(queue))
	w.serve(nil, nil, func() bool { return w.rdb.HGet(w.t.Context(), "asynq:{otp}:t:"+w.id, "state").Val() == state })
	w.must(w.asynq.UnpauseQueue(queue))
}

// serveALook has asynq's server look for work, and find none.
func (w *twin) serveALook() {
	w.t.Helper()
	evals := func() int64 {
		info := w.rdb.Info(w.t.Context(), "commandstats").Val()
		if !strings.Contains(info, "cmdstat_evalsha:") {
			return 0
		}
		return statOf(w.t, info, "cmdstat_evalsha:calls=")
	}
	before := evals()
	w.serve(nil, nil, func() bool { return evals() > before+10 })
}

// keep has the twin's next dump be an earlier one.
func (w *twin) keep(d map[string]string) {
	w.t.Helper()
	w.must(w.rdb.FlushAll(w.t.Context()).Err())
	w.rdb.HSet(w.t.Context(), "kept", d)
}

func (w *twin) dump() map[string]string {
	w.t.Helper()
	if d := w.rdb.HGetAll(w.t.Context(), "kept").Val(); len(d) > 0 {
		return d
	}
	return dump(w.t, w.rdb, w.id)
}

// dump is all that asynq's keys hold, by what it is: times are seconds from now.
func dump(t *testing.T, rdb *redis.Client, id string) map[string]string {
	t.Helper()
	ctx := context.Background()
	all := map[string]string{}
	day := time.Now().UTC().Format(time.DateOnly)
	keys := append(rdb.Keys(ctx, "asynq:{*").Val(), "asynq:queues")
	for _, key := range keys {
		name := strings.ReplaceAll(key, day, "DAY")
		if before, _, ok := strings.Cut(name, "unique:"); ok {
			name = before + "unique"
		}
		if ttl := rdb.TTL(ctx, key).Val(); ttl > 0 {
			all[name+" expires"] = seconds(ttl.Seconds())
		}
		switch kind := rdb.Type(ctx, key).Val(); {
		case key == "asynq:{otp}:t:"+id:
			for field, value := range rdb.HGetAll(ctx, key).Val() {
				switch field {
				case "msg":
					for n, values := range decoded(t, value) {
						all[fmt.Sprint("the task's field ", n)] = messageField(n, values)
					}
				case "pending_since":
					ns, err := strconv.ParseInt(value, 10, 64)
					if err != nil || len(value) != 19 {
						t.Errorf("pending_since is %q", value)
					}
					all["the task's pending_since"] = seconds(time.Until(time.Unix(0, ns)).Seconds())
				default:
					all["the task's "+field] = value
				}
			}
		case kind == "string":
			all[name] = rdb.Get(ctx, key).Val()
			if strings.HasSuffix(key, ":paused") {
				all[name] = "since some time"
			}
		case kind == "list":
			all[name] = strings.Join(rdb.LRange(ctx, key, 0, -1).Val(), " ")
		case kind == "set":
			all[name] = strings.Join(rdb.SMembers(ctx, key).Val(), " ")
		case kind == "zset":
			for _, z := range rdb.ZRangeWithScores(ctx, key, 0, -1).Val() {
				delayed := strings.HasSuffix(key, ":scheduled") || strings.HasSuffix(key, ":retry")
				if z.Score != math.Trunc(z.Score) && !delayed {
					t.Errorf("the score of %s in %s is %v", z.Member, key, z.Score)
				}
				all[name+" "+z.Member.(string)] = seconds(z.Score - float64(time.Now().UnixMilli())/1000)
			}
		default:
			t.Errorf("%s is a %s", key, kind)
		}
	}
	return all
}

// seconds marks a time, which is compared with a tolerance.
func seconds(s float64) string { return fmt.Sprintf("%.0f s", s) }

func messageField(n protowire.Number, values []string) string {
	if n == 11 || n == 13 { // last_failed_at, completed_at
		at, _ := strconv.ParseInt(values[0], 10, 64)
		return seconds(time.Until(time.Unix(at, 0)).Seconds())
	}
	return strings.Join(values, " ")
}

// differences compares two dumps.
func differences(t *testing.T, asynqs, ours map[string]string) (found []string) {
	t.Helper()
	if asynqs["asynq:queues"] == "" || len(asynqs) < 2 && len(ours) != len(asynqs) {
		t.Fatalf("a dump is empty: %v", asynqs)
	}
	for name := range maps.Keys(asynqs) {
		a, o := asynqs[name], ours[name]
		_, both := ours[name]
		switch {
		case !both && strings.HasPrefix(name, "the task's field "):
			found = append(found, fmt.Sprintf("%s: asynq has %s, we have nothing", name, a))
		case !both && (ours[strings.TrimSuffix(name, " expires")] != "" || !strings.HasSuffix(name, " expires")):
			found = append(found, name+": only asynq has it")
		case both && a != o && !near(a, o):
			found = append(found, fmt.Sprintf("%s: asynq has %s, we have %s", name, cmp.Or(a, "nothing"), cmp.Or(o, "nothing")))
		}
	}
	for name := range ours {
		if _, both := asynqs[name]; !both {
			found = append(found, name+": only we have it")
		}
	}
	slices.Sort(found)
	return found
}

// near reports whether two times are the same within the test's own time.
func near(a, b string) bool {
	var x, y float64
	_, e1 := fmt.Sscanf(a, "%g s", &x)
	_, e2 := fmt.Sscanf(b, "%g s", &y)
	return e1 == nil && e2 == nil && math.Abs(x-y) <= 20
}

// decoded are the fields of a protobuf.
func decoded(t *testing.T, raw string) map[protowire.Number][]string {
	t.Helper()
	m := map[protowire.Number][]string{}
	for b := []byte(raw); len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("not a message: %q", raw)
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, kind, b)
		if n < 0 {
			t.Fatalf("not a message: %q", raw)
		}
		if kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b)
			m[number] = append(m[number], fmt.Sprint(v))
		} else {
			v, _ := protowire.ConsumeBytes(b)
			m[number] = append(m[number], string(v))
		}
		b = b[n:]
	}
	return m
}
