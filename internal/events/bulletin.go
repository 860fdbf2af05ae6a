package events

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/announce"
	"errand.internal/internal/seal"
)

const (
	// parkedAgain is how long a parked credential is not reported parked again,
	// by workers that meet it later.
	parkedAgain = time.Hour
	// saidFor is how long an announcement that every worker makes is remembered.
	saidFor = 35 * 24 * time.Hour
	// waitingMost bounds what is kept in memory while Redis does not answer.
	waitingMost = 10_000
	// lastWords is how long Close tries to get rid of what is left.
	lastWords = 5 * time.Second
	// lookEvery is how often it is looked whether a parked credential works again.
	lookEvery = 5 * time.Second
)

// Credential is one that may be parked.
type Credential struct {
	Name string
	// Works reports whether it is known to work in the fleet.
	Works func(ctx context.Context) (bool, error)
}

// Bulletin turns announcements into events: one for the whole fleet, however
// many workers announce the same.
type Bulletin struct {
	rdb         redis.UniversalClient
	publish     Publish
	log         zerolog.Logger
	now         func() time.Time
	credentials []Credential

	mu      sync.Mutex
	waiting []item
	news    chan struct{}
	stop    chan struct{}
	ended   chan struct{}
}

// item is an announcement and its event.
type item struct {
	announce.Announcement
	event Event
	since time.Time // when it was announced, to tell its age
}

