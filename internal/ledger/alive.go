package ledger

import (
	"context"
	"fmt"
	"time"
)

// aliveFor is how long a process counts as living after its last sign of life.
const aliveFor = 8 * time.Second

// Beat is a process' sign of life.
func (s *Store) Beat(ctx context.Context, owner string) error {
	if err := s.rdb.Set(ctx, aliveKey(owner), 1, aliveFor).Err(); err != nil {
		return fmt.Errorf("write the sign of life: %w", err)
	}
	return nil
}

// Rest takes the sign of life back: the process has ended in good order.
func (s *Store) Rest(ctx context.Context, owner string) error {
	return s.rdb.Del(ctx, aliveKey(owner)).Err()
}

// Alive reports whether a process has given a sign of life lately.
func (s *Store) Alive(ctx context.Context, owner string) (bool, error) {
	n, err := s.rdb.Exists(ctx, aliveKey(owner)).Result()
	if err != nil {
		return false, fmt.Errorf("read the sign of life: %w", err)
	}
	return n > 0, nil
}

// Holders tells for each task which process holds its claim, "" if none does.
func (s *Store) Holders(ctx context.Context, queue string, ids []string) (map[string]string, error) {
	pipe := s.rdb.Pipeline()
	for _, id := range ids {
		pipe.HGet(ctx, taskKey(queue, id), "owner")
	}
	replies, _ := pipe.Exec(ctx) // a record or a claim that is not there is no error
	holders := make(map[string]string, len(ids))
	for i, reply := range replies {
		text, ok := reply.(interface{ Result() (string, error) })
		if !ok {
			continue
		}
		owner, err := text.Result()
		if err != nil && !isNil(err) {
			return nil, fmt.Errorf("read the claims: %w", err)
		}
		holders[ids[i]] = owner
	}
	return holders, nil
}
