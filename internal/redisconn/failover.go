package redisconn

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// FailoverDetector notices when clients connect to another Redis than before: one
// that was restarted, or a replica that was promoted. Either may have lost the
// latest writes. The zero value is ready to use.
//
// What counts is the change. An instance that was the master before, and is again,
// lacks what was written to the one in between. Two values of INFO identify what a
// connection has met:
//
//   - run_id is new for each start of a process.
//   - master_replid is new for each promotion, so an instance that was demoted and
//     promoted again differs from what it was.
//
// A client that connects for the first time has nothing to compare with. It asks how long
// ago Redis was started, or promoted.
//
// Each client is observed for itself, because each changes over at its own time.
type FailoverDetector struct {
	mu     sync.Mutex
	notify []func()
	// missed counts the failovers that nobody was there to be told.
	missed bool
	// met are the instances, by run_id, that any client has met.
	met map[string]bool
	// promoted are the promotions, by master_replid, of which this process knows that
	// they are written down, and whether that was a moment ago.
	promoted map[string]bool
}

const (
	// discoveryTime is how long after its first connection the client of a cluster
	// may still discover nodes.
	discoveryTime = 10 * time.Second
	// freshFor is how long after a start or promotion of Redis other processes may have
	// to say what it has lost. A client that connects for the first time waits for them,
	// as one does that has seen it happen.
	freshFor = 5 * time.Second
	// A client that keeps changing between the same instances is told of it
	// maxReturns times in returnPeriod. A proxy before several masters would
	// otherwise stop for ever what waits after a failover.
	maxReturns   = 8
	returnPeriod = time.Minute
)

// OnFailover has f called whenever a client connects to another Redis than before,
// or for the first time to one that was started a moment ago. f is called at once
// if that happened before. f must not use Redis: the new connection waits for it.
func (d *FailoverDetector) OnFailover(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notify = append(d.notify, f)
	if d.missed {
		f()
	}
}

// tell calls the functions of OnFailover. The caller holds d.mu.
func (d *FailoverDetector) tell() {
	d.missed = len(d.notify) == 0
	for _, f := range d.notify {
		f()
	}
}

// freshlyMet reports that an instance was started or promoted a moment ago and has
// data, which may lack the latest writes. Only the first connection of all clients counts:
// what a later one finds may have been written since. The caller holds d.mu.
func (d *FailoverDetector) freshlyMet(i instance) bool {
	if d.met[i.runID] {
		return false
	}
	if d.met == nil {
		d.met = map[string]bool{}
	}
	d.met[i.runID] = true
	return i.fresh
}

// instance is what a connection has met.
type instance struct {
	runID  string
	replID string // "" if the server does not report it
	from   string // the replID of the master that it was promoted from; "" if none
	master bool
	// fresh: it was started or promoted a moment ago, and has data.
	fresh bool
}

// view is what one client has connected to.
type view struct {
	detector *FailoverDetector
	mode     Mode
	now      func() time.Time

	// The detector's mutex guards these.
	known     map[string]instance // by run_id, as last met
	current   string              // run_id of the master; not of a cluster, which has several
	firstSeen time.Time
	loading   bool // the last connection met a Redis that loads its data

	returns   int // of the current period
	returning time.Time
}

func (d *FailoverDetector) view(mode Mode) *view {
	return &view{
		detector: d,
		mode:     mode,
		now:      time.Now,
		known:    map[string]instance{},
	}
}

// onConnect asks each new connection what it has met.
func (v *view) onConnect(ctx context.Context, conn *redis.Conn) error {
	text, err := conn.Info(ctx).Result() // all sections: only Redis 7 takes several
	if _, refused := errors.AsType[redis.Error](err); refused {
		return nil // a server that refuses INFO counts as the known one
	}
	if err != nil {
		return err // the reply may still arrive, so the connection is unusable
	}
	info := ParseInfo(text)
	if info["redis_mode"] == "sentinel" {
		return nil // go-redis calls this for its connections to sentinels, too
	}
	if info["loading"] == "1" {
		// It replies that to everything. The connection counts once it is of use: by
		// then the others are told too.
		v.detector.mu.Lock()
		v.loading = true
		v.detector.mu.Unlock()
		if err := conn.Ping(ctx).Err(); err != nil {
			return err
		}
	}
	i := readInstance(info)
	if i.master && i.from != "" && hasData(info) {
		fresh, err := v.promotedLately(ctx, conn, i)
		if err != nil {
			return err
		}
		i.fresh = i.fresh || fresh
	}
	v.observe(i)
	return nil
}

