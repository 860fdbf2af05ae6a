// Package operator has what an operator asks of the fleet and does to it by the commands
// of the worker: why a task did not arrive, which tasks there are, what becomes of dead
// letters, what is erased, who did what. One file has one command. The commands in
// cmd/worker parse the command line and print.
//
// Whatever changes something says so in the operators' log (record.Action): with the
// reason, before it begins, so that a command that was killed is there too, and with what
// came of it.
package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/broker"
	"errand.internal/internal/config"
	"errand.internal/internal/events/deliver"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
	"errand.internal/tasks/all"
)

// Operator asks and acts. It needs no vendor credentials.
type Operator struct {
	rdb      redis.UniversalClient
	store    *record.Store
	producer *broker.Producer
	ring     *seal.Ring
	who      string
}

// openTimeout is how long Open waits for Redis.
const openTimeout = 3 * time.Second

// Open connects to the workers' Redis. A *config.Error names wrong settings.
func Open(ctx context.Context, environ map[string]string) (*Operator, error) {
	var c struct {
		RedisURL       secret.String `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0"`
		EncryptionKeys secret.String `env:"ENCRYPTION_KEYS"`
	}
	loaded := settings.Load(&c, environ)
	target, errURL := redisconn.Parse(c.RedisURL.Reveal())
	ring, errKeys := seal.Parse(c.EncryptionKeys.Reveal())
	if err := settings.Collect(loaded, errURL, errKeys); err != nil {
		return nil, config.NewError(err)
	}
	rdb := target.Open(redisconn.General)
	broker.Batch(rdb)
	store := record.New(rdb)
	o := &Operator{
		rdb:      rdb,
		store:    store,
		producer: broker.NewProducer(rdb, store, ring),
		ring:     ring,
		who:      record.Who(),
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err != nil {
		o.Close()
		return nil, fmt.Errorf("ask Redis: %w", err)
	}
	return o, nil
}

// Close closes the connections.
func (o *Operator) Close() {
	_ = o.rdb.Close()
}

// UsageError says that a command was given what makes no sense.
type UsageError struct{ Problem string }

// Error implements error.
func (e *UsageError) Error() string {
	return e.Problem
}

func usagef(format string, args ...any) error {
	return &UsageError{Problem: fmt.Sprintf(format, args...)}
}

// RefusedError says that a command was understood and is refused; nothing has changed,
// or only what the command has reported.
type RefusedError struct{ Reason string }

// Error implements error.
func (e *RefusedError) Error() string {
	return e.Reason
}

func refusedf(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// act writes a line of the operators' log.
func (o *Operator) act(ctx context.Context, verb, target, reason, result string) error {
	return o.store.Act(ctx, record.Action{
		Who:    o.who,
		Verb:   verb,
		Target: target,
		Reason: reason,
		Result: result,
	})
}

// queues are the queues of this release, and those that Redis has besides.
func (o *Operator) queues(ctx context.Context) ([]string, error) {
	known, err := o.rdb.SMembers(ctx, record.QueuesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the queues: %w", err)
	}
	names := append(config.QueueNames(), known...)
	slices.Sort(names)
	return slices.Compact(names), nil
}

// definitions are the types of all tasks, by name.
func definitions() map[string]worker.Definition {
	found := map[string]worker.Definition{}
	for _, d := range append(all.Vendors.Definitions(), deliver.Definition(nil)) {
		found[d.Type] = d
	}
	return found
}

// oneOf returns a UsageError unless a flag is empty or has one of the values.
func oneOf[T ~string](flag string, given T, values ...T) error {
	if given == "" || slices.Contains(values, given) {
		return nil
	}
	var names []string
	for _, v := range values {
		names = append(names, string(v))
	}
	slices.Sort(names)
	return usagef("%s must be one of %s", flag, strings.Join(names, ", "))
}

// checkType returns a UsageError unless a task type is empty or known.
func checkType(taskType string) error {
	known := definitions()
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	return oneOf("--type", taskType, names...)
}

// errEnough ends an iteration early.
var errEnough = errors.New("enough")

// unlessEnough is err, or nil for errEnough.
func unlessEnough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
