package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// countingReader counts what has been read.
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

// progress is the bar of a long bulk run. It is drawn on a terminal only, and
// not where the receipt's lines go to the same terminal.
type progress struct {
	to    io.Writer // nil: no bar
	read  *countingReader
	size  int64 // of the file, 0 if unknown
	now   func() time.Time
	begun time.Time
	drawn time.Time
	shown bool
}

const (
	redraw = 100 * time.Millisecond
	width  = 30 // of the bar, in characters
	wipe   = "\r\x1b[K"
)

func newProgress(
	s *session,
	receiptElsewhere bool,
	read *countingReader,
	input io.Reader,
) *progress {
	p := &progress{
		read:  read,
		now:   s.now,
		begun: s.now(),
	}
	if terminal(s.stderr) && (receiptElsewhere || !terminal(s.stdout.w)) {
		p.to = s.stderr
	}
	if f, ok := input.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			p.size = info.Size()
		}
	}
	return p
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// draw shows how far the run is, a few times a second at most.
func (p *progress) draw(rows, refused int) {
	now := p.now()
	if p.to == nil || now.Sub(p.drawn) < redraw {
		return
	}
	p.drawn, p.shown = now, true
	var line strings.Builder
	line.WriteString(wipe)
	if p.size > 0 {
		share := min(float64(p.read.n.Load())/float64(p.size), 1)
		full := int(share * width)
		fmt.Fprintf(
			&line,
			"[%s%s] %3.0f%%  ",
			strings.Repeat("#", full),
			strings.Repeat(".", width-full),
			share*100,
		)
	}
	fmt.Fprintf(&line, "%d rows", rows)
	if seconds := now.Sub(p.begun).Seconds(); seconds >= 1 {
		fmt.Fprintf(&line, ", %.0f/s", float64(rows)/seconds)
	}
	if refused > 0 {
		fmt.Fprintf(&line, ", %d refused", refused)
	}
	_, _ = io.WriteString(p.to, line.String())
}

// clear makes room for another line.
func (p *progress) clear() {
	if p.shown {
		_, _ = io.WriteString(p.to, wipe)
		p.shown, p.drawn = false, time.Time{}
	}
}

func (p *progress) end() {
	p.clear()
}
