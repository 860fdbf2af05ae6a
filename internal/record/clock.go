package record

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// clocksKey is a hash: the workers whose clocks are wrong, and by how many milliseconds.
const clocksKey = "errand:clocks"

// ClockInterval is how often a worker with a wrong clock says so. clocksTTL is how long
// that is believed.
const (
	ClockInterval = 10 * time.Second
	clocksTTL     = 3 * ClockInterval
)

// WrongClock says that Redis' clock is ahead of a worker's by skew, negative if it is
// behind; zero that it is right again.
func (s *Store) WrongClock(ctx context.Context, owner string, skew time.Duration) error {
	pipe := s.rdb.Pipeline()
	if skew == 0 {
		pipe.HDel(ctx, clocksKey, owner)
	} else {
		pipe.HSet(ctx, clocksKey, owner, skew.Milliseconds())
		pipe.Expire(ctx, clocksKey, clocksTTL)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write the clock: %w", err)
	}
	return nil
}

// WrongClocks returns the live workers whose clocks are wrong, and by how much Redis' is
// ahead of each, negative if it is behind.
func (s *Store) WrongClocks(ctx context.Context) (map[string]time.Duration, error) {
	told, err := s.rdb.HGetAll(ctx, clocksKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the clocks: %w", err)
	}
	wrong := map[string]time.Duration{}
	for owner, text := range told {
		alive, err := s.Alive(ctx, owner)
		if err != nil {
			return nil, err
		}
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil && alive {
			wrong[owner] = time.Duration(ms) * time.Millisecond
		}
	}
	return wrong, nil
}
