package broker

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/record"
)

// Reclaim replays a started claim.
func (s *Server) Reclaim(ctx context.Context, c *Claim) error { return s.reclaim(ctx, c) }

// Replay replays all recent claims, as after a failover.
func (s *Server) Replay() { s.replay.all() }

// Remembered counts the claims that a failover would replay.
func (s *Server) Remembered() int {
	s.replay.mu.Lock()
	defer s.replay.mu.Unlock()
	return len(s.replay.recent)
}

// WriteEnd writes a result as a replay does: once, whatever the claim has been through.
func (s *Server) WriteEnd(ctx context.Context, c *Claim, r Result) error {
	return s.end(ctx, c, c.endArguments(r))
}

// TakeAgain takes with the nonce of an earlier take, whose reply was lost.
func (s *Server) TakeAgain(ctx context.Context, queue string, n int, nonce string) ([]*Claim, error) {
	return s.take(ctx, s.general, queue, n, nonce)
}

// Wake wakes up to n tasks that are parked for a blocker.
func (s *Server) Wake(ctx context.Context, queue, blocker string, n int) (int64, error) {
	reply, err := run(ctx, s.general, wakeStep, queue, newArguments("blocker", blocker, "n", n))
	return reply.Int(0), err
}

// Forward makes the delayed tasks pending whose time has come.
func (s *Server) Forward(ctx context.Context, queue string) (int64, error) {
	reply, err := run(ctx, s.general, forwardStep, queue, newArguments())
	return reply.Int(0), err
}

// Heart is a failure detector without a loop.
type Heart struct{ *heart }

// NewHeart returns the Heart of a worker.
func NewHeart(store *record.Store, owner string) Heart {
	return Heart{newHeart(store, owner, zerolog.Nop())}
}

// Beat gives a heartbeat.
func (h Heart) Beat() error { return h.beat() }

// Dead reports whether a worker counts as dead.
func (h Heart) Dead(ctx context.Context, owner string) bool { return h.dead(ctx, owner) }

// Age makes all that the Heart remembers older.
func (h Heart) Age(d time.Duration, own bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for owner, s := range h.suspects {
		s.first = s.first.Add(-d)
		h.suspects[owner] = s
	}
	if own {
		h.beatenAt = h.beatenAt.Add(-d)
	}
}

// AnnounceUnconfirmed announces the audited tasks of a queue that stay unconfirmed.
func (s *Server) AnnounceUnconfirmed(ctx context.Context, queue string) error {
	return s.reconciler.announceUnconfirmed(ctx, queue)
}

// TrimOutbox deletes ends that nobody has published in time.
func (s *Server) TrimOutbox(ctx context.Context, queue string) error {
	return s.reconciler.trimOutbox(ctx, queue)
}

// Stopping reports whether Shutdown was called.
func (s *Server) Stopping() bool { return s.isStopping() }