// NewBulletin returns a Bulletin; it publishes from Start until Close.
func NewBulletin(
	rdb redis.UniversalClient,
	publish Publish,
	log zerolog.Logger,
) *Bulletin {
	return &Bulletin{
		rdb:     rdb,
		publish: publish,
		log:     log,
		now:     time.Now,
		news:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
}

// Watch has it reported when one of these credentials works again. Who mends a
// refused one mostly starts all workers anew, and a new worker does not know
// that it was refused. Call it before Start.
func (b *Bulletin) Watch(credentials ...Credential) {
	b.credentials = append(b.credentials, credentials...)
}

// Announce is an announce.Func: it takes what is to be sent, and returns at
// once.
func (b *Bulletin) Announce(a announce.Announcement) {
	if !worthAnEvent(a) {
		return
	}
	e, err := newEvent(newID(), string(a.Kind), b.now(), dataOf(a))
	if err != nil {
		b.log.Error().
			Err(err).
			Str("announce", string(a.Kind)).
			Msg("no event can be made of an announcement")
		return
	}
	b.mu.Lock()
	full := len(b.waiting) >= waitingMost
	if !full {
		b.waiting = append(b.waiting, item{a, e, time.Now()})
	}
	b.mu.Unlock()
	if full {
		b.log.Error().
			Str("announce", string(a.Kind)).
			Str("subject", a.Subject).
			Msg("too many events wait for Redis; this one is lost")
		return
	}
	select {
	case b.news <- struct{}{}:
	default:
	}
}

// worthAnEvent leaves out what must not become an event, the end of the sink
// itself, and what becomes one in another way: dead tasks stand in the list of
// notices.
func worthAnEvent(a announce.Announcement) bool {
	return a.Kind != announce.SinkGone && a.Kind != announce.TaskDead
}

func dataOf(a announce.Announcement) map[string]any {
	data := map[string]any{}
	for name, value := range a.Data {
		data[name] = value
		if a.Kind == announce.CredentialExpiring &&
			(name == "daysLeft" || name == "over") {
			data[name] = json.RawMessage(value) // a number, true or false
		}
	}
	switch a.Kind {
	case announce.CredentialParked,
		announce.CredentialResumed,
		announce.CredentialExpiring:
		data["credential"] = a.Subject
	default:
		data["id"] = a.Subject
	}
	return data
}

// Start begins to publish.
func (b *Bulletin) Start() {
	go b.run()
}

// Close publishes what is left, for a few seconds at most.
func (b *Bulletin) Close() {
	close(b.stop)
	<-b.ended
	if left := len(b.waiting); left > 0 {
		b.log.Error().
			Int("events", left).
			Msg("the worker ends, and events are not in Redis yet; they are lost")
	}
}

func (b *Bulletin) run() {
	defer close(b.ended)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for stopping := false; !stopping; {
		select {
		case <-b.stop:
			stopping = true
		case <-look.C:
			b.look()
		case <-b.news:
		}
		b.flush()
	}
}

// flush publishes everything, one after the other.
func (b *Bulletin) flush() {
	var end <-chan time.Time // once the worker stops
	stop := b.stop
	for {
		b.mu.Lock()
		if len(b.waiting) == 0 {
			b.mu.Unlock()
			return
		}
		next := b.waiting[0]
		b.mu.Unlock()
		err := b.within(
			3*time.Second,
			func(ctx context.Context) error { return b.say(ctx, next) },
		)
		if err == nil {
			b.mu.Lock()
			b.waiting = b.waiting[1:]
			b.mu.Unlock()
			continue
		}
		b.log.Warn().
			Err(err).
			Str("announce", string(next.Kind)).
			Msg("the event is not in Redis yet; the next try follows")
		select {
		case <-time.After(500 * time.Millisecond):
		case <-stop:
			stop, end = nil, time.After(lastWords)
		case <-end:
			return
		}
	}
}

func (b *Bulletin) within(d time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return do(ctx)
}

// say publishes one event, unless the fleet has done so already. What was first
// to be there is what everybody publishes, so that one who dies on the way is
// replaced by the next.
func (b *Bulletin) say(ctx context.Context, it item) error {
	raw, err := json.Marshal(it.event)
	if err != nil {
		return fmt.Errorf("encode the event: %w", err)
	}
	place, again := saidKey(it.Announcement), time.Duration(0)
	switch it.Kind {
	case announce.CredentialParked:
		place, again = stateKey(it.Subject), parkedAgain
	case announce.CredentialResumed:
		place = stateKey(it.Subject)
	}
	first, err := turnScript.Run(ctx, b.rdb, []string{place}, string(it.Kind), raw, again.Microseconds(), saidFor.Milliseconds(), time.Since(it.since).Microseconds()).
		Text()
	if err != nil {
		return fmt.Errorf("compare with what was said before: %w", err)
	}
	if first == "" {
		return nil
	}
	var e Event
	if err := json.Unmarshal([]byte(first), &e); err != nil {
		return fmt.Errorf("read what was said before: %w", err)
	}
	if err := b.publish(ctx, e); err != nil {
		return err
	}
	if err := saidScript.Run(ctx, b.rdb, []string{place}, first).Err(); err != nil {
		return fmt.Errorf("take down what was said: %w", err)
	}
	return nil
}

// look reports parked credentials that work again.
func (b *Bulletin) look() {
	for _, c := range b.credentials {
		err := b.within(lookEvery, func(ctx context.Context) error {
			// Without an answer the next look sees it.
			if b.rdb.HGet(ctx, stateKey(c.Name), "kind").
				Val() !=
				string(
					announce.CredentialParked,
				) {
				return nil
			}
			works, err := c.Works(ctx)
			if err == nil && works {
				b.Announce(
					announce.Announcement{
						Kind:    announce.CredentialResumed,
						Subject: c.Name,
					},
				)
			}
			return err
		})
		if err != nil {
			b.log.Warn().
				Err(err).
				Str("credential", c.Name).
				Msg("it is not known whether a parked credential works again; the next look follows")
		}
	}
}

func stateKey(credential string) string {
	return key("credential", credential)
}

func saidKey(a announce.Announcement) string {
	if a.Once != "" {
		return saidDigest(a.Kind, a.Subject, a.Once)
	}
	parts := []string{a.Subject}
	for _, name := range slices.Sorted(maps.Keys(a.Data)) {
		parts = append(parts, name, a.Data[name])
	}
	return saidDigest(a.Kind, parts...)
}

func saidDigest(kind announce.Kind, parts ...string) string {
	sum := sha256.Sum256(seal.Join(string(kind), parts...))
	return key("said", hex.EncodeToString(sum[:16]))
}

// turnScript keeps the event of the latest turn, the first that any worker
// brings, and returns it; nothing if it is enqueued already, or if the turn that
// is kept was announced later.
//
// KEYS: a credential's hash, or that of one announcement
// ARGV: kind, event, µs after which the same kind counts as another turn (0:
// never), ms to keep it, µs since it was announced: ages can be compared, the
// workers' clocks cannot
var turnScript = redis.NewScript(`
local t = redis.call('TIME')
local at = t[1] * 1000000 + t[2] - tonumber(ARGV[5])
local had = redis.call('HMGET', KEYS[1], 'kind', 'event', 'at', 'sent')
if had[1] == ARGV[1] and (ARGV[3] == '0' or at - tonumber(had[3]) < tonumber(ARGV[3])) then
  if had[4] then return '' end
  return had[2]
end
if had[1] and tonumber(had[3]) > at then return '' end
redis.call('HSET', KEYS[1], 'kind', ARGV[1], 'event', ARGV[2], 'at', string.format('%.0f', at))
redis.call('HDEL', KEYS[1], 'sent')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return ARGV[2]
`)

// saidScript takes down that an event is enqueued.
//
// KEYS: the hash
// ARGV: event
var saidScript = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'event') == ARGV[1] then redis.call('HSET', KEYS[1], 'sent', 1) end
return 1
`)
