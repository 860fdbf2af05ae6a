package bulk

import "sync"

// rowKeys finds rows with the same key, of which the first one in the file is to be
// enqueued first. The zero value is ready to use.
type rowKeys struct {
	mu   sync.Mutex
	rows map[[2]string]*pendingRow // by type and key, the latest
}

func (p *pendingRow) identity() [2]string {
	return [2]string{p.taskType, p.key}
}

// add returns the row with the same key before p, if it is still being enqueued. All
// rows before p have been added.
func (k *rowKeys) add(p *pendingRow) (earlier *pendingRow) {
	defer close(p.decoded)
	if p.previous != nil {
		<-p.previous.decoded
		p.previous = nil
	}
	if p.err != nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rows == nil {
		k.rows = map[[2]string]*pendingRow{}
	}
	earlier = k.rows[p.identity()]
	k.rows[p.identity()] = p
	return earlier
}

// remove forgets a row that is enqueued or refused.
func (k *rowKeys) remove(p *pendingRow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rows[p.identity()] == p {
		delete(k.rows, p.identity())
	}
}
