package bulk

import (
	"errors"
	"fmt"
	"strings"

	"errand.internal/internal/produce"
	"errand.internal/tasks"
)

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

// finish counts the rows of a batch and has their receipts written.
func (b *run) finish(some *batch) {
	done := make([]Row, len(some.rows))
	for i, p := range some.rows {
		done[i] = b.count(p)
	}
	b.held.Release(some.size)
	if err := b.Done(done); err != nil {
		b.stop("receipt", fmt.Errorf("write the receipt: %w", err))
	}
}

// count counts a row that is done.
func (b *run) count(p *pendingRow) Row {
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
	return done
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
