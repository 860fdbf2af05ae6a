package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/time/rate"

	"errand.internal/tasks"
)

const (
	// maxInFlight is how many rows are enqueued at once. Only so many are in memory.
	maxInFlight = 32
	// maxShownRefusals is how many refused rows are named on stderr; the receipt has all.
	maxShownRefusals = 10
)

// bulkRun is one run over a file. All of it belongs to one goroutine, but for the
// reading of rows and the enqueueing itself.
type bulkRun struct {
	*invocation
	client    *tasks.Client
	taskType  string
	maxErrors *errorLimit
	limiter   *rate.Limiter
	receipt   io.Writer
	progress  *progress

	rows, enqueued, duplicates, refused, failed int

	stopped string // why not all rows were read
	failure error  // what stopped it, if that has an exit code of its own
}

// pendingRow is one row on its way.
type pendingRow struct {
	row
	id        string
	duplicate bool
	done      chan struct{} // closed when the row is through
}

// receiptLine is what becomes of one row.
type receiptLine struct {
	Row       int    `json:"row"`
	Key       string `json:"key,omitempty"`
	ID        string `json:"id,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Error     string `json:"error,omitempty"`
}

var errBulkInterrupted error = &exitError{
	exitInterrupted,
	errors.New(
		"interrupted; what was enqueued is in the receipt, and running the file again enqueues the rest",
	),
}

// run takes rows until the file ends or something stops it, and then lets those
// that are on their way arrive: every row that was begun has its receipt.
func (b *bulkRun) run(ctx context.Context, file string, from io.Reader) {
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	rows, readErr := b.startReading(reading, file, from)
	var queue []*pendingRow // in the file's order
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
			interrupted = nil // it is stopping already
		}
		select {
		case r, more := <-take:
			if !more {
				b.stop("input", <-readErr)
				if rows = nil; ctx.Err() != nil {
					b.stop("interrupted", errBulkInterrupted)
				}
				continue
			}
			p := &pendingRow{row: r, done: make(chan struct{})}
			queue = append(queue, p)
			go b.enqueue(p)
		case <-oldest:
			b.finish(queue[0])
			queue = queue[1:]
		case <-interrupted:
			b.stop("interrupted", errBulkInterrupted)
		}
		if b.stopped != "" {
			rows = nil
			stopReading()
		}
	}
}

// stop remembers the first reason to stop.
func (b *bulkRun) stop(why string, err error) {
	if b.stopped == "" && (err != nil || why == "errors") {
		b.stopped, b.failure = why, err
	}
}

// startReading hands out the rows of the file. It runs beside the rest, so that a signal
// also ends the wait for somebody who types. The error comes when there are no
// more rows.
func (b *bulkRun) startReading(
	ctx context.Context,
	file string,
	from io.Reader,
) (<-chan row, <-chan error) {
	rows, failed := make(chan row), make(chan error, 1)
	go func() {
		defer close(rows)
		var err error
		defer func() {
			failed <- err
		}()
		defer recoverPanic(&err)
		if err = b.readRows(ctx, file, from, rows); errors.Is(err, io.EOF) {
			err = nil
		}
	}()
	return rows, failed
}

func (b *bulkRun) readRows(
	ctx context.Context,
	file string,
	from io.Reader,
	rows chan<- row,
) error {
	reader, err := newRowReader(file, from, b.taskType)
	if err != nil {
		return err
	}
	for {
		r, err := reader.next()
		if err != nil || b.limiter.Wait(ctx) != nil {
			return err
		}
		select {
		case rows <- r:
		case <-ctx.Done():
			return nil
		}
	}
}

// enqueue puts one row into the queue.
func (b *bulkRun) enqueue(p *pendingRow) {
	defer close(p.done)
	defer recoverPanic(&p.err)
	if p.err != nil {
		return
	}
	payload, err := tasks.DecodePayload(p.taskType, p.payload)
	if err != nil {
		p.err = err
		return
	}
	if p.key == "" {
		if p.key, p.err = payloadDigest(payload); p.err != nil {
			return
		}
	}
	// A signal does not break it off: whether the row is stored would not be
	// known.
	ticket, err := enqueueTask(
		context.Background(),
		b.client,
		p.taskType,
		p.payload,
		[]tasks.Option{tasks.Key(p.key)},
	)
	if err != nil {
		p.err = err
		return
	}
	p.id, p.duplicate = ticket.ID, ticket.Duplicate
}

// payloadDigest is the key of a row that names none. However a payload is written, its
// decoded form is the same.
func payloadDigest(payload interface{ Type() string }) (string, error) {
	raw, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("encode the payload: %w", err)
	}
	sum := sha256.Sum256([]byte(payload.Type() + "\x00" + string(raw)))
	return "sha256:" + hex.EncodeToString(sum[:16]), nil
}

// finish counts a row that is through and writes its receipt.
func (b *bulkRun) finish(p *pendingRow) {
	b.rows++
	line := receiptLine{
		Row:       p.number,
		Key:       p.key,
		ID:        p.id,
		Duplicate: p.duplicate,
	}
	switch {
	case p.err == nil && p.duplicate:
		b.duplicates++
	case p.err == nil:
		b.enqueued++
	default:
		line.Error = b.countFailure(p)
	}
	enc := json.NewEncoder(b.receipt)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		b.stop("receipt", fmt.Errorf("write the receipt: %w", err))
	}
	b.progress.draw(b.rows, b.refused)
}

// countFailure says why a row was not enqueued. What is not the row's own fault stops
// the run.
func (b *bulkRun) countFailure(p *pendingRow) string {
	text := rowErrorText(p.err)
	if !isRefused(p.err) && !errors.Is(p.err, tasks.ErrUnknownType) && !isRowError(p.err) {
		b.failed++
		if redisUnavailable(p.err) {
			b.stop("redis", p.err)
		} else {
			b.stop("unexpected", p.err)
		}
		return text
	}
	if b.refused++; b.refused <= maxShownRefusals {
		b.progress.clear()
		where := fmt.Sprintf("row %d", p.number)
		if p.line != p.number {
			where += fmt.Sprintf(" (line %d)", p.line)
		}
		b.printErr(where + ": " + text)
	} else if b.refused == maxShownRefusals+1 {
		b.progress.clear()
		b.printErr("more rows are refused; the receipt has them all")
	}
	if b.maxErrors.exceeded(b.refused, b.rows) {
		b.stop("errors", nil)
	}
	return text
}

func rowErrorText(err error) string {
	if wrong, ok := errors.AsType[*tasks.PayloadError](err); ok {
		return strings.Join(problemLines(wrong), "; ")
	}
	return err.Error()
}

// bulkSummary is what --json prints.
type bulkSummary struct {
	Rows       int    `json:"rows"`
	Enqueued   int    `json:"enqueued"`
	Duplicates int    `json:"duplicates"`
	Refused    int    `json:"refused"`
	Failed     int    `json:"failed"`            // not stored, or not surely, for another reason
	Stopped    string `json:"stopped,omitempty"` // before the end: errors, redis, interrupted, input, receipt, unexpected
}

func (b *bulkRun) summarize(asJSON bool) {
	sum := bulkSummary{b.rows, b.enqueued, b.duplicates, b.refused, b.failed, b.stopped}
	if asJSON {
		b.printJSON(sum)
		return
	}
	text := fmt.Sprintf(
		"%d rows: %d enqueued, %d there already, %d refused",
		sum.Rows,
		sum.Enqueued,
		sum.Duplicates,
		sum.Refused,
	)
	if sum.Failed > 0 {
		text += fmt.Sprintf(", %d failed", sum.Failed)
	}
	b.printErr(text)
}

// exitCode is how the run ends.
func (b *bulkRun) exitCode(ctx context.Context) (int, error) {
	switch {
	case b.failure != nil:
		return exitCodeOf(ctx, b.failure), b.failure
	case b.stopped == "errors":
		b.printErr("stopped: too many rows are refused (--max-errors)")
		return exitRowsRefused, nil
	case b.refused > 0:
		return exitRowsRefused, nil
	}
	return exitOK, nil
}
