package queue

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/alert"
	"errand.internal/internal/ledger"
)

const (
	sweepEvery = 3 * time.Second
	// tidyEvery is how often the rest is looked after: asynq's archive, and what
	// is unconfirmed.
	tidyEvery = 30 * time.Second
	// unclaimedFor is how long a task may be in asynq's hands without a claim in
	// the ledger: between the two lies one round trip, or freshFor at the most. One
	// that is put back too early comes round, and finds the claim.
	unclaimedFor = 8 * time.Second
	// asynq's script that trims its archive breaks above 8000 entries; its own
	// limit of 10,000 comes too late.
	archiveMost = 5000
	archiveLeft = 4000
	// archiveLot is how many tasks one process may archive between two looks.
	archiveLot = 250
)

// unconfirmedAges are the ages at which an unconfirmed task is announced.
var unconfirmedAges = []time.Duration{time.Hour, 24 * time.Hour}

// sweeper puts back what nobody works on any more: the tasks of processes that
// died, and those that a lost reply left in asynq's active list. asynq itself
// takes one to two minutes for the former, and never sees the latter if their
// lease is gone too. Every process sweeps its own queues; that several do so at
// once is harmless.
type sweeper struct {
	redis    redis.UniversalClient
	store    *ledger.Store
	morgue   *morgue
	queues   []string
	announce alert.Func
	log      zerolog.Logger
	deaths   map[string]*atomic.Int64 // by queue: tasks archived since the last look
	full     chan string              // queues whose archive wants a look

	active    map[string][]string  // by queue: what the last sweep found active
	unclaimed map[string]time.Time // task -> first seen so
	alarmed   map[string]time.Duration
}

func (s *sweeper) run(stop <-chan struct{}) {
	s.active, s.unclaimed, s.alarmed = map[string][]string{}, map[string]time.Time{}, map[string]time.Duration{}
	sweep, tidy := time.NewTicker(sweepEvery), time.NewTicker(tidyEvery)
	defer sweep.Stop()
	defer tidy.Stop()
	for {
		tidying := false
		select {
		case <-stop:
			return
		case <-sweep.C:
		case <-tidy.C:
			tidying = true
		case queue := <-s.full:
			ctx, cancel := context.WithTimeout(context.Background(), sweepEvery)
			if err := s.trim(ctx, queue); err != nil {
				s.log.Warn().Err(err).Str("queue", queue).Msg("asynq's archive was not trimmed; the next try follows")
			}
			cancel()
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), sweepEvery)
		for _, queue := range s.queues {
			var err error
			if tidying {
				err = s.tidy(ctx, queue)
			} else {
				err = s.sweep(ctx, queue)
			}
			if err != nil {
				s.log.Warn().Err(err).Str("queue", queue).Msg("sweeping the queue failed; the next try follows")
			}
		}
		if tidying {
			s.morgue.forget()
		}
		cancel()
	}
}

// sweep looks at the tasks in asynq's hands.
func (s *sweeper) sweep(ctx context.Context, queue string) error {
	base := strings.TrimSuffix(pendingKey(queue), "pending")
	ids, err := s.redis.LRange(ctx, base+"active", 0, -1).Result()
	if err != nil {
		return err
	}
	holders, err := s.store.Holders(ctx, queue, ids)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, id := range ids {
		seen[id] = true
		owner := holders[id]
		switch {
		case owner != "":
			delete(s.unclaimed, id)
			if s.morgue.dead(ctx, owner) {
				s.putBack(ctx, base, id, "its worker died")
			}
		case s.unclaimed[id].IsZero():
			s.unclaimed[id] = time.Now()
		case time.Since(s.unclaimed[id]) > unclaimedFor:
			s.putBack(ctx, base, id, "nobody had it")
		}
	}
	for id := range s.unclaimed {
		if strings.HasPrefix(id, queue+"_") && !seen[id] {
			delete(s.unclaimed, id)
		}
	}
	var gone []any
	for _, id := range s.active[queue] {
		if !seen[id] {
			gone = append(gone, id)
		}
	}
	s.active[queue] = ids
	return s.relist(ctx, base, gone)
}

