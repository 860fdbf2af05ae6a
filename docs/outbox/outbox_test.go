package outbox

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"errand.internal/internal/redistest"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
	"errand.internal/tasks/taskstest"
)

var vendors = tasks.Vendors{anna.Vendor}

// fixture is a database with the outbox and a table of the application's.
type fixture struct {
	t   *testing.T
	dsn string
	db  *pgx.Conn
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dsn: startPostgres(t)}
	f.db = f.connect()
	if _, err := f.db.Exec(t.Context(), Schema+"create table leavers (user_id text primary key)"); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) connect() *pgx.Conn {
	f.t.Helper()
	conn, err := connect(f.t.Context(), f.dsn)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(f.t.Context())) })
	return conn
}

// leave is what the application does: its row and the task in one transaction.
func (f *fixture) leave(user string, fault error) error {
	return pgx.BeginFunc(f.t.Context(), f.db, func(tx pgx.Tx) error {
		if _, err := tx.Exec(f.t.Context(), "insert into leavers values ($1)", user); err != nil {
			return err
		}
		if err := Add(f.t.Context(), tx, vendors, anna.UserInactivate{UserID: user}); err != nil {
			return err
		}
		return fault
	})
}

func (f *fixture) count(query string) (n int) {
	f.t.Helper()
	if err := f.db.QueryRow(f.t.Context(), query).Scan(&n); err != nil {
		f.t.Fatal(err)
	}
	return n
}

// start starts a relay. It ends with stop, or with the test.
func (f *fixture) start(queue tasks.Enqueuer) (pid uint32, stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Minute)
	relay := Relay{DB: f.connect(), Queue: queue, Vendors: vendors}
	ended := make(chan error, 1)
	go func() { ended <- relay.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			f.t.Error(err)
		}
	})
	f.t.Cleanup(stop)
	return relay.DB.PgConn().PID(), stop
}

// relay runs a relay until the outbox is empty.
func (f *fixture) relay(queue tasks.Enqueuer) {
	f.t.Helper()
	_, stop := f.start(queue)
	defer stop()
	f.eventually("the outbox is empty", "select count(*) from outbox where refused is null", 0)
}

// eventually waits until a query counts n rows.
func (f *fixture) eventually(what, query string, n int) {
	f.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); f.count(query) != n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatal("not so after 30 s: " + what)
		}
	}
}

// The row and the task are committed together, or neither is.
func TestARowAndItsTaskAreOneTransaction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if err := f.leave("u-1", nil); err != nil {
		t.Fatal(err)
	}
	undone := errors.New("undone")
	if err := f.leave("u-2", undone); !errors.Is(err, undone) {
		t.Error(err)
	}
	err := f.leave("u\x013", nil)
	if _, ok := errors.AsType[*tasks.PayloadError](err); !ok {
		t.Errorf("an invalid task: %v", err)
	}
	client := taskstest.New()
	f.relay(client)
	list := taskstest.Payloads[anna.UserInactivate](client)
	if len(list) != 1 || list[0].UserID != "u-1" || f.count("select count(*) from leavers") != 1 {
		t.Errorf("the tasks are %+v", list)
	}
}

// A relay that waits is woken by the commit, and does not wait for its next look.
func TestACommitWakesTheRelay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	client := taskstest.New()
	enqueued := make(chan time.Time, 2)
	client.OnEnqueue(func(taskstest.Task) { enqueued <- time.Now() })
	pid, _ := f.start(client)
	for _, user := range []string{"u-1", "u-2"} {
		f.idle(pid)
		if err := f.leave(user, nil); err != nil {
			t.Fatal(err)
		}
		committed := time.Now()
		if at := <-enqueued; at.Sub(committed) > 3*time.Second {
			t.Errorf("enqueued %s after the commit", at.Sub(committed))
		}
	}
}

// idle waits until a connection has had nothing to do for a while.
func (f *fixture) idle(pid uint32) {
	f.t.Helper()
	f.eventually("the relay rests", fmt.Sprintf(`select count(*) from pg_stat_activity where pid = %d
		and state = 'idle' and query <> '' and state_change < now() - interval '300 ms'`, pid), 1)
}

