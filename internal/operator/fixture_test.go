package operator_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/apptest"
	"errand.internal/internal/broker"
	"errand.internal/internal/operator"
	"errand.internal/internal/record"
	"errand.internal/internal/redistest"
	"errand.internal/tasks"
	"errand.internal/tasks/anna"
	"errand.internal/tasks/danaconnect"
	"errand.internal/tasks/dinero"
)

// fixture is a Redis with a producer, an operator, and a worker whose tasks the test
// takes and ends itself.
type fixture struct {
	t       *testing.T
	redis   *redistest.Server
	environ map[string]string
	client  *tasks.Client
	*operator.Operator
	server *broker.Server
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureWith(t, apptest.EncryptionKeys)
}

func newFixtureWith(t *testing.T, encryptionKeys string) *fixture {
	t.Helper()
	// A dump that is compressed shows nothing.
	f := &fixture{t: t, redis: redistest.New(t, redistest.Config("rdbcompression", "no"))}
	f.environ = map[string]string{
		"REDIS_URL":       f.redis.URL(),
		"ENCRYPTION_KEYS": encryptionKeys,
	}
	var err error
	if f.client, err = tasks.Open(f.redis.URL(), tasks.EncryptionKeys(encryptionKeys)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.client.Close() })
	f.Operator = f.open()
	f.server, err = broker.NewServer(broker.Config{
		Redis:   f.conn(),
		General: f.conn(),
		Queues:  map[string]int{"otp": 50, "anna": 50, "dinero": 50},
		Owner:   "w1",
		Hold:    time.Minute,
		Log:     zerolog.Nop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// open opens another operator.
func (f *fixture) open() *operator.Operator {
	f.t.Helper()
	o, err := operator.Open(f.t.Context(), f.environ)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(o.Close)
	return o
}

// conn is a client of its own, because the broker leaves hooks on it.
func (f *fixture) conn() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: f.redis.Addr()})
	f.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (f *fixture) enqueue(p tasks.Payload, opts ...tasks.Option) string {
	f.t.Helper()
	ticket, err := f.client.EnqueuePayload(f.t.Context(), p, opts...)
	if err != nil {
		f.t.Fatal(err)
	}
	return ticket.ID
}

// otp is a passcode for an address.
func otp(mail string) danaconnect.OTPSend {
	return danaconnect.OTPSend{
		IDConversation: 824541,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: mail}},
	}
}

func contact(name, reference string) dinero.ContactCreate {
	body := dinero.Body{"Name": name, "Email": name + "@example.com"}
	if reference != "" {
		body["ExternalReference"] = reference
	}
	return dinero.ContactCreate{Record: dinero.Record{OrganizationID: "1", Body: body}}
}

func inactivation(user string) anna.UserInactivate {
	return anna.UserInactivate{UserID: user}
}

// take claims all tasks that wait in a queue.
func (f *fixture) take(queue string) map[string]*broker.Claim {
	f.t.Helper()
	claims := map[string]*broker.Claim{}
	for {
		some, err := f.server.Take(f.t.Context(), queue, 32)
		if errors.Is(err, redis.Nil) {
			return claims
		}
		if err != nil {
			f.t.Fatal(err)
		}
		for _, c := range some {
			claims[c.ID] = c
		}
	}
}

// result is that of one attempt with an outcome.
func result(o record.Outcome) broker.Result {
	return broker.Result{
		Outcome: o,
		Counted: true,
		Code:    "05",
		Message: "the vendor said so",
		Attempt: &record.Attempt{
			At:     time.Now(),
			Took:   120 * time.Millisecond,
			Class:  string(o),
			Status: 503,
			Code:   "05",
		},
	}
}

// end takes what waits in a queue and ends it with an outcome.
func (f *fixture) end(queue string, o record.Outcome) {
	f.t.Helper()
	f.endWith(queue, result(o))
}

func (f *fixture) endWith(queue string, r broker.Result) {
	f.t.Helper()
	for _, c := range f.take(queue) {
		if err := c.End(r); err != nil {
			f.t.Fatal(err)
		}
	}
}

// check fails the test if a record disagrees with asynq's queue.
func (f *fixture) check(queues ...string) {
	f.t.Helper()
	for _, queue := range queues {
		found, err := broker.Check(context.Background(), f.conn(), queue)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, problem := range found {
			f.t.Error("record and queue disagree: " + problem)
		}
	}
}

// dump is all that Redis holds.
func (f *fixture) dump() map[string]string {
	f.t.Helper()
	rdb := f.conn()
	all := map[string]string{}
	for _, key := range rdb.Keys(f.t.Context(), "*").Val() {
		all[key] = rdb.Dump(f.t.Context(), key).Val()
	}
	return all
}

// actions are the lines of the operators' log: verb, target and result.
func (f *fixture) actions() []record.Action {
	f.t.Helper()
	var lines []record.Action
	err := f.EachAction(f.t.Context(), time.Time{}, func(a record.Action) error {
		lines = append(lines, a)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return lines
}
