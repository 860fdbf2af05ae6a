package schedule

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// marks are a schedule's marks in Redis.
type marks struct {
	rdb  redis.UniversalClient
	key  string
	keep time.Duration
}

// stateKey has the name as its hash tag: all that a script touches is in one
// slot of a cluster, and schedules spread over its nodes.
func stateKey(name string) string {
	return "errand:schedule:{" + name + "}"
}

func newMarks(rdb redis.UniversalClient, s *Schedule) marks {
	// Long enough that after two missed ticks one is still run late.
	return marks{
		rdb:  rdb,
		key:  stateKey(s.Name),
		keep: max(keepMS*time.Millisecond, 3*s.timing.shortest()),
	}
}

// verdict is the answer to begin.
type verdict string

const (
	begun   verdict = "begun"
	resumed verdict = "resumed"
	held    verdict = "held"
	done    verdict = "done"
	early   verdict = "early"
	lost    verdict = "lost"
)

// grant is the whole answer to begin.
type grant struct {
	verdict   verdict
	now, last time.Time
	done      int           // subjects that are in the queue
	begun     time.Time     // of the slot
	dropped   bool          // an older slot was begun and will not be finished
	wait      time.Duration // with held
	after     time.Duration // since the tick before was in the queue
}

func (m marks) enter(ctx context.Context, spec string) (now, last time.Time, err error) {
	reply, err := enterScript.Run(ctx, m.rdb, []string{m.key}, spec, m.keep.Milliseconds(), aheadMS).
		Int64Slice()
	return clockAnd(reply, err)
}

// look returns a zero last if Redis does not know the schedule.
func (m marks) look(ctx context.Context) (now, last time.Time, err error) {
	reply, err := lookScript.Run(ctx, m.rdb, []string{m.key}).Int64Slice()
	if err == nil && len(reply) == 2 && reply[1] < 0 {
		return time.UnixMilli(reply[0]), time.Time{}, nil
	}
	return clockAnd(reply, err)
}

var errOddReply = errors.New("an odd reply from Redis")

func clockAnd(reply []int64, err error) (now, last time.Time, _ error) {
	if err == nil && len(reply) != 2 {
		err = errOddReply
	}
	if err != nil {
		return now, last, fmt.Errorf("read the schedule's last tick: %w", err)
	}
	return time.UnixMilli(reply[0]), time.Unix(reply[1], 0), nil
}

func (m marks) begin(
	ctx context.Context,
	slot time.Time,
	owner, digest string,
) (grant, error) {
	reply, err := beginScript.Run(ctx, m.rdb, []string{m.key}, slot.Unix(), owner, leaseMS, digest, m.keep.Milliseconds(), aheadMS).
		Slice()
	if err == nil && len(reply) != 8 {
		err = errOddReply
	}
	if err != nil {
		return grant{}, fmt.Errorf("begin a tick: %w", err)
	}
	word, _ := reply[0].(string)
	var n [8]int64
	for i := range n {
		n[i], _ = reply[i].(int64)
	}
	return grant{
		verdict: verdict(word),
		now:     time.UnixMilli(n[1]),
		last:    time.Unix(n[2], 0),
		done:    int(n[3]),
		begun:   time.UnixMilli(n[4]),
		dropped: n[5] != 0,
		wait:    time.Duration(n[6]) * time.Millisecond,
		after:   time.Duration(n[1]-n[7]) * time.Millisecond,
	}, nil
}

// renew reports whether the slot is still the owner's.
func (m marks) renew(
	ctx context.Context,
	slot time.Time,
	owner string,
	done int,
) (bool, error) {
	n, err := renewScript.Run(ctx, m.rdb, []string{m.key}, slot.Unix(), owner, leaseMS, done).
		Int()
	if err != nil {
		return false, fmt.Errorf("renew a tick: %w", err)
	}
	return n == 1, nil
}

// finish reports whether it was the first to say so.
func (m marks) finish(
	ctx context.Context,
	slot time.Time,
) (first bool, last time.Time, err error) {
	reply, err := finishScript.Run(ctx, m.rdb, []string{m.key}, slot.Unix(), m.keep.Milliseconds()).
		Int64Slice()
	if err == nil && len(reply) != 3 {
		err = errOddReply
	}
	if err != nil {
		return false, last, fmt.Errorf("finish a tick: %w", err)
	}
	return reply[0] == 1, time.Unix(reply[2], 0), nil
}

// parting is how long a farewell to Redis may take.
const parting = time.Second

// release gives the slot back although ctx may have ended. If it fails, the
// lease ends by itself.
func (m marks) release(ctx context.Context, owner string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
	defer cancel()
	_ = releaseScript.Run(ctx, m.rdb, []string{m.key}, owner).Err()
}

// leave forgets the timing although ctx may have ended. If it fails, the
// schedule runs once late should it come back.
func (m marks) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), parting)
	defer cancel()
	_ = leaveScript.Run(ctx, m.rdb, []string{m.key}).Err()
}

// Tick is what Redis knows about a schedule.
type Tick struct {
	// Last is the last tick that was enqueued; zero if there was none yet.
	Last time.Time
	// Finished is when its last task was in the queue.
	Finished time.Time
}

// LastTick reads what Redis knows about a schedule.
func LastTick(ctx context.Context, rdb redis.UniversalClient, name string) (Tick, error) {
	values, err := rdb.HMGet(ctx, stateKey(name), "last", "finished").Result()
	if err != nil {
		return Tick{}, fmt.Errorf("read the schedule's last tick: %w", err)
	}
	var n [2]int64
	for i := range n {
		s, _ := values[i].(string)
		n[i], _ = strconv.ParseInt(s, 10, 64)
	}
	if n[1] == 0 { // seen, but nothing was due since
		return Tick{}, nil
	}
	return Tick{Last: time.Unix(n[0], 0), Finished: time.UnixMilli(n[1])}, nil
}