// promotedLately reports whether an instance was promoted a moment ago. INFO does not say
// when: the first process that meets it writes that down.
func (v *view) promotedLately(ctx context.Context, conn *redis.Conn, i instance) (bool, error) {
	if v.mode == Cluster {
		// A key of one's own choice may lie on another node.
		return true, nil
	}
	v.detector.mu.Lock()
	fresh, known := v.detector.promoted[i.replID]
	v.detector.mu.Unlock()
	if known {
		return fresh, nil
	}
	age, err := promotionAge(ctx, conn, i.replID)
	if _, refused := errors.AsType[redis.Error](err); err != nil && !refused {
		return false, err
	}
	fresh = err != nil || age < freshFor
	v.detector.mu.Lock()
	defer v.detector.mu.Unlock()
	if v.detector.promoted == nil {
		v.detector.promoted = map[string]bool{}
	}
	v.detector.promoted[i.replID] = fresh
	return fresh, nil
}

// promotionKey holds the latest promotion's master_replid, and when it was first met.
const promotionKey = "errand:promotion"

// promotionAge returns how long ago a promotion was first met by any process. It is no
// script: a client may send those one after another, and the one that this connection is
// made for would wait for it.
func promotionAge(ctx context.Context, conn *redis.Conn, replID string) (time.Duration, error) {
	now, err := conn.Time(ctx).Result()
	if err != nil {
		return 0, err
	}
	had, err := conn.Get(ctx, promotionKey).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, err
	}
	id, at, _ := strings.Cut(had, " ")
	if first, err := strconv.ParseInt(at, 10, 64); err == nil && id == replID {
		return now.Sub(time.UnixMilli(first)), nil
	}
	return 0, conn.Set(ctx, promotionKey, fmt.Sprint(replID, " ", now.UnixMilli()), 0).Err()
}

func readInstance(info map[string]string) instance {
	i := instance{
		runID:  info["run_id"],
		replID: info["master_replid"],
		from:   info["master_replid2"],
		master: info["role"] == "master" || info["role"] == "",
	}
	if strings.Trim(i.from, "0") == "" {
		i.from = ""
	}
	uptime, err := strconv.Atoi(info["uptime_in_seconds"])
	i.fresh = err == nil && time.Duration(uptime)*time.Second <= freshFor && hasData(info)
	return i
}

// hasData reports whether any database has a key. An empty Redis has no task that
// it could give out again.
func hasData(info map[string]string) bool {
	for name, keys := range info {
		if db, found := strings.CutPrefix(name, "db"); found && strings.HasPrefix(keys, "keys=") {
			if _, err := strconv.Atoi(db); err == nil {
				return true
			}
		}
	}
	return false
}

// observe notes what a connection has met, and tells of a failover.
func (v *view) observe(i instance) {
	if i.runID == "" {
		return
	}
	v.detector.mu.Lock()
	defer v.detector.mu.Unlock()
	i.fresh = i.fresh || v.loading
	v.loading = false
	first := v.firstSeen.IsZero()
	if first {
		v.firstSeen = v.now()
	}
	before, met := v.known[i.runID]
	var changed bool
	switch {
	case !i.master:
		// Nothing is written to it. If it is promoted, it is another one.
	case v.mode == Cluster:
		changed = v.newInCluster(i, before, met)
	case v.current == "":
		changed = v.detector.freshlyMet(i)
	default:
		changed = v.newAlone(i, before, met)
	}
	v.known[i.runID] = i
	if i.master {
		v.current = i.runID
	}
	if changed {
		v.detector.freshlyMet(i) // nobody else has to tell it
		v.detector.tell()
	}
}

// newAlone reports whether a master takes the place of another. before is what the
// instance was when it was last met.
func (v *view) newAlone(i, before instance, met bool) bool {
	switch {
	case !met || promotedSince(before, i):
		return true
	case i.runID == v.current:
		return false
	case v.mode == Sentinel && i.replID != "":
		// It was never demoted: the connection was dialled before a sentinel knew of
		// the new master.
		return false
	}
	// An address or a proxy that leads here again.
	if now := v.now(); now.Sub(v.returning) > returnPeriod {
		v.returning = now
		v.returns = 0
	}
	v.returns++
	return v.returns <= maxReturns
}

// promotedSince reports whether an instance has become a master since it was last
// met. A master that loses its last replica has another master_replid after an hour
// too, but comes from nobody.
func promotedSince(before, now instance) bool {
	return !before.master || now.replID != before.replID && now.from != ""
}

// newInCluster reports whether a master of a cluster was promoted, or restarted,
// since the client began. Its masters differ from each other, so each is compared
// with what itself was.
func (v *view) newInCluster(i, before instance, met bool) bool {
	switch {
	case met:
		return promotedSince(before, i)
	case v.detector.freshlyMet(i):
		return true
	}
	for _, other := range v.known {
		if i.from != "" && other.replID == i.from {
			return true // it was a replica of one that the client knows
		}
	}
	return v.now().Sub(v.firstSeen) > discoveryTime
}

// ParseInfo reads the lines name:value of a reply to INFO.
func ParseInfo(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); found {
			info[name] = value
		}
	}
	return info
}
