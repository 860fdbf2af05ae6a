package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

const (
	// producers is how many tasks are enqueued, or looked at, at once.
	producers = 8
	// confirmWithin is how long one task is offered to a Redis in trouble.
	confirmWithin = 2 * time.Minute
	// lookEvery is the pause between two looks where nothing tells of a change.
	lookEvery = 100 * time.Millisecond
)

// Enqueue enqueues one task and returns its ID. Each task has a key, so where
// Redis does not confirm it, it is offered again until it is: what Enqueue has
// returned is in the queue once. The site remembers the payload for Check.
func (s *Site) Enqueue(p queue.Payload, opts ...tasks.Option) string {
	s.tb.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		s.tb.Errorf("encode %s: %v", p.Type(), err)
		return ""
	}
	if !hasKey(p) {
		opts = append([]tasks.Option{tasks.Key(s.name("key"))}, opts...)
	}
	ctx, cancel := context.WithTimeout(s.tb.Context(), confirmWithin)
	defer cancel()
	for {
		ticket, err := s.Client.EnqueueJSON(ctx, p.Type(), raw, opts...)
		if err == nil {
			s.mu.Lock()
			s.sent[ticket.ID] = p
			s.mu.Unlock()
			return ticket.ID
		}
		_, wrong := errors.AsType[*tasks.PayloadError](err)
		if wrong || ctx.Err() != nil || !pause(ctx) {
			s.tb.Errorf("enqueue %s: %v", p.Type(), err)
			return ""
		}
	}
}

func pause(ctx context.Context) bool {
	t := time.NewTimer(lookEvery)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// name makes up a value that nobody else has.
func (s *Site) name(what string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return fmt.Sprintf("%s-%s-%d", s.Canary, what, s.next)
}

// User adds a new, active user to AnnA.
func (s *Site) User() string {
	id := s.name("user")
	s.AnnA.PutUser(id, true)
	return id
}

// NewOTPSend is a passcode for a recipient of its own. The code itself is 12
// letters and digits, so that CheckSecrets cannot meet it by chance.
func (s *Site) NewOTPSend() tasks.OTPSend {
	return tasks.OTPSend{
		IDConversation:    danaconnecttest.Conversation,
		OTPType:           2,
		Length:            12,
		SecondsExpiration: new(3200),
		Values: tasks.Values{
			{Key: "COD1_EMAIL", Value: s.name("person") + "@example.com"},
		},
	}
}

// SendOTP enqueues a passcode for a recipient of its own.
func (s *Site) SendOTP(opts ...tasks.Option) string {
	return s.Enqueue(s.NewOTPSend(), opts...)
}

// Inactivate enqueues the inactivation of a user of its own.
func (s *Site) Inactivate(opts ...tasks.Option) string {
	return s.Enqueue(tasks.UserInactivate{UserID: s.User()}, opts...)
}

// ReadAlerts enqueues a count of alerts of a user of its own.
func (s *Site) ReadAlerts(opts ...tasks.Option) string {
	return s.Enqueue(
		tasks.MessengerAlerts{MessengerUser: tasks.MessengerUser{UserID: s.User()}},
		opts...)
}

// CallPipe enqueues a call of a pipe of its own.
func (s *Site) CallPipe(opts ...tasks.Option) string {
	s.mu.Lock()
	s.next++
	listener := fmt.Sprintf("64f1c0de%04x", s.next)
	s.mu.Unlock()
	s.DCKAP.SetPipe(listener, dckaptest.Pipe{})
	return s.Enqueue(
		tasks.DynamicCall{
			Listener: listener,
			Body:     map[string]any{"name": s.name("person")},
		},
		opts...)
}

// Many enqueues n tasks, several at once, and returns their IDs.
func (s *Site) Many(
	n int,
	enqueue func(...tasks.Option) string,
	opts ...tasks.Option,
) []string {
	ids := make([]string, n)
	each(n, func(i int) {
		ids[i] = enqueue(opts...)
	})
	return ids
}

// each calls do with 0 to n-1, several at once.
func each(n int, do func(i int)) {
	work := make(chan int)
	var all sync.WaitGroup
	for range min(producers, n) {
		all.Go(func() {
			for i := range work {
				do(i)
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	all.Wait()
}

// Load enqueues a task every so often until stop is called, which returns all
// their IDs. Redis may be away meanwhile: the load waits for it.
func (s *Site) Load(
	every time.Duration,
	enqueue func(...tasks.Option) string,
	opts ...tasks.Option,
) (stop func() []string) {
	end, ended := make(chan struct{}), make(chan struct{})
	var ids []string
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case <-s.tb.Context().Done():
				return
			case <-ticker.C:
				ids = append(ids, enqueue(opts...))
			}
		}
	}()
	once := sync.OnceValue(func() []string {
		close(end)
		<-ended
		return ids
	})
	s.tb.Cleanup(func() {
		_ = once()
	})
	return once
}
