package queue

import (
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
)

// Headers travel with the task through asynq, beside its payload.
const (
	headerDue     = "errand-due"        // Redis time in ms: may run from then on
	headerNotify  = "errand-notify"     // "1": Finished is told of the end
	headerTicked  = "errand-scheduled"  // "1": a schedule enqueued it
	headerExpires = "errand-expires-at" // Redis time in ms: must not run any more
)

const (
	// neverRetry is the MaxRetry of every task. asynq archives a task on its own
	// count, also for errors that it was told not to count; so the count must
	// never be reached. Attempts and budget are in the task's record.
	neverRetry = math.MaxInt32
	// slotTimeout is asynq's own bound on a handler. The runner's bound on an
	// attempt is always shorter; this one only has to be set, because asynq takes
	// 30 minutes otherwise.
	slotTimeout = time.Hour
)

func headers(due, expires time.Time, job Job) map[string]string {
	h := map[string]string{
		headerDue:     strconv.FormatInt(due.UnixMilli(), 10),
		headerExpires: strconv.FormatInt(expires.UnixMilli(), 10),
	}
	if job.Notify {
		h[headerNotify] = "1"
	}
	if job.Scheduled {
		h[headerTicked] = "1"
	}
	return h
}

var errNoExpiry = errors.New("the task carries no " + headerExpires + " header: it was not enqueued by Errand")

func readExpires(h map[string]string) (time.Time, error) {
	ms, err := strconv.ParseInt(h[headerExpires], 10, 64)
	if err != nil {
		return time.Time{}, errNoExpiry
	}
	return time.UnixMilli(ms), nil
}

func asynqOptions(id string, d Policy, due, now time.Time) []asynq.Option {
	opts := []asynq.Option{
		asynq.TaskID(id),
		asynq.Queue(d.Queue),
		asynq.MaxRetry(neverRetry),
		asynq.Timeout(slotTimeout),
		asynq.Retention(d.Retention),
	}
	if wait := due.Sub(now); wait > 0 {
		// asynq compares with its own clock, so it gets the wait, not the Redis time.
		opts = append(opts, asynq.ProcessIn(wait))
	}
	return opts
}
