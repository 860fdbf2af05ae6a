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
	"errand.internal/tasks/all"
)

const (
	// maxInFlight is how many rows are enqueued concurrently, and held in memory.
	maxInFlight = 32
	// maxShownRefusals is how many refused rows stderr names; the receipt has all.
	maxShownRefusals = 10
)

// bulkRun is one run over a file. One goroutine owns its fields; only reading
// rows and enqueueing them happen on others.
type bulkRun struct {
	*invocation
	client    *tasks.Client
	taskType  string
	maxErrors *errorLimit
	limiter   *rate.Limiter
	receipt   io.Writer
	progress  *progress

	counts bulkSummary
	keys   rowKeys

	stopped string // why the run stopped early: the value of bulkSummary.Stopped
	failure error  // the error that stopped it; nil after too many refused rows
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

// receiptLine is the receipt of one row.
type receiptLine struct {
	Row       int    `json:"row"`
	Key       string `json:"key,omitempty"`
	ID        string `json:"id,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`
	Error     string `json:"error,omitempty"`
}

var errBulkInterrupted error = &exitError{
	exitInterrupted,
	errors.New("interrupted; the receipt lists the enqueued rows, and running the file again enqueues the rest"),
}

// run enqueues rows until the file ends or something stops it, then waits for
// those in flight: every row that was started gets its receipt.
func (b *bulkRun) run(ctx context.Context, file string, from io.Reader) {
	readCtx, stopReading := context.WithCancel(ctx)
	defer stopReading()
	rows, readErr := b.startReading(readCtx, file, from)
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
					b.stop("interrupted", errBulkInterrupted)
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

// stop keeps the first reason to stop. Only "errors" comes without an error.
func (b *bulkRun) stop(reason string, err error) {
	if b.stopped == "" && (err != nil || reason == "errors") {
		b.stopped, b.failure = reason, err
	}
}

// startReading sends the rows of the file to a channel. It reads on a goroutine of
// its own so that a signal also ends a blocking read, such as one from a terminal.
// The error is sent before the channel of rows is closed.
func (b *bulkRun) startReading(
	ctx context.Context,
	file string,
	from io.Reader,
) (<-chan row, <-chan error) {
	rows, readErr := make(chan row), make(chan error, 1)
	go func() {
		defer close(rows)
		var err error
		defer func() {
			readErr <- err
		}()
		defer recoverPanic(&err)
		if err = b.readRows(ctx, file, from, rows); errors.Is(err, io.EOF) {
			err = nil
		}
	}()
	return rows, readErr
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

// enqueue enqueues one row, after any earlier one with the same key.
func (b *bulkRun) enqueue(p *pendingRow) {
	defer close(p.done)
	payload := p.decodePayload()
	earlier := b.keys.add(p)
	if p.err != nil {
		return
	}
	defer b.keys.remove(p)
	defer recoverPanic(&p.err)
	if earlier != nil {
		<-earlier.done
	}
	// A signal does not abort this call: it would be unknown whether the row is
	// stored.
	ticket, err := enqueueTask(
		context.Background(),
		b.client,
		payload,
		[]tasks.Option{tasks.Key(p.key)},
	)
	if err != nil {
		p.err = err
		return
	}
	p.id, p.duplicate = ticket.ID, ticket.Duplicate
}

// decodePayload returns the row's payload, and finds out its key. It sets err if the row is
// refused.
func (p *pendingRow) decodePayload() (payload tasks.Payload) {
	defer recoverPanic(&p.err)
	if p.err != nil {
		return nil
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
	raw, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("encode the payload: %w", err)
	}
	sum := sha256.Sum256([]byte(payload.Type() + "\x00" + string(raw)))
	return "sha256:" + hex.EncodeToString(sum[:16]), nil
}

// finish counts a row and writes its receipt.
func (b *bulkRun) finish(p *pendingRow) {
	b.counts.Rows++
	line := receiptLine{
		Row:       p.number,
		Key:       p.key,
		ID:        p.id,
		Duplicate: p.duplicate,
	}
	switch {
	case p.err == nil && p.duplicate:
		b.counts.Duplicates++
	case p.err == nil:
		b.counts.Enqueued++
	default:
		line.Error = b.countFailure(p)
	}
	enc := json.NewEncoder(b.receipt)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(line); err != nil {
		b.stop("receipt", fmt.Errorf("write the receipt: %w", err))
	}
	b.progress.draw(b.counts.Rows, b.counts.Refused)
}

// countFailure counts a row that was not enqueued and returns why. An error that
// is not the row's own stops the run.
func (b *bulkRun) countFailure(p *pendingRow) string {
	text := rowErrorText(p.err)
	if !isRefused(p.err) && !errors.Is(p.err, tasks.ErrUnknownType) && !isRowError(p.err) {
		b.counts.Failed++
		if redisUnavailable(p.err) {
			b.stop("redis", p.err)
		} else {
			b.stop("unexpected", p.err)
		}
		return text
	}
	if b.counts.Refused++; b.counts.Refused <= maxShownRefusals {
		b.progress.clear()
		position := fmt.Sprintf("row %d", p.number)
		if p.line != p.number {
			position += fmt.Sprintf(" (line %d)", p.line)
		}
		b.printErr(position + ": " + text)
	} else if b.counts.Refused == maxShownRefusals+1 {
		b.progress.clear()
		b.printErr("more rows were refused; the receipt lists them all")
	}
	if b.maxErrors.exceeded(b.counts.Refused, b.counts.Rows) {
		b.stop("errors", nil)
	}
	return text
}

func rowErrorText(err error) string {
	if invalid, ok := errors.AsType[*tasks.PayloadError](err); ok {
		return strings.Join(problemLines(invalid), "; ")
	}
	return err.Error()
}

// bulkSummary is the result of a run, as --json prints it.
type bulkSummary struct {
	Rows       int `json:"rows"`
	Enqueued   int `json:"enqueued"`
	Duplicates int `json:"duplicates"`
	Refused    int `json:"refused"`
	// Failed counts the rows that are not stored, or may not be, through no fault
	// of their own.
	Failed int `json:"failed"`
	// Stopped says why the run ended early: errors, redis, interrupted, input,
	// receipt, or unexpected.
	Stopped string `json:"stopped,omitempty"`
}

func (b *bulkRun) summarize(asJSON bool) {
	sum := b.counts
	sum.Stopped = b.stopped
	if asJSON {
		b.printJSON(sum)
		return
	}
	text := fmt.Sprintf(
		"%d rows: %d enqueued, %d duplicates, %d refused",
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

// exitCode returns the exit code of the run, and its error.
func (b *bulkRun) exitCode(ctx context.Context) (int, error) {
	switch {
	case b.failure != nil:
		return exitCodeOf(ctx, b.failure), b.failure
	case b.stopped == "errors":
		b.printErr("stopped: too many rows were refused (--max-errors)")
		return exitRowsRefused, nil
	case b.counts.Refused > 0:
		return exitRowsRefused, nil
	}
	return exitOK, nil
}
