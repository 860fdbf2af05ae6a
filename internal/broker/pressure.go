package broker

import (
	"fmt"
	"sync"
	"time"

	"errand.internal/internal/redisscript"
)

// memoryEvery is how often a producer has Redis' memory looked at, by one of the scripts
// that it runs anyway: that takes Redis some microseconds.
const memoryEvery = time.Second

// FullError says that a task was not stored, because too many wait already or Redis has
// hardly any memory left. The same task may be stored later.
type FullError struct {
	Queue string
	// Waiting is how many tasks of the queue wait, and Limit how many may; zero if it is
	// Redis' memory.
	Waiting int64
	Limit   int
	// MemoryUsed is the percentage of Redis' maxmemory in use; zero if it is the queue.
	MemoryUsed int64
}

// Error implements error.
func (e *FullError) Error() string {
	if e.MemoryUsed > 0 {
		return fmt.Sprintf("not stored: Redis uses %d %% of its maxmemory, and no more than 90 %% is filled", e.MemoryUsed)
	}
	return fmt.Sprintf("not stored: %d tasks of the queue %s wait, and QUEUE_LIMIT allows %d", e.Waiting, e.Queue, e.Limit)
}

// pressure refuses tasks before Redis refuses everything. Its zero value refuses none.
type pressure struct {
	on    bool
	limit int
	// looked is when the memory was looked at last, by queue: a cluster has the queues
	// on several nodes.
	mu     sync.Mutex
	looked map[string]time.Time
}

// RefuseWhenFull has Enqueue fail with a *FullError while limit tasks of the queue wait (0:
// no limit), or while Redis has less than a tenth of its memory left. Call it before the
// first Enqueue.
func (p *Producer) RefuseWhenFull(limit int) {
	p.pressure.on = true
	p.pressure.limit = limit
	p.pressure.looked = map[string]time.Time{}
}

// ask adds what the script is to look at.
func (p *pressure) ask(queue string, a *arguments) {
	if !p.on {
		return
	}
	if p.limit > 0 {
		a.add("most", p.limit)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked[queue]) >= memoryEvery {
		p.looked[queue] = now
		a.add("memory", 1)
	}
}

// refuse reads the script's refusal. While there is no memory left, each task looks.
func (p *pressure) refuse(queue string, reply redisscript.Reply) *FullError {
	e := &FullError{Queue: queue}
	if reply.Text(0) == "full" {
		e.Waiting = reply.Int(1)
		e.Limit = p.limit
		return e
	}
	e.MemoryUsed = reply.Int(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.looked, queue)
	return e
}
