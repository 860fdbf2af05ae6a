package clients

import (
	"context"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// Attempt observes the calls made under one context. It records whether any byte
// of a request may have been sent, even if the code in between panics or hangs.
type Attempt struct {
	// Task is the id of the task that makes the attempt, and Deadline the end of
	// that task's time. A call that must wait for a limit needs both to keep its
	// place in the queue. Set them before the first call.
	Task     string
	Deadline time.Time
	// Underway says that the limits have just admitted another call of the same
	// task. Set it before the first call.
	Underway bool
	// Retry says that the task was attempted before. Set it before the first call.
	Retry bool
	// First is when the task was first attempted, by the local clock; zero if that is
	// not known. Set it before the first call.
	First time.Time
	// Start, if not nil, is called before the first request: an error prevents it, and
	// is the Err of the call's error. Set it before the first call.
	Start func(ctx context.Context) error

	starting sync.Mutex
	started  bool

	place    atomic.Value // string: where a lookup is; see Place
	admitted atomic.Bool  // the limits admitted a call of this attempt
	sent     atomic.Bool
	once     sync.Once
	onSend   func()
}

type attemptKey struct{}

// WithAttempt returns a context whose calls report to the returned Attempt.
// onSend, if not nil, runs once, when the first connection is ready to carry a
// request. Token requests are not observed: they run under a context of their own.
func WithAttempt(ctx context.Context, onSend func()) (context.Context, *Attempt) {
	a := &Attempt{onSend: onSend}
	return context.WithValue(ctx, attemptKey{}, a), a
}

// Sent reports whether a request may have been sent.
func (a *Attempt) Sent() bool {
	return a.sent.Load()
}

// StartAttempt tells the attempt of a context that a request is about to be sent. The
// Caller calls it; so must whoever sends a request in another way.
func StartAttempt(ctx context.Context) error {
	a := attemptFrom(ctx)
	if a == nil || a.Start == nil {
		return nil
	}
	a.starting.Lock()
	defer a.starting.Unlock()
	if a.started {
		return nil
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	a.started = true
	return ctx.Err()
}

func attemptFrom(ctx context.Context) *Attempt {
	a, _ := ctx.Value(attemptKey{}).(*Attempt)
	return a
}

// sendProgress observes how far one request gets, for itself and for the attempt it
// belongs to.
type sendProgress struct {
	attempt *Attempt // nil outside of an attempt
	sent    atomic.Bool
	writing atomic.Bool
	conn    atomic.Pointer[net.Conn] // that carries the request
}

// attach returns a context with which net/http reports to it.
func (p *sendProgress) attach(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			p.conn.Store(&info.Conn)
			p.writing.Store(true)
			if p.attempt != nil && p.attempt.onSend != nil {
				p.attempt.once.Do(p.attempt.onSend)
			}
		},
		WroteHeaders: p.markSent,
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err != nil {
				p.writing.Store(false)
			}
		},
	})
}

func (p *sendProgress) markSent() {
	p.sent.Store(true)
	if p.attempt != nil {
		p.attempt.sent.Store(true)
	}
}

// mayBeSent reports whether the request of a failed call was sent or may
// still be: net/http writes on a separate goroutine, so a call that is cancelled
// at that moment returns while the header may still go out.
func (p *sendProgress) mayBeSent() bool {
	if !p.sent.Load() && !p.writing.Load() {
		return false
	}
	p.markSent()
	return true
}

// closeConn closes the connection of an answer of HTTP/1, so that no other request
// gets it. In HTTP/2 the connection carries other calls, and closing the answer's
// body ends its stream.
func (p *sendProgress) closeConn(protoMajor int) {
	if conn := p.conn.Load(); conn != nil && protoMajor == 1 {
		_ = (*conn).Close()
	}
}
