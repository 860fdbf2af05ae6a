package faults

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/tasks"
)

// poll is one record of a scheduled poll, as Redis has it.
type poll struct {
	id   string
	slot int64
	user string
	// created is when it had its record, queued when asynq had it.
	created, queued, ended time.Time
	outcome                tasks.Outcome
	calls                  int
}

// polls reads every poll's record that there is. Which tick and subject it is
// for tells its key, schedule/<name>/<slot>/<subject>, of which Redis has a
// digest that is salted with a value of the same Redis.
func (r *rota) polls() []poll {
	r.t.Helper()
	ctx := r.t.Context()
	salt := r.Conn().Get(ctx, "errand:{polls}:salt").Val()
	type place struct {
		slot int64
		user string
	}
	places := map[string]place{}
	for slot := r.first - 60; slot <= r.last()+60; slot++ {
		for _, user := range r.users {
			key := digest(salt, "key", pollType, fmt.Sprintf("schedule/%s/%d/%s", r.name, slot, user))
			places["errand:{polls}:key:"+key] = place{slot, user}
		}
	}
	names := r.Conn().Keys(ctx, "errand:{polls}:task:*").Val()
	replies, err := r.Conn().Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, name := range names {
			pipe.HMGet(ctx, name, "alone", "key", "created", "ended", "outcome", "log")
		}
		return nil
	})
	if err != nil {
		r.t.Fatalf("read the polls: %v", err)
	}
	var all []poll
	for i, reply := range replies {
		v := reply.(*redis.SliceCmd).Val()
		field := func(n int) string { s, _ := v[n].(string); return s }
		if field(0) == "" {
			continue // no schedule asked for it
		}
		at, known := places[field(1)]
		if !known {
			r.t.Errorf("%s belongs to no tick and subject", names[i])
		}
		calls, _ := strconv.Atoi(field(5))
		p := poll{
			id:      strings.TrimPrefix(names[i], "errand:{polls}:task:"),
			slot:    at.slot,
			user:    at.user,
			created: atMillis(field(2)),
			ended:   atMillis(field(3)),
			outcome: tasks.Outcome(field(4)),
			calls:   calls,
		}
		r.lock.Lock()
		p.queued = r.queued[p.id]
		r.lock.Unlock()
		all = append(all, p)
	}
	return all
}

func atMillis(ms string) time.Time {
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}

// digest is how the ledger hides a text.
func digest(salt string, parts ...string) string {
	mac := hmac.New(sha256.New, []byte(salt))
	for _, p := range parts {
		_, _ = mac.Write([]byte{byte(len(p) >> 24), byte(len(p) >> 16), byte(len(p) >> 8), byte(len(p))})
		_, _ = mac.Write([]byte(p))
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// begin is the first slot of which there is a poll.
func (r *rota) begin() int64 {
	first := r.first
	for _, p := range r.polls() {
		first = min(first, p.slot)
	}
	return first
}

// judge waits until every poll has ended, and then wants one of each tick and
// subject, and none late.
func (r *rota) judge(total int64) {
	r.t.Helper()
	last := r.last() // whatever is later was given back by those that stopped
	var left []poll
	if !until(r.t, soon, func() bool {
		left = slices.DeleteFunc(
			r.polls(),
			func(p poll) bool { return !p.ended.IsZero() || p.slot > last && p.queued.IsZero() },
		)
		return len(left) == 0
	}) {
		r.t.Fatalf("%d polls do not end: %+v", len(left), left)
	}
	type place struct {
		slot int64
		user string
	}
	at, bySubject := map[place][]poll{}, map[string][]poll{}
	outcomes := map[tasks.Outcome]int{}
	calls := 0
	first := r.begin()
	var latest time.Duration
	for _, p := range r.polls() {
		if p.slot > last && p.queued.IsZero() {
			continue
		}
		at[place{p.slot, p.user}] = append(at[place{p.slot, p.user}], p)
		bySubject[p.user] = append(bySubject[p.user], p)
		outcomes[p.outcome]++
		calls += p.calls
		if p.queued.IsZero() {
			r.t.Errorf("nobody has put %s into the queue: %+v", p.id, p)
		}
		if p.slot <= last {
			latest = max(latest, p.queued.Sub(time.Unix(p.slot, 0)))
		}
	}
	once, skipped := 0, 0
	for slot := first; slot <= last; slot++ {
		for _, user := range r.users {
			switch found := at[place{slot, user}]; {
			case len(found) == 1:
				once++
			case len(found) == 0 && underWay(bySubject[user], slot):
				skipped++
			default:
				r.t.Errorf(
					"the poll of subject %d at tick %d was enqueued %d times: %+v",
					slices.Index(r.users, user),
					slot-first,
					len(found),
					found,
				)
			}
		}
	}
	ticks := last - first + 1
	r.t.Logf(
		"%d ticks of %d subjects: %d enqueued once, %d skipped while the poll before was under way; the latest %v after its tick; outcomes %v; %d calls",
		ticks,
		pollSubjects,
		once,
		skipped,
		latest,
		outcomes,
		r.calls(),
	)
	if ticks < total {
		r.t.Errorf("there were %d ticks, want %d", ticks, total)
	}
	if latest > tickLate {
		r.t.Errorf("a poll was enqueued %v after its tick", latest)
	}
	for outcome := range outcomes {
		if outcome != tasks.Done && outcome != tasks.Expired { // it is worth running for a second
			r.t.Errorf("%d polls ended %s", outcomes[outcome], outcome)
		}
	}
	const proof = 20 // reads before the schedule began
	if n := r.calls() - proof; n < calls || n > calls && r.apart {
		r.t.Errorf("AnnA was asked %d times, the records have %d calls", n, calls)
	}
}

// underWay reports whether a subject had a poll when its next was due.
func underWay(polls []poll, slot int64) bool {
	due := time.Unix(slot, 0)
	return slices.ContainsFunc(polls, func(p poll) bool {
		return p.slot < slot && p.created.Before(due.Add(tickLate)) && p.ended.After(due)
	})
}

var tickRow = regexp.MustCompile(`(?m)^errand_schedule_ticks_total\{name="polls",result="([a-z]+)"\} (\d+)$`)

// ticks are those that a worker has counted, by result.
func (r *rota) ticks(w *worker) map[string]int {
	r.t.Helper()
	res, err := http.Get("http://" + w.Admin() + "/metrics")
	if err != nil {
		r.t.Fatalf("ask %s for its metrics: %v", w.Name, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatalf("read the metrics of %s: %v", w.Name, err)
	}
	rows := tickRow.FindAllSubmatch(body, -1)
	if len(rows) != 4 {
		r.t.Fatalf("%s counts %d results of ticks", w.Name, len(rows))
	}
	counts := map[string]int{}
	for _, row := range rows {
		counts[string(row[1])], _ = strconv.Atoi(string(row[2]))
	}
	return counts
}
