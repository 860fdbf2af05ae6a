package broker

import "sync"

// Order has tasks with the same key stored one after the other, in the order of their
// batches, while several batches are under way. The zero value is ready to use.
type Order struct {
	mu     sync.Mutex
	latest map[string]*Turn // by key, of the turns that are not over
	last   *Turn
}

// Turn is one batch's turn. Each needs Done, whatever becomes of the batch.
type Turn struct {
	order    *Order
	previous *Turn // until that has named its keys
	keys     []string
	named    chan struct{} // closed when its keys are known
	done     chan struct{} // closed when its tasks are stored or refused
}

// Next returns the turn of the next batch.
func (o *Order) Next() *Turn {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = &Turn{
		order:    o,
		previous: o.last,
		named:    make(chan struct{}),
		done:     make(chan struct{}),
	}
	return o.last
}

// Wait returns when no earlier batch has tasks with these keys under way.
func (t *Turn) Wait(keys []string) {
	if t.previous != nil {
		<-t.previous.named
		t.previous = nil
	}
	t.keys = keys
	var earlier []*Turn
	t.order.mu.Lock()
	if t.order.latest == nil {
		t.order.latest = map[string]*Turn{}
	}
	for _, key := range keys {
		if other := t.order.latest[key]; other != nil && other != t {
			earlier = append(earlier, other)
		}
		t.order.latest[key] = t
	}
	t.order.mu.Unlock()
	close(t.named)
	for _, other := range earlier {
		<-other.done
	}
}

// Done ends the turn.
func (t *Turn) Done() {
	select {
	case <-t.named:
	default:
		t.Wait(nil) // the batch was given up before its keys were known
	}
	t.order.mu.Lock()
	for _, key := range t.keys {
		if t.order.latest[key] == t {
			delete(t.order.latest, key)
		}
	}
	t.order.mu.Unlock()
	close(t.done)
}
