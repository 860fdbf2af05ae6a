package admission

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

const (
	// surgeFactor is how many times the usual an hour must have to be a surge, and
	// surgeLeast how much at least.
	surgeFactor = 3
	surgeLeast  = 50
	// tellSurgeEvery is how often a process tells the fleet what it has sent.
	tellSurgeEvery = time.Second
)

// Surge announces the hour in which an account sends far more than in the same hour of the
// last seven days, as it does when somebody pumps. It stops nothing. It is shared with
// every process that has the same account and the same Redis, and safe for concurrent use.
//
// The usual is the second busiest of the seven hours, or that of the same weekday if it
// was busier: a surge of last night does not hide the one of tonight. A process counts for
// itself, and tells the fleet once a second; a count that Redis does not take is told later.
type Surge struct {
	store
	surges  prometheus.Counter
	telling sync.WaitGroup

	mu     sync.Mutex
	count  int64
	timer  *time.Timer
	closed bool
}

// SurgeChange is an hour that is a surge, told by one process of the fleet.
type SurgeChange struct {
	Account string
	// Count is how much the hour has so far, Usual what it has otherwise.
	Count int64
	Usual int64
}

// WithOnSurge has f called for every Surge, by one process of the fleet.
func WithOnSurge(f func(SurgeChange)) Option {
	return func(s *allOptions) {
		s.onSurge = f
	}
}

// NewSurge returns the Surge of an account. It does not use Redis yet. The caller closes it.
func NewSurge(rdb redis.UniversalClient, salt *seal.Salt, account string, identity []string, opts ...Option) *Surge {
	s := &Surge{store: newStore(rdb, salt, account, identity, opts, "h")}
	s.surges = s.metrics.surges.WithLabelValues(account)
	return s
}

// Count counts one more. A nil Surge counts nothing.
func (s *Surge) Count() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if s.timer != nil || s.closed {
		return
	}
	s.telling.Add(1)
	s.timer = time.AfterFunc(tellSurgeEvery, func() {
		defer s.telling.Done()
		s.tell()
	})
}

// Close tells the fleet of what is counted.
func (s *Surge) Close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil && s.timer.Stop() {
		s.telling.Done()
	}
	s.mu.Unlock()
	s.telling.Wait()
	s.tell()
}

// tell tells the fleet of what is counted, and announces a surge if this makes it one.
func (s *Surge) tell() {
	s.mu.Lock()
	n := s.count
	s.count = 0
	s.timer = nil
	s.mu.Unlock()
	if n == 0 {
		return
	}
	reply, err := s.run(context.Background(), surgeScript, n, surgeFactor, surgeLeast)
	if err != nil {
		s.mu.Lock()
		s.count += n // the next one tells it
		s.mu.Unlock()
		return
	}
	if !reply.Bool(0) {
		return
	}
	s.surges.Inc()
	if s.onSurge != nil {
		s.onSurge(SurgeChange{
			Account: s.name,
			Count:   reply.Int(1),
			Usual:   reply.Int(2),
		})
	}
}

// surgeScript counts ARGV[2] more in this hour. KEYS[1] is a hash of at most 171 fields:
//
//	<hour>  what was sent in it, of the last 169 (hours since 1970)
//	since   the first hour
//	told    the latest hour that was announced
//
// Replies whether it is a surge that nobody has announced: ARGV[3] times the usual, and
// ARGV[4] at least; then the count and the usual. In the first day there is no usual, and in
// the first three it is the busiest of the hours that are known.
var surgeScript = redisscript.New(storePrelude, `
local n = tonumber(ARGV[2])
local hour = math.floor(now / 3600000000)
local count = redis.call('HINCRBY', KEYS[1], text(hour), n)
if count == n then
  redis.call('HSETNX', KEYS[1], 'since', text(hour))
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if (tonumber(field) or hour) < hour - 168 then redis.call('HDEL', KEYS[1], field) end
  end
  redis.call('PEXPIRE', KEYS[1], 691200000) -- 8 days
end
local fields = {'since', 'told'}
for day = 1, 7 do fields[day + 2] = text(hour - 24 * day) end
local h = redis.call('HMGET', KEYS[1], unpack(fields))
local known = math.floor((hour - tonumber(h[1] or hour)) / 24)
if known < 1 or h[2] == text(hour) then return {'0'} end
local same = {}
for day = 1, 7 do same[day] = num(h[day + 2]) end
local weekday = same[7]
table.sort(same)
local usual = same[7]
if known >= 3 then usual = math.max(same[6], weekday) end
if count < tonumber(ARGV[4]) or count < usual * tonumber(ARGV[3]) then return {'0'} end
redis.call('HSET', KEYS[1], 'told', text(hour))
return {'1', text(count), text(usual)}`)
