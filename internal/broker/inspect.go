package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// QueueInfo counts the tasks of a queue.
type QueueInfo struct {
	Queue  string
	Paused bool
	// Pause says why, if Paused.
	Pause     record.Pause
	Pending   int64
	Active    int64
	Scheduled int64
	Retry     int64
	Archived  int64
	Completed int64
	// Latency is the age of the oldest pending task.
	Latency time.Duration
	// At is when the queue was read, by Redis' clock.
	At time.Time
}

// Queues reads the queues that are named, and all others that asynq knows of. It reads
// the lists themselves: asynq's set of queues may have been lost with Redis' data, and
// is filled again by the workers only.
func Queues(ctx context.Context, rdb redis.UniversalClient, named ...string) ([]QueueInfo, error) {
	known, err := rdb.SMembers(ctx, record.QueuesKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the queues: %w", err)
	}
	names := append(slices.Clone(named), known...)
	slices.Sort(names)
	var all []QueueInfo
	for _, name := range slices.Compact(names) {
		info, err := readQueue(ctx, rdb, name)
		if err != nil {
			return nil, fmt.Errorf("read the queue %s: %w", name, err)
		}
		all = append(all, info)
	}
	return all, nil
}

func readQueue(ctx context.Context, rdb redis.UniversalClient, name string) (QueueInfo, error) {
	prefix := asynqPrefix(name)
	pipe := rdb.Pipeline()
	pending := pipe.LLen(ctx, prefix+"pending")
	active := pipe.LLen(ctx, prefix+"active")
	scheduled := pipe.ZCard(ctx, prefix+"scheduled")
	retry := pipe.ZCard(ctx, prefix+"retry")
	archived := pipe.ZCard(ctx, prefix+"archived")
	completed := pipe.ZCard(ctx, prefix+"completed")
	paused := pipe.Exists(ctx, prefix+"paused")
	pause := pipe.HGetAll(ctx, record.QueuePauseKey(name))
	oldest := pipe.LIndex(ctx, prefix+"pending", -1)
	now := pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return QueueInfo{}, err
	}
	info := QueueInfo{
		Queue:     name,
		Paused:    paused.Val() > 0,
		Pending:   pending.Val(),
		Active:    active.Val(),
		Scheduled: scheduled.Val(),
		Retry:     retry.Val(),
		Archived:  archived.Val(),
		Completed: completed.Val(),
		At:        now.Val(),
	}
	if info.Paused {
		info.Pause = record.PauseOf(pause.Val())
	}
	if id := oldest.Val(); id != "" {
		since, err := rdb.HGet(ctx, prefix+"t:"+id, "pending_since").Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return QueueInfo{}, err
		}
		if nanos, err := strconv.ParseInt(since, 10, 64); err == nil {
			info.Latency = max(info.At.Sub(time.Unix(0, nanos)), 0)
		}
	}
	return info, nil
}

// Workers are the live worker processes.
type Workers struct {
	// Processes counts them.
	Processes int
	// Running counts those that run a queue.
	Running map[string]int
}

// LiveWorkers reads which workers are live. asynq's inspector takes no context: when
// ctx ends first, its goroutine is abandoned and ends with the client's timeouts.
func LiveWorkers(ctx context.Context, rdb redis.UniversalClient) (Workers, error) {
	type result struct {
		servers []*asynq.ServerInfo
		err     error
	}
	done := make(chan result, 1)
	go func() {
		servers, err := asynq.NewInspectorFromRedisClient(rdb).Servers()
		done <- result{servers: servers, err: err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return Workers{}, fmt.Errorf("read the workers: %w", r.err)
		}
		return countWorkers(r.servers), nil
	case <-ctx.Done():
		return Workers{}, ctx.Err()
	}
}

func countWorkers(servers []*asynq.ServerInfo) Workers {
	w := Workers{Running: map[string]int{}}
	processes := map[string]bool{} // a worker has one asynq server per queue
	for _, server := range servers {
		if server.Status != "active" {
			continue // it is stopping
		}
		processes[fmt.Sprintf("%s:%d", server.Host, server.PID)] = true
		for name := range server.Queues {
			w.Running[name]++
		}
	}
	w.Processes = len(processes)
	return w
}