// What can never be enqueued does not hold up the rest.
func TestARefusedRowStays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.db.Exec(t.Context(), `insert into outbox (type, payload) values
		('no:such:type', '{}'), ('anna:user:inactivate', '{"canary": 1}')`)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.leave("u-1", nil); err != nil {
		t.Fatal(err)
	}
	client := taskstest.New()
	f.relay(client)
	if n := len(client.Enqueued()); n != 1 {
		t.Errorf("%d tasks, want 1", n)
	}
	if n := f.count("select count(*) from outbox where refused <> ''"); n != 2 {
		t.Errorf("%d refused rows, want 2", n)
	}
}

// Two relays share the rows.
func TestTwoRelays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const n = 500
	f.fill(n)
	client := taskstest.New()
	_, stop := f.start(client)
	f.relay(client)
	stop()
	if got := len(client.Enqueued()); got != n {
		t.Errorf("%d tasks, want %d", got, n)
	}
}

// fill adds n leavers in one transaction.
func (f *fixture) fill(n int) {
	f.t.Helper()
	err := pgx.BeginFunc(f.t.Context(), f.db, func(tx pgx.Tx) error {
		for i := range n {
			if err := Add(f.t.Context(), tx, vendors, anna.UserInactivate{UserID: fmt.Sprint("u-", i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// deadly kills its process as soon as a number of tasks are in Redis: between enqueueing
// and deleting.
type deadly struct {
	tasks.Enqueuer
	left atomic.Int64
}

func (d *deadly) EnqueuePayload(
	ctx context.Context,
	p tasks.Payload,
	opts ...tasks.Option,
) (*tasks.Ticket[json.RawMessage], error) {
	ticket, err := d.Enqueuer.EnqueuePayload(ctx, p, opts...)
	if err == nil && d.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return ticket, err
}

const relayProcess = "ERRAND_TEST_RELAY"

// A relay that is killed between enqueueing and deleting, again and again, enqueues each
// row once.
func TestAKilledRelayEnqueuesEachRowOnce(t *testing.T) {
	if arguments := strings.Fields(os.Getenv(relayProcess)); len(arguments) == 3 {
		runDeadlyRelay(t, arguments[0], arguments[1], arguments[2])
		return
	}
	t.Parallel()
	f := newFixture(t)
	redis := redistest.New(t)
	const n = 250
	f.fill(n)
	for _, after := range []int{1, 2, 30, 50, 100} {
		dir := strings.TrimPrefix(strings.Fields(f.dsn)[0], "host=")
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", relayProcess, dir, redis.URL(), after))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the relay was not killed: %v\n%s", err, out)
		}
	}
	if f.count("select count(*) from outbox") == 0 {
		t.Fatal("nothing was left to the last relay: the kills prove nothing")
	}
	client, err := tasks.Open(redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	f.relay(client)
	users := map[string]int{}
	for _, message := range redis.Client().LRange(t.Context(), "asynq:{anna}:pending", 0, -1).Val() {
		raw, err := redis.Client().HGet(t.Context(), "asynq:{anna}:t:"+message, "msg").Bytes()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := bytes.Cut(raw, []byte(`{"userId":"`))
		user, err := bufio.NewReader(bytes.NewReader(rest)).ReadString('"')
		if err != nil {
			t.Fatal(err)
		}
		users[user]++
	}
	if len(users) != n {
		t.Errorf("%d users are enqueued, want %d", len(users), n)
	}
	for user, times := range users {
		if times != 1 {
			t.Errorf("%s is enqueued %d times", user, times)
		}
	}
}

// runDeadlyRelay is the process that is killed.
func runDeadlyRelay(t *testing.T, socket, redisURL, after string) {
	t.Helper()
	conn, err := connect(t.Context(), "host="+socket+" user=shop database=postgres")
	if err != nil {
		t.Fatal(err)
	}
	client, err := tasks.Open(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	queue := &deadly{Enqueuer: client}
	var left int64
	if _, err := fmt.Sscan(after, &left); err != nil {
		t.Fatal(err)
	}
	queue.left.Store(left)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Fatal(Relay{DB: conn, Queue: queue, Vendors: vendors}.Run(ctx))
}
