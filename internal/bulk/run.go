// Package bulk enqueues a task for each row of a JSONL or CSV file, and writes a
// receipt of each row. Running a file again enqueues only what is missing.
package bulk

import (
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"errand.internal/internal/broker"
	"errand.internal/internal/produce"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

const (
	// batchRows is how many rows are enqueued together, and how many are read ahead. A row
	// that no other follows at once goes alone.
	batchRows = 64
	// maxBatches is how many batches are under way: some are checked and sealed while
	// others are stored.
	maxBatches = 4
	// heldBytes bounds the rows that are held in memory.
	heldBytes = 8 << 20
	// batchBytes is about how many bytes the rows of a batch may have together.
	batchBytes = 1 << 20
)

// Config says what Run enqueues.
type Config struct {
	Client *tasks.Client
	// File is the name of the file. Its extension says which format it has; without one,
	// its first character does.
	File string
	From io.Reader
	// Type is the task type of the rows that do not name one.
	Type string
	// KeyColumn is the name of the CSV column that has the rows' keys, if there is one.
	KeyColumn string
	// Options are those of every row, beside its key.
	Options []tasks.Option
	// DryRun checks the rows, and enqueues none of them. It needs no Client.
	DryRun bool
	// Allow, if set, returns why a task type is refused to this producer.
	Allow func(taskType string) error
	// Limiter is the rate of the rows; nil for none.
	Limiter *rate.Limiter
	// TooMany, if set, stops the run once it returns true.
	TooMany func(refused, rows int) bool
	// Done is called with the rows of each batch, in the order of the file. An error stops
	// the run: the receipt cannot be written.
	Done func([]Row) error
}

// Summary is the result of a run.
type Summary struct {
	Rows     int `json:"rows"`
	Enqueued int `json:"enqueued"`
	// Valid counts the rows that a dry run would have enqueued.
	Valid      int `json:"valid,omitempty"`
	Duplicates int `json:"duplicates"`
	Refused    int `json:"refused"`
	// Failed counts the rows that are not stored, or may not be, through no fault
	// of their own.
	Failed int `json:"failed"`
	// Stopped says why the run ended early: errors, redis, interrupted, input,
	// receipt, or unexpected.
	Stopped string `json:"stopped,omitempty"`
}

// ErrInterrupted says that the context of a run ended before its file did.
var ErrInterrupted = errors.New(
	"interrupted; the receipt lists the enqueued rows, and running the file again enqueues the rest",
)

// run is one run over a file. One goroutine owns its fields; only reading
// rows and enqueueing them happen on others.
type run struct {
	Config
	held    *semaphore.Weighted // bytes of rows in memory
	order   broker.Order
	checked checkedRows // by a dry run
	summary Summary
	failure error // the error that stopped it; nil after too many refused rows
}

// batch is some rows that are enqueued together.
type batch struct {
	rows []*pendingRow
	size int64
	turn *broker.Turn
	done chan struct{} // closed when each row is enqueued or refused
}

// pendingRow is a row that is being enqueued.
type pendingRow struct {
	row
	content   tasks.Payload
	id        string
	duplicate bool
}

// Run enqueues rows until the file ends or something stops it, then waits for those in
// flight: every row that was started gets its receipt. The error says what stopped it;
// it is nil after too many refused rows.
func Run(ctx context.Context, c Config) (Summary, error) {
	if c.Limiter == nil {
		c.Limiter = rate.NewLimiter(rate.Inf, 1)
	}
	r := &run{Config: c, held: semaphore.NewWeighted(heldBytes)}
	r.run(ctx)
	return r.summary, r.failure
}

func (b *run) run(ctx context.Context) {
	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	rows, readErr := b.startReading(readCtx)
	var queue []*batch // in file order
	for rows != nil || len(queue) > 0 {
		var take <-chan row
		if len(queue) < maxBatches {
			take = rows
		}
		var oldest <-chan struct{}
		if len(queue) > 0 {
			oldest = queue[0].done
		}
		interrupted := ctx.Done()
		if rows == nil {
			interrupted = nil // already stopping
		}
		select {
		case r, more := <-take:
			if !more {
				b.stop("input", <-readErr)
				if rows = nil; ctx.Err() != nil {
					b.stop("interrupted", ErrInterrupted)
				}
				continue
			}
			batch := b.batch(r, rows)
			queue = append(queue, batch)
			go b.enqueue(ctx, batch)
		case <-oldest:
			b.finish(queue[0])
			queue = queue[1:]
		case <-interrupted:
			b.stop("interrupted", ErrInterrupted)
		}
		if b.summary.Stopped != "" {
			rows = nil
			stopReading()
		}
	}
}

// batch returns a row and those that have been read after it.
func (b *run) batch(first row, rows <-chan row) *batch {
	some := &batch{turn: b.order.Next(), done: make(chan struct{})}
	for r, more := first, true; more; {
		some.rows = append(some.rows, &pendingRow{row: r})
		some.size += r.weight()
		if len(some.rows) == batchRows || some.size >= batchBytes {
			break
		}
		select {
		case r, more = <-rows:
		default:
			more = false
		}
	}
	return some
}

// stop keeps the first reason to stop. Only "errors" comes without an error.
func (b *run) stop(reason string, err error) {
	if b.summary.Stopped == "" && (err != nil || reason == "errors") {
		b.summary.Stopped, b.failure = reason, err
	}
}

// startReading sends the rows of the file to a channel. It reads on a goroutine of
// its own so that the end of ctx also ends a blocking read, such as one from a
// terminal. The error is sent before the channel of rows is closed.
func (b *run) startReading(ctx context.Context) (<-chan row, <-chan error) {
	rows, readErr := make(chan row, batchRows), make(chan error, 1)
	go func() {
		defer close(rows)
		var err error
		defer func() {
			readErr <- err
		}()
		defer produce.RecoverPanic(&err)
		if err = b.readRows(ctx, rows); errors.Is(err, io.EOF) {
			err = nil
		}
	}()
	return rows, readErr
}

func (b *run) readRows(ctx context.Context, rows chan<- row) error {
	reader, err := newRowReader(b.File, b.From, b.Type, b.KeyColumn)
	if errors.Is(err, io.EOF) {
		return refusedf("the file is empty")
	}
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		r, err := reader.next()
		if errors.Is(err, io.EOF) && n == 0 {
			return refusedf("the file has a header and no rows")
		}
		if err != nil || b.Limiter.Wait(ctx) != nil || b.held.Acquire(ctx, r.weight()) != nil {
			return err
		}
		select {
		case rows <- r:
		case <-ctx.Done():
			return nil
		}
	}
}

