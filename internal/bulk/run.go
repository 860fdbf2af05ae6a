// Package bulk enqueues a task for each row of a JSONL or CSV file, and writes a
// receipt of each row. Running a file again enqueues only what is missing.
package bulk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/time/rate"

	"errand.internal/internal/produce"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// maxInFlight is how many rows are enqueued concurrently, and held in memory.
const maxInFlight = 32

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
	// Done is called for each row, in the order of the file. An error stops the run: the
	// receipt cannot be written.
	Done func(Row) error
}

// Row is a row that was enqueued, refused, or failed.
type Row struct {
	Receipt
	// Line is where the row starts in the file.
	Line int
	// Refused says that the row itself is at fault.
	Refused bool
}

// Receipt is the receipt of one row.
type Receipt struct {
	Row       int    `json:"row"`
	Key       string `json:"key,omitempty"`
	ID        string `json:"id,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Error     string `json:"error,omitempty"`
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
	keys    rowKeys
	checked checkedRows // by a dry run
	summary Summary
	failure error // the error that stopped it; nil after too many refused rows
}

// pendingRow is a row that is being enqueued.
type pendingRow struct {
	row
	previous  *pendingRow // the row before it, until that is decoded
	id        string
	duplicate bool
	decoded   chan struct{} // closed when its key is known, or it is refused
	done      chan struct{} // closed when the row is enqueued or refused
}

// Run enqueues rows until the file ends or something stops it, then waits for those in
// flight: every row that was started gets its receipt. The error says what stopped it;
// it is nil after too many refused rows.
func Run(ctx context.Context, c Config) (Summary, error) {
	if c.Limiter == nil {
		c.Limiter = rate.NewLimiter(rate.Inf, 1)
	}
	r := &run{Config: c}
	r.run(ctx)
	return r.summary, r.failure
}

func (b *run) run(ctx context.Context) {
	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	rows, readErr := b.startReading(readCtx)
	var queue []*pendingRow // in file order
	var latest *pendingRow
	for rows != nil || len(queue) > 0 {
		var take <-chan row
		if len(queue) < maxInFlight {
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
			p := &pendingRow{
				row:      r,
				previous: latest,
				decoded:  make(chan struct{}),
				done:     make(chan struct{}),
			}
			latest = p
			queue = append(queue, p)
			go b.enqueue(ctx, p)
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
	rows, readErr := make(chan row), make(chan error, 1)
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
		if err != nil || b.Limiter.Wait(ctx) != nil {
			return err
		}
		select {
		case rows <- r:
		case <-ctx.Done():
			return nil
		}
	}
}

// enqueue enqueues one row, after any earlier one with the same key. The end of ctx does
// not abort it: it would be unknown whether the row is stored.
func (b *run) enqueue(ctx context.Context, p *pendingRow) {
	defer close(p.done)
	payload := b.decodePayload(p)
	earlier := b.keys.add(p)
	if p.err != nil {
		return
	}
	defer b.keys.remove(p)
	defer produce.RecoverPanic(&p.err)
	if earlier != nil {
		<-earlier.done
	}
	opts := append(slices.Clone(b.Options), tasks.Key(p.key))
	if b.DryRun {
		if p.err = tasks.Check(payload, opts...); p.err == nil {
			p.duplicate, p.err = b.checked.add(p, payload)
		}
		return
	}
	ticket, err := produce.Enqueue(ctx, b.Client, payload, opts)
	if err != nil {
		p.err = err
		return
	}
	p.id, p.duplicate = ticket.ID, ticket.Duplicate
}

// decodePayload returns the row's payload, and finds out its key. It sets err if the
// row is refused.
func (b *run) decodePayload(p *pendingRow) (payload tasks.Payload) {
	defer produce.RecoverPanic(&p.err)
	if p.err != nil {
		return nil
	}
	if b.Allow != nil {
		if err := b.Allow(p.taskType); err != nil {
			p.err = &rowError{err.Error()}
			return nil
		}
	}
	if payload, p.err = all.Vendors.Decode(p.taskType, p.payload); p.err != nil {
		return nil
	}
	key, err := rowKey(payload, p.key)
	if err != nil {
		p.err = err
		return nil
	}
	p.key = key
	return payload
}

// rowKey returns the key of a row: the payload's own, else the given one, else a
// digest. A digest never stands in for the payload's own key: after a typo is mended,
// it would be another task for the same reference.
func rowKey(payload tasks.Payload, given string) (string, error) {
	key, err := tasks.KeyOf(payload, given)
	if key == "" && err == nil {
		key, err = payloadDigest(payload)
	}
	return key, err
}

// payloadDigest digests the decoded payload, so white space and the order of fields
// do not matter.
func payloadDigest(payload tasks.Payload) (string, error) {
	sum, err := digest(payload)
	return "sha256:" + hex.EncodeToString(sum[:]), err
}

func digest(payload tasks.Payload) (short [16]byte, err error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return short, fmt.Errorf("encode the payload: %w", err)
	}
	sum := sha256.Sum256([]byte(payload.Type() + "\x00" + string(raw)))
	return [16]byte(sum[:]), nil
}

// finish counts a row and has its receipt written.
func (b *run) finish(p *pendingRow) {
	b.summary.Rows++
	done := Row{
		Receipt: Receipt{
			Row:       p.number,
			Key:       p.key,
			ID:        p.id,
			Duplicate: p.duplicate,
		},
		Line: p.line,
	}
	switch {
	case p.err == nil && p.duplicate:
		b.summary.Duplicates++
	case p.err == nil && b.DryRun:
		b.summary.Valid++
	case p.err == nil:
		b.summary.Enqueued++
	default:
		done.Error = errorText(p.err)
		done.Refused = b.countFailure(p.err)
	}
	if err := b.Done(done); err != nil {
		b.stop("receipt", fmt.Errorf("write the receipt: %w", err))
	}
}

// countFailure counts a row that was not enqueued, and reports whether the row itself
// is at fault. Any other error stops the run.
func (b *run) countFailure(err error) (refused bool) {
	if !produce.Refused(err) && !errors.Is(err, tasks.ErrUnknownType) && !isRowError(err) {
		b.summary.Failed++
		reason := "unexpected"
		if produce.Unavailable(err) {
			reason = "redis"
		}
		b.stop(reason, err)
		return false
	}
	b.summary.Refused++
	if b.TooMany != nil && b.TooMany(b.summary.Refused, b.summary.Rows) {
		b.stop("errors", nil)
	}
	return true
}

func errorText(err error) string {
	if invalid, ok := errors.AsType[*tasks.PayloadError](err); ok {
		return strings.Join(produce.Lines(invalid), "; ")
	}
	return err.Error()
}
