package record

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// heartbeatTTL is how long a worker counts as alive after its latest heartbeat.
const heartbeatTTL = 8 * time.Second

// Heartbeat says that a worker is alive.
func (s *Store) Heartbeat(ctx context.Context, owner string) error {
	if err := s.rdb.Set(ctx, heartbeatKey(owner), 1, heartbeatTTL).Err(); err != nil {
		return fmt.Errorf("write the heartbeat: %w", err)
	}
	return nil
}

// Deregister says that a worker has ended.
func (s *Store) Deregister(ctx context.Context, owner string) error {
	return s.rdb.Del(ctx, heartbeatKey(owner)).Err()
}

// Alive reports whether a worker has given a heartbeat lately.
func (s *Store) Alive(ctx context.Context, owner string) (bool, error) {
	n, err := s.rdb.Exists(ctx, heartbeatKey(owner)).Result()
	if err != nil {
		return false, fmt.Errorf("read the heartbeat: %w", err)
	}
	return n > 0, nil
}

// Owners returns for each task which worker has claimed it, "" if none has.
func (s *Store) Owners(ctx context.Context, queue string, ids []string) (map[string]string, error) {
	pipe := s.rdb.Pipeline()
	replies := make([]*redis.StringCmd, len(ids))
	for i, id := range ids {
		replies[i] = pipe.HGet(ctx, Key(queue, id), "owner")
	}
	_, _ = pipe.Exec(ctx) // each reply has its own error
	owners := make(map[string]string, len(ids))
	for i, reply := range replies {
		owner, err := reply.Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("read the claims: %w", err)
		}
		owners[ids[i]] = owner
	}
	return owners, nil
}
