package broker

import (
	"crypto/sha256"
	"errors"
	"maps"
	"sync"
	"time"
)

// unanswered remembers the IDs of jobs with a key that may or may not be stored. Who asks
// again for the same job gets the same ID: a master that a failover replaces may have stored
// it, and a worker may have run it, which only the ID tells the new one (replay). The key
// alone does not, because the new master lacks it. Its zero value is ready to use.
type unanswered struct {
	mu  sync.Mutex
	ids map[ask]unansweredID
}

// ask is what makes two jobs the same one, asked for twice.
type ask struct {
	queue, taskType, key, by string
	payload                  [sha256.Size]byte
}

type unansweredID struct {
	id    string
	until time.Time
}

// maxUnanswered bounds what is remembered. While Redis is away, more may be asked for.
const maxUnanswered = 10_000

// take returns the ID under which a job was asked for before, and forgets it; "" for none.
func (u *unanswered) take(job *Job) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if job.Key == "" || len(u.ids) == 0 {
		return ""
	}
	same := askOf(job)
	before := u.ids[same]
	delete(u.ids, same)
	if time.Now().After(before.until) {
		return ""
	}
	return before.id
}

// note remembers a job that may or may not be stored, for as long as workers remember what
// they have ended.
func (u *unanswered) note(e *enqueuing) {
	if _, ok := errors.AsType[*UnconfirmedError](e.stored.Err); !ok || e.job.Key == "" {
		return
	}
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.ids) >= maxUnanswered {
		maps.DeleteFunc(u.ids, func(_ ask, before unansweredID) bool { return now.After(before.until) })
	}
	if len(u.ids) >= maxUnanswered {
		return
	}
	if u.ids == nil {
		u.ids = map[ask]unansweredID{}
	}
	u.ids[askOf(&e.job)] = unansweredID{e.id, now.Add(rememberFor)}
}

func askOf(job *Job) ask {
	return ask{
		queue:    job.Policy.Queue,
		taskType: job.Type,
		key:      job.Key,
		by:       job.By,
		payload:  sha256.Sum256(job.Payload),
	}
}
