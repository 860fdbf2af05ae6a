package schedule

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// state is the state of a schedule in Redis.
type state struct {
	rdb redis.UniversalClient
	key string
	ttl time.Duration
}

// stateKey has the name as its hash tag: all that a script touches is in one
// slot of a cluster, and schedules spread over its nodes.
func stateKey(name string) string {
	return "errand:schedule:{" + name + "}"
}

func newState(rdb redis.UniversalClient, s *Schedule) state {
	return state{
		rdb: rdb,
		key: stateKey(s.Name),
		// Long enough that after two missed ticks one still runs late.
		ttl: max(minTTLMS*time.Millisecond, 3*s.timing.shortest()),
	}
}

func (s state) run(ctx context.Context, script *redis.Script, args ...any) *redis.Cmd {
	return script.Run(ctx, s.rdb, []string{s.key}, args...)
}

// slotStatus is beginScript's answer to a request for a slot.
type slotStatus string

const (
	slotBegun   slotStatus = "begun"   // the caller has the lease
	slotResumed slotStatus = "resumed" // the caller has the lease; some tasks are enqueued
	slotHeld    slotStatus = "held"    // another worker has the lease
	slotDone    slotStatus = "done"    // the slot was enqueued
	slotEarly   slotStatus = "early"   // the slot is not due by Redis's clock
	slotUnknown slotStatus = "lost"    // Redis has lost the schedule's state
)

// lease is the result of a request for a slot.
type lease struct {
	status    slotStatus
	now       time.Time
	lastSlot  time.Time
	done      int           // number of subjects that are in the queue
	begun     time.Time     // when the slot was begun
	abandoned bool          // an older slot was begun and will not be finished
	wait      time.Duration // until the other worker's lease ends, with slotHeld
	gap       time.Duration // since the previous tick was in the queue
}

// register makes the schedule known to Redis, with spec as its timing.
func (s state) register(ctx context.Context, spec string) (now, lastSlot time.Time, err error) {
	reply, err := s.run(ctx, registerScript, spec, s.ttl.Milliseconds(), maxAheadMS).Int64Slice()
	return clockAndSlot(reply, err)
}

// read returns a zero lastSlot if Redis does not know the schedule.
func (s state) read(ctx context.Context) (now, lastSlot time.Time, err error) {
	reply, err := s.run(ctx, readScript).Int64Slice()
	if err == nil && len(reply) == 2 && reply[1] < 0 {
		return time.UnixMilli(reply[0]), time.Time{}, nil
	}
	return clockAndSlot(reply, err)
}

var errUnexpectedReply = errors.New("unexpected reply from Redis")

func clockAndSlot(reply []int64, err error) (now, lastSlot time.Time, _ error) {
	if err == nil && len(reply) != 2 {
		err = errUnexpectedReply
	}
	if err != nil {
		return now, lastSlot, fmt.Errorf("read the schedule's last tick: %w", err)
	}
	return time.UnixMilli(reply[0]), time.Unix(reply[1], 0), nil
}

// begin requests the lease of a slot.
func (s state) begin(ctx context.Context, slot time.Time, owner, digest string) (lease, error) {
	ttl := s.ttl.Milliseconds()
	reply, err := s.run(ctx, beginScript, slot.Unix(), owner, leaseMS, digest, ttl, maxAheadMS).Slice()
	if err == nil && len(reply) != 8 {
		err = errUnexpectedReply
	}
	if err != nil {
		return lease{}, fmt.Errorf("begin a tick: %w", err)
	}
	status, _ := reply[0].(string)
	var n [8]int64
	for i := range n {
		n[i], _ = reply[i].(int64)
	}
	return lease{
		status:    slotStatus(status),
		now:       time.UnixMilli(n[1]),
		lastSlot:  time.Unix(n[2], 0),
		done:      int(n[3]),
		begun:     time.UnixMilli(n[4]),
		abandoned: n[5] != 0,
		wait:      time.Duration(n[6]) * time.Millisecond,
		gap:       time.Duration(n[1]-n[7]) * time.Millisecond,
	}, nil
}

// renew records the progress of a slot and renews its lease. It returns false if
// the lease is another worker's by now.
func (s state) renew(ctx context.Context, slot time.Time, owner string, done int) (bool, error) {
	n, err := s.run(ctx, renewScript, slot.Unix(), owner, leaseMS, done).Int()
	if err != nil {
		return false, fmt.Errorf("renew a tick: %w", err)
	}
	return n == 1, nil
}

// finish records that a slot is enqueued completely, and how many before it were missed
// when it was begun. first is false if that was already known.
func (s state) finish(
	ctx context.Context,
	slot time.Time,
	missed int,
	begun time.Time,
) (first bool, lastSlot time.Time, err error) {
	args := []any{slot.Unix(), s.ttl.Milliseconds(), missed, begun.UnixMilli()}
	reply, err := s.run(ctx, finishScript, args...).Int64Slice()
	if err == nil && len(reply) != 3 {
		err = errUnexpectedReply
	}
	if err != nil {
		return false, lastSlot, fmt.Errorf("finish a tick: %w", err)
	}
	return reply[0] == 1, time.Unix(reply[2], 0), nil
}

// cleanupTimeout bounds the requests made after ctx has ended.
const cleanupTimeout = time.Second

// release gives up the lease of a slot, also when ctx has ended. If it fails, the
// lease ends by itself.
func (s state) release(ctx context.Context, owner string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	_ = s.run(ctx, releaseScript, owner).Err()
}

// deregister erases the timing, also when ctx has ended. If it fails and the
// schedule comes back, it runs once late.
func (s state) deregister(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	_ = s.run(ctx, deregisterScript).Err()
}

// Tick is what Redis knows about the last tick of a schedule.
type Tick struct {
	// Last is the time of the last tick that was enqueued; zero if there is none.
	Last time.Time
	// Finished is when its last task was in the queue.
	Finished time.Time
	// Missed is how many ticks were missed when last there were some, until a RunNow makes up
	// for them; Resumed is when the tick after them was begun.
	Missed  int
	Resumed time.Time
}

// missedFor is how long missed ticks are worth a word.
const missedFor = time.Hour

// MissedBefore returns how many ticks were missed within the hour before a time.
func (t Tick) MissedBefore(at time.Time) int {
	if since := at.Sub(t.Resumed); since < 0 || since > missedFor {
		return 0
	}
	return t.Missed
}

// LastTick reads the last tick of a schedule from Redis.
func LastTick(ctx context.Context, rdb redis.UniversalClient, name string) (Tick, error) {
	values, err := rdb.HMGet(ctx, stateKey(name), "last", "finished", "missed", "resumed").Result()
	if err != nil {
		return Tick{}, fmt.Errorf("read the schedule's last tick: %w", err)
	}
	var n [4]int64
	for i := range n {
		s, _ := values[i].(string)
		n[i], _ = strconv.ParseInt(s, 10, 64)
	}
	if n[1] == 0 { // registered, but nothing was due since
		return Tick{}, nil
	}
	return Tick{
		Last:     time.Unix(n[0], 0),
		Finished: time.UnixMilli(n[1]),
		Missed:   int(n[2]),
		Resumed:  time.UnixMilli(n[3]),
	}, nil
}

// forgetMissed forgets the ticks that were missed.
func forgetMissed(ctx context.Context, rdb redis.UniversalClient, name string) error {
	if err := rdb.HDel(ctx, stateKey(name), "missed", "resumed").Err(); err != nil {
		return fmt.Errorf("forget the missed ticks: %w", err)
	}
	return nil
}
