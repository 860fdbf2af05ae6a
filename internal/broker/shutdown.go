package broker

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// cutAfter is how long after Grace Redis may still take to answer.
	cutAfter = time.Second
	// leaveAfter is how long the parts may take to notice that they were cut off.
	leaveAfter = 500 * time.Millisecond
)

// Shutdown takes no more tasks, lets the running attempts end within Grace, and puts
// back what did not start. It may be called more than once.
//
// A Redis that does not answer is cut off then. Each part of asynq would wait for it
// in turn, for a minute and more, so what still hangs is left behind: the process is
// about to exit, and the other workers rule on what it held.
func (s *Server) Shutdown() {
	s.stop.Do(func() {
		close(s.stopping)
		go func() {
			defer close(s.drained)
			s.drain()
		}()
		select {
		case <-s.drained:
			close(s.gone)
		case <-time.After(s.grace + cutAfter):
			close(s.gone)
			s.log.Warn().Msg("Redis does not answer; the worker stops without it, and the others rule on what it held")
			if s.cut != nil {
				s.cut()
			}
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			<-s.drained
			s.background.Wait()
		}()
		select {
		case <-ended:
		case <-time.After(leaveAfter):
		}
	})
}

// Drained reports whether Shutdown has ended asynq's servers. If it had to leave them
// behind, their client must stay open: asynq's subscriber panics on a closed one.
func (s *Server) Drained() bool {
	select {
	case <-s.drained:
		return true
	default:
		return false
	}
}

func (s *Server) drain() {
	for _, server := range s.servers {
		server.Stop() // it tells so, and the worker counts no longer as one that runs the queue
	}
	s.awaitSlots()
	var all sync.WaitGroup
	for _, server := range s.servers {
		all.Go(server.Shutdown)
	}
	all.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), blockFor)
	defer cancel()
	for _, d := range s.dispatches {
		d.drain(ctx)
	}
	s.mu.Lock()
	open := slices.Collect(maps.Values(s.claims))
	s.mu.Unlock()
	for _, c := range open {
		c.requeue(ctx)
	}
	_ = s.store.Deregister(ctx, s.owner) // the heartbeat expires by itself, too
}

// awaitSlots waits until the slots run nothing, or grace is over.
func (s *Server) awaitSlots() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.slots.Wait()
	}()
	select {
	case <-ended:
	case <-time.After(s.grace):
	}
}
