package schedule

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	// lookEvery is how often the files are looked at. A change is taken when it
	// was the same at two looks, so that a file half written is not read: it is
	// in force within about two seconds.
	lookEvery = time.Second
	// rereadEvery is after how many looks the content is compared although
	// nothing seems to have changed: not every file system keeps fine times.
	rereadEvery = 30
	// fresh is how long after a change its time may hide another one.
	fresh = 3 * time.Second
)

// watch notices that a schedule file, or a file of subjects that it names, has
// changed.
type watch struct {
	path    string
	sources []source // as they were when they were read
	before  []source // as they were at the last look
	content []byte   // digest of them all
	sum     string
	looks   int
}

// newWatch begins with what was read.
func newWatch(r *reading) *watch {
	w := &watch{path: r.path}
	w.take(r)
	return w
}

func (w *watch) take(r *reading) {
	w.sources = r.sources
	w.before = nil
	w.looks = 0
	w.content, w.sum = r.content.Sum(nil), r.sum()
}

// look returns the new reading if the content has changed, nil otherwise.
func (w *watch) look() *reading {
	now := stat(w.sources)
	w.looks++
	if same(now, w.sources) && !recent(w.sources) && w.looks < rereadEvery {
		w.before = nil
		return nil
	}
	settled := same(now, w.before)
	w.before = now
	if !settled {
		return nil
	}
	if bytes.Equal(digest(now), w.content) { // touched only
		w.sources = now
		w.before = nil
		w.looks = 0
		return nil
	}
	r, sum := read(w.path), w.sum
	if w.take(r); w.sum == sum { // wrong in the same way as before
		return nil
	}
	return r
}

// digest is a reading's, without making sense of what is read; nil if a file
// cannot be read.
func digest(sources []source) []byte {
	sum := sha256.New()
	for _, s := range sources {
		f, err := os.Open(s.path)
		if err != nil {
			return nil
		}
		_, err = io.Copy(sum, f)
		_ = f.Close()
		if err != nil {
			return nil
		}
	}
	return sum.Sum(nil)
}

func stat(sources []source) []source {
	now := make([]source, len(sources))
	for i, s := range sources {
		now[i].path = s.path
		if info, err := os.Stat(s.path); err == nil {
			now[i].info = info
		}
	}
	return now
}

func same(a, b []source) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameFile(a[i].info, b[i].info) {
			return false
		}
	}
	return true
}

func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// recent: a file was changed so shortly ago that another change may bear the
// same time.
func recent(sources []source) bool {
	for _, s := range sources {
		if s.info != nil && time.Since(s.info.ModTime()).Abs() < fresh {
			return true
		}
	}
	return false
}
