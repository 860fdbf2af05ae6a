package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// countingReader counts the bytes read.
type countingReader struct {
	from io.Reader
	n    atomic.Int64
}

// Read implements io.Reader.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// progress is the progress bar of a bulk run. It is drawn only on a terminal, and
// not if the receipt goes to the same terminal.
type progress struct {
	out       io.Writer // nil: no bar
	read      *countingReader
	size      int64 // of the file; 0 if unknown
	now       func() time.Time
	started   time.Time
	lastDrawn time.Time
	shown     bool
}

const (
	redrawInterval = 100 * time.Millisecond
	barWidth       = 30 // of the bar, in characters
	clearLine      = "\r\x1b[K"
)

func newProgress(
	inv *invocation,
	receiptElsewhere bool,
	read *countingReader,
	input io.Reader,
) *progress {
	p := &progress{
		read:    read,
		now:     inv.now,
		started: inv.now(),
	}
	if isTerminal(inv.stderr) && (receiptElsewhere || !isTerminal(inv.stdout.w)) {
		p.out = inv.stderr
	}
	if f, ok := input.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			p.size = info.Size()
		}
	}
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// draw shows the progress, at most once per redrawInterval.
func (p *progress) draw(rows, refused int) {
	now := p.now()
	if p.out == nil || now.Sub(p.lastDrawn) < redrawInterval {
		return
	}
	p.lastDrawn, p.shown = now, true
	var line strings.Builder
	line.WriteString(clearLine)
	if p.size > 0 {
		fraction := min(float64(p.read.n.Load())/float64(p.size), 1)
		filled := int(fraction * barWidth)
		fmt.Fprintf(
			&line,
			"[%s%s] %3.0f%%  ",
			strings.Repeat("#", filled),
			strings.Repeat(".", barWidth-filled),
			fraction*100,
		)
	}
	fmt.Fprintf(&line, "%d rows", rows)
	if seconds := now.Sub(p.started).Seconds(); seconds >= 1 {
		fmt.Fprintf(&line, ", %.0f/s", float64(rows)/seconds)
	}
	if refused > 0 {
		fmt.Fprintf(&line, ", %d refused", refused)
	}
	_, _ = io.WriteString(p.out, line.String())
}

// clear removes the bar, to make room for a line of text.
func (p *progress) clear() {
	if p.shown {
		_, _ = io.WriteString(p.out, clearLine)
		p.shown, p.lastDrawn = false, time.Time{}
	}
}
