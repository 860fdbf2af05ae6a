package schedule

import (
	"bytes"
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"time"

	"errand.internal/tasks"
)

const (
	// watchInterval is how often the files are checked. A change is applied when
	// two checks find it the same, so that a file that is being written is not
	// read: it takes effect within about two seconds.
	watchInterval = time.Second
	// compareEvery is the number of checks after which the content is compared
	// although nothing seems to have changed: some file systems keep coarse times.
	compareEvery = 30
	// timeResolution is how long after a change another one may have the same
	// modification time.
	timeResolution = 3 * time.Second
)

// watcher notices changes of a schedule file and of the subject files that it
// names.
type watcher struct {
	path        string
	types       tasks.Vendors
	sources     []source // as they were when they were read
	previous    []source // as they were at the last check
	content     []byte   // digest of all sources
	fingerprint string
	checks      int // since the content was last compared
}

func newWatcher(r *reading) *watcher {
	w := &watcher{path: r.path, types: r.types}
	w.reset(r)
	return w
}

// reset makes a reading the one to compare with.
func (w *watcher) reset(r *reading) {
	w.sources = r.sources
	w.previous = nil
	w.content = r.content.Sum(nil)
	w.fingerprint = r.fingerprint()
	w.checks = 0
}

// check returns a new reading if the content has changed, nil otherwise.
func (w *watcher) check() *reading {
	current := stat(w.sources)
	w.checks++
	if sameSources(current, w.sources) && !recentlyModified(w.sources) && w.checks < compareEvery {
		w.previous = nil
		return nil
	}
	settled := sameSources(current, w.previous)
	w.previous = current
	if !settled {
		return nil
	}
	if bytes.Equal(digest(current), w.content) { // the files were only touched
		w.sources = current
		w.previous = nil
		w.checks = 0
		return nil
	}
	r := read(w.path, w.types)
	before := w.fingerprint
	w.reset(r)
	if w.fingerprint == before { // the same problems as before
		return nil
	}
	return r
}

// digest is the digest of the sources' content, as reading.content; nil if one
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
	current := make([]source, len(sources))
	for i, s := range sources {
		current[i].path = s.path
		if info, err := os.Stat(s.path); err == nil {
			current[i].info = info
		}
	}
	return current
}

func sameSources(a, b []source) bool {
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

// recentlyModified says whether another change of a source may have the same
// modification time.
func recentlyModified(sources []source) bool {
	for _, s := range sources {
		if s.info != nil && time.Since(s.info.ModTime()).Abs() < timeResolution {
			return true
		}
	}
	return false
}
