package events

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/announce"
	"errand.internal/internal/ledger"
)

const (
	drainEvery = time.Second
	drainMost  = 100
)

// NoticeList is where the ends of tasks stand that somebody is to hear of;
// *ledger.Store is one.
type NoticeList interface {
	PendingNotices(ctx context.Context, queue string, n int) ([]ledger.Notice, error)
	NoticeSent(ctx context.Context, queue, id string) error
}

// Notices publishes the ends of tasks: of those that were enqueued with Notify,
// and of those that are dead letters. Every worker goes through the whole list,
// whoever ran the tasks.
type Notices struct {
	list    NoticeList
	queues  []string
	publish Publish
	log     zerolog.Logger

	news  chan string // queues
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// NewNotices returns a Notices of these queues; it publishes from Start until
// Close.
func NewNotices(
	list NoticeList,
	queues []string,
	publish Publish,
	log zerolog.Logger,
) *Notices {
	return &Notices{
		list:    list,
		queues:  queues,
		publish: publish,
		log:     log,
		news:    make(chan string, 64),
	}
}

// Finished says that a task has ended, so that it is looked after at once. It
// is quick, and may be left out.
func (n *Notices) Finished(id string) {
	queue, err := ledger.QueueOf(id)
	if err != nil {
		return
	}
	select {
	case n.news <- queue:
	default: // the next round finds it
	}
}

// Start begins to publish.
func (n *Notices) Start() {
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.ended.Go(func() {
		n.run(ctx)
	})
}

// Close stops. What was not published stays in Redis for another worker.
func (n *Notices) Close() {
	n.stop()
	n.ended.Wait()
}

func (n *Notices) run(ctx context.Context) {
	round := time.NewTicker(drainEvery)
	defer round.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case queue := <-n.news:
			n.drain(ctx, queue)
		case <-round.C:
			for _, queue := range n.queues {
				n.drain(ctx, queue)
			}
		}
	}
}

// drain publishes the notices of one queue.
func (n *Notices) drain(ctx context.Context, queue string) {
	for more := true; more && ctx.Err() == nil; {
		sent, err := n.some(ctx, queue)
		if err != nil && ctx.Err() == nil {
			n.log.Warn().
				Err(err).
				Str("queue", queue).
				Msg("the ends of tasks are not published yet; the next try follows")
		}
		more = err == nil && sent == drainMost
	}
}

func (n *Notices) some(ctx context.Context, queue string) (sent int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	notices, err := n.list.PendingNotices(ctx, queue, drainMost)
	if err != nil {
		return 0, err
	}
	for _, notice := range notices {
		if err := n.send(ctx, queue, notice); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// finishedData is the data of TaskFinished. The result is left out: it may be
// personal, and it is kept for its own time only.
type finishedData struct {
	ID       string         `json:"id"`
	Type     string         `json:"type"`
	Outcome  ledger.Outcome `json:"outcome"`
	Code     string         `json:"code,omitempty"`
	Message  string         `json:"message,omitempty"`
	Attempts int            `json:"attempts"`
}

// deadData is the data of TaskDead.
type deadData struct {
	ID      string         `json:"id"`
	Message string         `json:"message"`
	Outcome ledger.Outcome `json:"outcome"`
	Type    string         `json:"type"`
}

// send publishes what one notice tells, and only then takes it off the list. A
// task ends once, so the events are named after it.
func (n *Notices) send(ctx context.Context, queue string, notice ledger.Notice) error {
	if notice.Type != DeliverType { // what becomes of an event is no event
		if notice.Finished {
			if err := n.tell(ctx, "evt_finished_"+notice.ID, TaskFinished, notice.Ended, finishedData{
				ID:       notice.ID,
				Type:     notice.Type,
				Outcome:  notice.Outcome,
				Code:     notice.Code,
				Message:  notice.Message,
				Attempts: notice.Attempts,
			}); err != nil {
				return err
			}
		}
		if notice.Dead {
			if err := n.tell(ctx, "evt_dead_"+notice.ID, string(announce.TaskDead), notice.Ended, deadData{
				ID:      notice.ID,
				Message: notice.Message,
				Outcome: notice.Outcome,
				Type:    notice.Type,
			}); err != nil {
				return err
			}
		}
	}
	return n.list.NoticeSent(ctx, queue, notice.ID)
}

func (n *Notices) tell(
	ctx context.Context,
	id, eventType string,
	at time.Time,
	data any,
) error {
	e, err := newEvent(id, eventType, at, data)
	if err != nil {
		return err
	}
	return n.publish(ctx, e)
}