// enqueue enqueues the rows of a batch, after any earlier ones with the same keys.
func (b *run) enqueue(ctx context.Context, some *batch) {
	defer close(some.done)
	defer some.turn.Done()
	var sound []*pendingRow
	var keys []string
	for _, p := range some.rows {
		b.decode(p)
		if p.err == nil {
			sound = append(sound, p)
			keys = append(keys, p.taskType+"\x00"+p.key)
		}
	}
	some.turn.Wait(keys)
	if b.DryRun {
		for _, p := range sound {
			b.check(p)
		}
		return
	}
	b.store(ctx, sound)
}

// options are the options of a row.
func (b *run) options(p *pendingRow) []tasks.Option {
	return append(slices.Clip(b.Options), tasks.Key(p.key))
}

// check finds out whether a row would be enqueued.
func (b *run) check(p *pendingRow) {
	defer produce.RecoverPanic(&p.err)
	if p.err = tasks.Check(p.content, b.options(p)...); p.err == nil {
		p.duplicate, p.err = b.checked.add(p, p.content)
	}
}

// store enqueues rows. The end of ctx does not abort it: it would be unknown whether they
// are stored.
func (b *run) store(ctx context.Context, rows []*pendingRow) {
	var err error
	defer func() {
		for _, p := range rows {
			if err != nil {
				p.err = err
			}
		}
	}()
	defer produce.RecoverPanic(&err)
	list := make([]tasks.Payload, len(rows))
	for i, p := range rows {
		list[i] = p.content
	}
	tickets, faults := produce.EnqueueAll(ctx, b.Client, list, func(i int) []tasks.Option {
		return b.options(rows[i])
	})
	for i, p := range rows {
		if p.err = faults[i]; p.err == nil {
			p.id, p.duplicate = tickets[i].ID, tickets[i].Duplicate
		}
	}
}

// decode sets the row's payload and key. It sets err if the row is refused.
func (b *run) decode(p *pendingRow) {
	defer produce.RecoverPanic(&p.err)
	if p.err == nil {
		p.err = p.from.decode(&p.row)
	}
	if p.raw = nil; p.err != nil {
		return
	}
	if b.Allow != nil {
		if err := b.Allow(p.taskType); err != nil {
			p.err = &rowError{err.Error()}
			return
		}
	}
	if p.content, p.err = all.Vendors.Decode(p.taskType, p.payload); p.err != nil {
		return
	}
	key, err := rowKey(p.content, p.key)
	if err != nil {
		p.err = err
		return
	}
	p.key = key
}
