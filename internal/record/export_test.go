package record

import "time"

// PollEvery has a Watcher look by itself only that often.
func (w *Watcher) PollEvery(d time.Duration) *Watcher {
	w.poll = d
	return w
}