// relist puts back those tasks that are no longer active and are nowhere else
// either: a script of asynq stopped halfway (see ackHook), and the worker died
// before it could mend that.
func (s *sweeper) relist(ctx context.Context, base string, gone []any) error {
	if len(gone) == 0 {
		return nil
	}
	strays, err := strayScript.Run(ctx, s.redis, []string{base + "active", base + "pending"}, append([]any{base + "t:"}, gone...)...).StringSlice()
	for _, id := range strays {
		s.log.Warn().Str("task_id", id).Str("why", "it was in no list").Msg("task put back into the queue")
	}
	return err
}

func (s *sweeper) putBack(ctx context.Context, base, id, why string) {
	n, err := putBackScript.Run(ctx, s.redis, []string{base + "active", base + "lease", base + "pending", base + "t:" + id}, id).Int()
	delete(s.unclaimed, id)
	if err != nil || n == 0 {
		return // the next sweep sees it, or somebody else was faster
	}
	s.log.Warn().Str("task_id", id).Str("why", why).Msg("task put back into the queue")
}

// strayScript puts back the tasks that say they are active and are not on the
// active list.
//
// KEYS: active, pending
// ARGV: prefix of the task keys, ids
//
// Returns the ids of those it put back.
var strayScript = redis.NewScript(`
local strays = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  if redis.call('HGET', ARGV[1] .. id, 'state') == 'active' and not redis.call('LPOS', KEYS[1], id) then
    redis.call('RPUSH', KEYS[2], id)
    redis.call('HSET', ARGV[1] .. id, 'state', 'pending')
    strays[#strays + 1] = id
  end
end
return strays
`)

// died counts a task that asynq is about to archive.
func (s *sweeper) died(queue string) {
	if s.deaths[queue].Add(1)%archiveLot == 0 {
		select {
		case s.full <- queue:
		default: // the look that waits there is soon enough
		}
	}
}

// trim keeps asynq's archive short.
func (s *sweeper) trim(ctx context.Context, queue string) error {
	base := strings.TrimSuffix(pendingKey(queue), "pending")
	for left := archiveMost + 1; left > archiveMost; {
		var err error
		left, err = trimScript.Run(ctx, s.redis, []string{base + "archived"}, archiveMost, archiveLeft, base+"t:").Int()
		if err != nil {
			return err
		}
	}
	return nil
}

// tidy keeps asynq's archive short and announces what is unconfirmed.
func (s *sweeper) tidy(ctx context.Context, queue string) error {
	if err := s.trim(ctx, queue); err != nil {
		return err
	}
	now, err := s.redis.Time(ctx).Result()
	if err != nil {
		return err
	}
	open, err := s.store.Unconfirmed(ctx, queue, now.Add(-unconfirmedAges[0]))
	if err != nil {
		return err
	}
	for id, due := range open {
		for _, age := range unconfirmedAges {
			if now.Sub(due) >= age && s.alarmed[id] < age {
				s.alarmed[id] = age
				s.announce(alert.Alert{Kind: alert.TaskUnconfirmed, Subject: id, Data: map[string]string{"age": age.String()}})
			}
		}
	}
	for id := range s.alarmed {
		if _, still := open[id]; !still && strings.HasPrefix(id, queue+"_") {
			delete(s.alarmed, id)
		}
	}
	return nil
}

// trimScript deletes the oldest archived tasks of a queue, some hundred at a
// time. Nothing is lost: their dead letters are in the ledger.
//
// KEYS: archived
// ARGV: most, left, prefix of the task keys
//
// Returns how many are left.
var trimScript = redis.NewScript(`
local n = redis.call('ZCARD', KEYS[1])
if n <= tonumber(ARGV[1]) then return n end
local some = math.min(n - tonumber(ARGV[2]), 500)
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, some - 1)) do
  redis.call('DEL', ARGV[3] .. id)
  redis.call('ZREM', KEYS[1], id)
end
return n - some
`)
