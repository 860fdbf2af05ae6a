package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
)

// scanPage is about how many records one look at them reads.
const scanPage = 500

// endForeign ends the tasks of a queue that a foreign tool has deleted or archived
// behind the record's back, one page of the records at a time: those that were never
// attempted as cancelled, the others as failed, or unknown if they may have happened.
func (r *reconciler) endForeign(ctx context.Context, queue string) (err error) {
	r.foreign[queue], err = r.server.endForeignPage(ctx, queue, r.foreign[queue])
	return err
}

// EndForeign ends those of the tasks that a foreign tool has deleted or archived a
// moment ago; without IDs, all of the queue.
func (s *Server) EndForeign(ctx context.Context, queue string, ids ...string) error {
	if len(ids) > 0 {
		return s.endForeign(ctx, queue, ids)
	}
	for cursor := uint64(0); ; {
		var err error
		cursor, err = s.endForeignPage(ctx, queue, cursor)
		if err != nil || cursor == 0 {
			return err
		}
	}
}

// endForeignPage looks at one page of the records, and returns where the next begins.
func (s *Server) endForeignPage(ctx context.Context, queue string, cursor uint64) (next uint64, err error) {
	prefix := record.Key(queue, "")
	node, err := s.nodeOf(ctx, prefix)
	if err != nil {
		return cursor, err
	}
	keys, next, err := node.Scan(ctx, cursor, prefix+"*", scanPage).Result()
	if err != nil {
		return cursor, fmt.Errorf("scan the records: %w", err)
	}
	ids := make([]string, len(keys))
	for i, key := range keys {
		ids[i] = strings.TrimPrefix(key, prefix)
	}
	return next, s.endForeign(ctx, queue, ids)
}

func (s *Server) endForeign(ctx context.Context, queue string, ids []string) error {
	taken, err := s.takenAway(ctx, queue, ids)
	if err != nil {
		return err
	}
	for _, id := range taken {
		outcome, err := s.endTakenAway(ctx, queue, id)
		if err != nil {
			return err
		}
		s.log.Warn().
			Str("task_id", id).
			Str("outcome", string(outcome)).
			Msg("a foreign tool has taken the task out of the queue; ended")
	}
	return nil
}

// nodeOf is the node of Redis that has the keys of a queue.
func (s *Server) nodeOf(ctx context.Context, key string) (redis.Cmdable, error) {
	if cluster, ok := s.general.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, key)
	}
	return s.general, nil
}

// takenAway returns those of the tasks that have not ended although asynq has no such
// task, or has it among the ended ones.
func (s *Server) takenAway(ctx context.Context, queue string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	pipe := s.general.Pipeline()
	records := make([]*redis.SliceCmd, len(ids))
	states := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		records[i] = pipe.HMGet(ctx, record.Key(queue, id), "once", "outcome", "owner")
		states[i] = pipe.HGet(ctx, asynqPrefix(queue)+"t:"+id, "state")
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("compare records with the queue: %w", err)
	}
	var taken []string
	for i, id := range ids {
		r := records[i].Val()
		if len(r) < 3 || r[0] == nil || r[1] != nil || r[2] != nil {
			continue // it has ended, or is just being stored or run
		}
		switch states[i].Val() {
		case "", "archived", "completed":
			taken = append(taken, id)
		}
	}
	return taken, nil
}

// endTakenAway ends a task that a foreign tool has taken out of the queue.
func (s *Server) endTakenAway(ctx context.Context, queue, id string) (record.Outcome, error) {
	reply, err := run(ctx, s.general, cancelStep, queue, newArguments("id", id))
	if err != nil {
		return "", fmt.Errorf("cancel the task: %w", err)
	}
	switch answer := reply.Text(0); answer {
	case "pending", "scheduled", "parked", "retrying":
	default:
		return record.Outcome(answer), nil // cancelled, or it has ended meanwhile
	}
	c, doubt, err := s.unclaimed(ctx, queue, id)
	if err != nil {
		return "", err
	}
	result := Result{
		Outcome: record.Failed,
		Message: "it was taken out of the queue by hand after it had been attempted",
	}
	if doubt {
		result.Outcome = record.Unknown
	}
	return result.Outcome, c.End(result)
}

// unclaimed makes a claim on a task that is in no list of asynq's, with the fence that
// follows. doubt reports whether an attempt may have happened.
func (s *Server) unclaimed(ctx context.Context, queue, id string) (c *Claim, doubt bool, err error) {
	r, err := s.general.HGetAll(ctx, record.Key(queue, id)).Result()
	if err != nil {
		return nil, false, fmt.Errorf("read the record: %w", err)
	}
	msg, err := s.general.HGet(ctx, asynqPrefix(queue)+"t:"+id, "msg").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, false, fmt.Errorf("read the task: %w", err)
	}
	fence, _, _ := strings.Cut(cmp.Or(r["fence"], r["finished"]), ".")
	asked := record.DecodeAsked(r["asked"])
	now := time.Now()
	return &Claim{
		ID:      id,
		Type:    asked.Type,
		Queue:   queue,
		Verdict: Run,
		Due:     asked.Due,
		Expires: asked.Expires(),
		server:  s,
		asked:   asked,
		fence:   fmt.Sprint(number(fence)+1, ".", newNonce()),
		once:    decodeOnce(r["once"]),
		msg:     message(msg),
		takenAt: now,
		sentAt:  now,
	}, r["doubt"] != "" || r["abandoned"] != "", nil
}
