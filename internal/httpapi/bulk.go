package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"errand.internal/internal/bulk"
)

const (
	// stallTimeout is how long a bulk may stand still: the next byte of a row does not
	// arrive, or nobody reads the receipts.
	stallTimeout = 30 * time.Second
	// maxBulkTime bounds a bulk that trickles.
	maxBulkTime = time.Hour
	// flushInterval is how long a receipt may wait for others.
	flushInterval = 50 * time.Millisecond
)

// BulkEnd is the last line of the answer to a bulk. Without it the answer was cut off.
type BulkEnd struct {
	bulk.Summary
	Error string `json:"error,omitempty" doc:"Why the bulk ended early. The rows without a receipt were not read; sending them again enqueues what is missing."`
}

// bulk enqueues a task for each row, and streams the receipts.
func (a *api) bulk(q *request) error {
	select {
	case q.client.bulks <- struct{}{}:
		defer func() { <-q.client.bulks }()
	default:
		return problem(http.StatusTooManyRequests, "too-many", "this key has too many bulks running at once").retry(1)
	}
	cfg, err := q.bulkConfig()
	if err != nil {
		return err
	}
	// The receipts of the first rows leave before the last rows have come. What is left of
	// the body when the bulk ends early must not be taken for the next request.
	_ = http.NewResponseController(&q.w).EnableFullDuplex()
	q.w.Header().Set("Connection", "close")
	in := &steadyBody{q: q}
	defer in.stop()
	out := newReceipts(&q.w, func(result string) { a.metrics.rows.WithLabelValues(q.client.name, result).Inc() })
	defer out.stop()
	cfg.Client = a.client
	cfg.From = in
	cfg.Done = out.write
	stoppable, detach := a.untilStop(q)
	defer detach()
	ctx, cancel := context.WithTimeout(stoppable, maxBulkTime)
	defer cancel()
	sum, failure := bulk.Run(ctx, cfg)
	if sum.Rows == 0 {
		return noRows(failure)
	}
	end := BulkEnd{Summary: sum}
	if failure != nil {
		end.Error = stopTexts[sum.Stopped]
		a.log.Info().Err(failure).Str("key", q.client.name).Int("rows", sum.Rows).Msg("a bulk ended early")
	}
	out.end(end)
	return nil
}

// bulkConfig reads the query of a bulk.
func (q *request) bulkConfig() (bulk.Config, error) {
	if err := q.uncompressed(); err != nil {
		return bulk.Config{}, err
	}
	p := newParameters(q.Request)
	taskType, given := p.text("type")
	if given {
		if err := checkType(taskType); err != nil {
			p.fault("query", "type", err.Error())
		}
	}
	opts, _ := p.options(time.Now())
	if faults := p.end(); len(faults) > 0 {
		return bulk.Config{}, invalid(faults...)
	}
	return bulk.Config{
		File:    "body.jsonl",
		Type:    taskType,
		Options: append(opts, by(q.client.name)),
		Limiter: q.client.rows,
		Allow: func(taskType string) error {
			if q.client.allows(taskType) {
				return nil
			}
			return fmt.Errorf("the key %s may not enqueue this type", q.client.name)
		},
	}, nil
}

// stopTexts say why a bulk ended early, by Summary.Stopped.
var stopTexts = map[string]string{
	"redis":       "Redis takes no writes now",
	"interrupted": "the worker is stopping, the client is gone, or the bulk took more than an hour",
	"input":       "the body ended early, or stood still for 30 s",
	"receipt":     "nobody read the receipts for 30 s",
	"unexpected":  "something unexpected happened; the worker's log has more",
}

// notStored is the receipt of a row that was not at fault. The cause is for the log of
// the worker: it may name hosts.
const notStored = "it is not known to be stored; send the row again"

// noRows is the problem of a body without a row.
func noRows(failure error) error {
	if file, ok := errors.AsType[*bulk.FileError](failure); ok {
		return invalid(Fault{In: "body", Rule: strings.Replace(file.Error(), "the file", "the body", 1)})
	}
	if errors.Is(failure, bulk.ErrInterrupted) {
		return problem(http.StatusServiceUnavailable, "shutting-down", "nothing was stored; send it again").retry(1)
	}
	if failure != nil {
		return bodyProblem(failure)
	}
	return invalid(Fault{In: "body", Rule: "has no rows"})
}

// steadyBody reads a body that may take long, but must not stand still.
type steadyBody struct {
	q       *request
	mu      sync.Mutex
	stopped bool
}

// Read implements io.Reader.
func (b *steadyBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.stopped {
		b.mu.Unlock()
		return 0, io.ErrClosedPipe
	}
	b.q.readUntil(time.Now().Add(stallTimeout))
	b.mu.Unlock()
	n, err := b.q.Body.Read(p)
	if errors.Is(err, io.EOF) { // from here on net/http reads, to notice that the client is gone
		b.q.readUntil(time.Time{})
	}
	return n, err
}

// stop ends a Read that is still waiting.
func (b *steadyBody) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	b.q.readUntil(time.Now())
}

// receipts writes the receipts of a bulk as they come.
type receipts struct {
	w     *answer
	count func(result string)
	done  chan struct{}
	group sync.WaitGroup

	mu    sync.Mutex
	dirty bool
}

func newReceipts(w *answer, count func(result string)) *receipts {
	r := &receipts{
		w:     w,
		count: count,
		done:  make(chan struct{}),
	}
	r.group.Go(r.flushing)
	return r
}

// flushing sends what was written, now and then.
func (r *receipts) flushing() {
	ticker := time.NewTicker(flushInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-r.done:
			return
		}
		r.mu.Lock()
		if r.dirty {
			r.dirty = false
			_ = http.NewResponseController(r.w).Flush() // the next write meets the error
		}
		r.mu.Unlock()
	}
}

// stop returns once nothing is sent any more: after the call there is no connection.
func (r *receipts) stop() {
	close(r.done)
	r.group.Wait()
}

// write writes the receipts of some rows.
func (r *receipts) write(rows []bulk.Row) error {
	lines := make([]any, len(rows))
	for i, row := range rows {
		switch {
		case row.Refused:
			r.count("refused")
		case row.Error != "":
			row.Error = notStored
			r.count("failed")
		case row.Duplicate:
			r.count("duplicate")
		default:
			r.count("enqueued")
		}
		lines[i] = row.Receipt
	}
	return r.lines(lines...)
}

func (r *receipts) lines(list ...any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = http.NewResponseController(r.w).SetWriteDeadline(time.Now().Add(stallTimeout))
	if r.w.status == 0 {
		r.w.Header().Set("Content-Type", linesType)
		r.w.WriteHeader(http.StatusOK)
	}
	enc := json.NewEncoder(r.w)
	enc.SetEscapeHTML(false)
	r.dirty = true
	for _, line := range list {
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// end writes the last line.
func (r *receipts) end(end BulkEnd) {
	_ = r.lines(end)
}

// linesType is the content type of JSON lines.
const linesType = "application/jsonl"
