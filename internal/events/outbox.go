package events

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/alert"
	"errand.internal/internal/record"
	"errand.internal/internal/tracing"
)

const (
	outboxInterval = time.Second
	outboxBatch    = 100
	outboxTimeout  = 10 * time.Second // for one batch
)

// Outbox publishes the ends of tasks: of those enqueued with Notify, and of dead
// letters. The script that ends a task writes its entry into Redis; every worker
// publishes the entries of all queues, regardless of which one ran the task.
type Outbox struct {
	store   *record.Store
	queues  []string
	publish Publish
	log     zerolog.Logger

	wake  chan string // queues
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// NewOutbox returns an Outbox for these queues. It publishes between Start and
// Close.
func NewOutbox(store *record.Store, queues []string, publish Publish, log zerolog.Logger) *Outbox {
	return &Outbox{
		store:   store,
		queues:  queues,
		publish: publish,
		log:     log,
		wake:    make(chan string, 64),
	}
}

// Wake has the queue of a task that has ended checked at once. It never blocks;
// a missed call only delays the event until the next poll.
func (o *Outbox) Wake(id string) {
	queue, err := record.QueueOf(id)
	if err != nil {
		return
	}
	select {
	case o.wake <- queue:
	default: // the next poll finds it
	}
}

// Start begins to publish.
func (o *Outbox) Start() {
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	o.ended.Go(func() {
		o.run(ctx)
	})
}

// Close stops publishing. Pending entries stay in Redis for another worker.
func (o *Outbox) Close() {
	o.stop()
	o.ended.Wait()
}

func (o *Outbox) run(ctx context.Context) {
	poll := time.NewTicker(outboxInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case queue := <-o.wake:
			o.flush(ctx, queue)
		case <-poll.C:
			for _, queue := range o.queues {
				o.flush(ctx, queue)
			}
		}
	}
}

// flush publishes the pending entries of a queue, batch by batch.
func (o *Outbox) flush(ctx context.Context, queue string) {
	for more := true; more && ctx.Err() == nil; {
		sent, err := o.flushBatch(ctx, queue)
		if err != nil && ctx.Err() == nil {
			o.log.Warn().
				Err(err).
				Str("queue", queue).
				Msg("publishing task ends failed; retrying")
		}
		more = err == nil && sent == outboxBatch
	}
}

func (o *Outbox) flushBatch(ctx context.Context, queue string) (sent int, err error) {
	ctx, cancel := context.WithTimeout(ctx, outboxTimeout)
	defer cancel()
	entries, err := o.store.PendingOutbox(ctx, queue, outboxBatch)
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		if err := o.publishEntry(ctx, entry); err != nil {
			return sent, err
		}
		if err := o.store.DeleteOutbox(ctx, queue, entry.ID); err != nil {
			return sent, err
		}
		sent++
	}
	return sent, nil
}

// finishedData is the data of TaskFinished. It omits the result, which may be
// personal and has a retention of its own.
type finishedData struct {
	ID       string         `json:"id"`
	Type     string         `json:"type"`
	Outcome  record.Outcome `json:"outcome"`
	Code     string         `json:"code,omitempty"`
	Message  string         `json:"message,omitempty"`
	Attempts int            `json:"attempts"`
	TraceID  string         `json:"traceId,omitempty"`
}

// deadData is the data of alert.TaskDead.
type deadData struct {
	ID      string         `json:"id"`
	Message string         `json:"message"`
	Outcome record.Outcome `json:"outcome"`
	Type    string         `json:"type"`
	TraceID string         `json:"traceId,omitempty"`
}

// publishEntry publishes the events of one entry. A task ends only once, so its
// ID makes unique event IDs.
func (o *Outbox) publishEntry(ctx context.Context, entry record.OutboxEntry) error {
	if entry.Type == DeliverType { // the fate of a delivery is not an event
		return nil
	}
	ctx = tracing.With(ctx, entry.Traceparent) // the delivery goes on with it
	if entry.Finished {
		id := "evt_finished_" + entry.ID
		if err := o.publishEvent(ctx, id, TaskFinished, entry.Ended, finishedData{
			ID:       entry.ID,
			Type:     entry.Type,
			Outcome:  entry.Outcome,
			Code:     entry.Code,
			Message:  entry.Message,
			Attempts: entry.Attempts,
			TraceID:  tracing.TraceID(ctx),
		}); err != nil {
			return err
		}
	}
	if !entry.Dead {
		return nil
	}
	return o.publishEvent(ctx, "evt_dead_"+entry.ID, string(alert.TaskDead), entry.Ended, deadData{
		ID:      entry.ID,
		Message: entry.Message,
		Outcome: entry.Outcome,
		Type:    entry.Type,
		TraceID: tracing.TraceID(ctx),
	})
}

func (o *Outbox) publishEvent(ctx context.Context, id, eventType string, at time.Time, data any) error {
	e, err := newEvent(id, eventType, at, data)
	if err != nil {
		return err
	}
	return o.publish(ctx, e)
}
