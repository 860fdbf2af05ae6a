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

	"errand.internal/internal/alert"
	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

const (
	// parkedInterval is the shortest time between two events about a credential
	// that stays parked.
	parkedInterval = time.Hour
	// dedupTTL is how long Redis remembers an alert in order to drop repetitions.
	dedupTTL = 35 * 24 * time.Hour
	// maxPending bounds the alerts kept in memory while Redis is unreachable.
	maxPending = 10_000
	// alertTimeout bounds one try to publish an alert.
	alertTimeout = 3 * time.Second
	// alertRetryDelay is the pause after a failed try.
	alertRetryDelay = 500 * time.Millisecond
	// drainTimeout bounds how long Close keeps trying once publishing fails.
	drainTimeout = 5 * time.Second
	// recoveryInterval is how often parked credentials are checked for recovery.
	recoveryInterval = 5 * time.Second
)

// WatchedCredential is a credential whose recovery is reported.
type WatchedCredential struct {
	Name string
	// Works reports whether any worker of the fleet knows it to work.
	Works func(ctx context.Context) (bool, error)
}

// AlertPublisher turns alerts into events: one event for the whole fleet, no
// matter how many workers raise the same alert.
type AlertPublisher struct {
	rdb         redis.UniversalClient
	publish     Publish
	log         zerolog.Logger
	credentials []WatchedCredential

	mu      sync.Mutex
	pending []pendingAlert
	wake    chan struct{}
	stop    chan struct{}
	ended   chan struct{}

	// checking ends with Close: a check of a credential may be dropped, an alert not.
	checking    context.Context
	endChecking context.CancelFunc
}

// pendingAlert is an alert whose event is not published yet.
type pendingAlert struct {
	alert.Alert
	event  Event
	raised time.Time
}

// NewAlertPublisher returns an AlertPublisher. It publishes between Start and
// Close.
func NewAlertPublisher(rdb redis.UniversalClient, publish Publish, log zerolog.Logger) *AlertPublisher {
	p := &AlertPublisher{
		rdb:     rdb,
		publish: publish,
		log:     log,
		wake:    make(chan struct{}, 1),
		stop:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	p.checking, p.endChecking = context.WithCancel(context.Background())
	return p
}

// Watch reports when one of these credentials works again. Operators usually
// replace a refused credential by restarting all workers with a new one, and a
// restarted worker does not know that the old one was refused. Call Watch before
// Start.
func (p *AlertPublisher) Watch(credentials ...WatchedCredential) {
	p.credentials = append(p.credentials, credentials...)
}

// Publish is an alert.Func: it queues an alert and returns at once.
func (p *AlertPublisher) Publish(a alert.Alert) {
	if !becomesEvent(a.Kind) {
		return
	}
	now := time.Now()
	e, err := newEvent(newID(), string(a.Kind), now, alertData(a))
	if err != nil {
		p.log.Error().
			Err(err).
			Str("alert", string(a.Kind)).
			Msg("alert cannot be encoded; no event is sent")
		return
	}
	p.mu.Lock()
	full := len(p.pending) >= maxPending
	if !full {
		p.pending = append(p.pending, pendingAlert{
			Alert:  a,
			event:  e,
			raised: now,
		})
	}
	p.mu.Unlock()
	if full {
		p.log.Error().
			Str("alert", string(a.Kind)).
			Str("subject", a.Subject).
			Msg("too many events wait for Redis; event lost")
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// becomesEvent excludes ReceiverGone, which nobody would receive, and TaskDead,
// whose event comes from the Outbox.
func becomesEvent(kind alert.Kind) bool {
	return kind != alert.ReceiverGone && kind != alert.TaskDead
}

func alertData(a alert.Alert) map[string]any {
	data := map[string]any{}
	for name, value := range a.Data {
		data[name] = value
		switch name {
		case "daysLeft", "over", "count", "usual":
			data[name] = json.RawMessage(value) // a number, true or false
		}
	}
	switch a.Kind {
	case alert.CredentialParked, alert.CredentialResumed, alert.CredentialExpiring:
		data["credential"] = a.Subject
	case alert.AccountOpen, alert.AccountClosed, alert.AccountSurge:
		data["account"] = a.Subject
	default:
		data["id"] = a.Subject
	}
	return data
}

// Start begins to publish.
func (p *AlertPublisher) Start() {
	go p.run()
}

// Close publishes what is pending, but gives up after drainTimeout if that fails.
func (p *AlertPublisher) Close() {
	close(p.stop)
	p.endChecking()
	<-p.ended
	p.mu.Lock()
	lost := len(p.pending)
	p.mu.Unlock()
	if lost > 0 {
		p.log.Error().
			Int("events", lost).
			Msg("worker stops before Redis took its events; events lost")
	}
}

func (p *AlertPublisher) run() {
	defer close(p.ended)
	recovery := time.NewTicker(recoveryInterval)
	defer recovery.Stop()
	for stopping := false; !stopping; {
		select {
		case <-p.stop:
			stopping = true
		case <-recovery.C:
			p.reportRecoveries()
		case <-p.wake:
		}
		p.flush()
	}
}

// flush publishes the pending alerts in order, each as often as it takes.
func (p *AlertPublisher) flush() {
	var deadline <-chan time.Time // set once the worker stops
	stop := p.stop
	for {
		next, found := p.next()
		if !found {
			return
		}
		err := withTimeout(context.Background(), alertTimeout, func(ctx context.Context) error {
			return p.publishOnce(ctx, next)
		})
		if err == nil {
			p.mu.Lock()
			p.pending = p.pending[1:]
			p.mu.Unlock()
			continue
		}
		p.log.Warn().
			Err(err).
			Str("alert", string(next.Kind)).
			Msg("publishing an event failed; retrying")
		select {
		case <-time.After(alertRetryDelay):
		case <-stop:
			stop = nil
			deadline = time.After(drainTimeout)
		case <-deadline:
			return
		}
	}
}

// next returns the oldest pending alert.
func (p *AlertPublisher) next() (a pendingAlert, found bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) == 0 {
		return pendingAlert{}, false
	}
	return p.pending[0], true
}

func withTimeout(ctx context.Context, d time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return do(ctx)
}

// publishOnce publishes the event of an alert unless the fleet has published it.
// All workers publish the event that the first of them recorded: if that worker
// dies before it publishes, the next one does so with the same ID.
func (p *AlertPublisher) publishOnce(ctx context.Context, a pendingAlert) error {
	raw, err := json.Marshal(a.event)
	if err != nil {
		return fmt.Errorf("encode the event: %w", err)
	}
	record := dedupKey(a.Alert)
	var interval time.Duration
	switch a.Kind {
	case alert.CredentialParked:
		record = credentialKey(a.Subject)
		interval = parkedInterval
	case alert.CredentialResumed:
		record = credentialKey(a.Subject)
	}
	age := time.Since(a.raised)
	reply, err := recordScript.Run(
		ctx,
		p.rdb,
		[]string{record},
		string(a.Kind),
		raw,
		interval.Microseconds(),
		dedupTTL.Milliseconds(),
		age.Microseconds(),
	)
	if err != nil {
		return fmt.Errorf("record the event: %w", err)
	}
	recorded := reply.Text(0)
	if recorded == "" {
		return nil
	}
	var e Event
	if err := json.Unmarshal([]byte(recorded), &e); err != nil {
		return fmt.Errorf("decode the recorded event: %w", err)
	}
	if err := p.publish(ctx, e); err != nil {
		return err
	}
	if _, err := markSentScript.Run(ctx, p.rdb, []string{record}, recorded); err != nil {
		return fmt.Errorf("record that the event is published: %w", err)
	}
	return nil
}

// reportRecoveries raises an alert for each parked credential that works again.
func (p *AlertPublisher) reportRecoveries() {
	for _, c := range p.credentials {
		err := withTimeout(p.checking, recoveryInterval, func(ctx context.Context) error {
			return p.reportRecovery(ctx, c)
		})
		if p.checking.Err() != nil {
			return
		}
		if err != nil {
			p.log.Warn().
				Err(err).
				Str("credential", c.Name).
				Msg("checking a parked credential failed; retrying")
		}
	}
}

func (p *AlertPublisher) reportRecovery(ctx context.Context, c WatchedCredential) error {
	// If Redis does not answer, the next check finds the credential still parked.
	kind := p.rdb.HGet(ctx, credentialKey(c.Name), "kind").Val()
	if kind != string(alert.CredentialParked) {
		return nil
	}
	works, err := c.Works(ctx)
	if err == nil && works {
		p.Publish(alert.Alert{
			Kind:    alert.CredentialResumed,
			Subject: c.Name,
		})
	}
	return err
}

func credentialKey(credential string) string {
	return key("credential", credential)
}

// dedupKey names the record of an alert that is published once.
func dedupKey(a alert.Alert) string {
	parts := []string{a.Subject}
	if a.DedupKey != "" {
		parts = append(parts, a.DedupKey)
	} else {
		for _, name := range slices.Sorted(maps.Keys(a.Data)) {
			parts = append(parts, name, a.Data[name])
		}
	}
	sum := sha256.Sum256(seal.Join(string(a.Kind), parts...))
	return key("said", hex.EncodeToString(sum[:16]))
}

// recordScript records the event of an alert, and returns the event to publish:
// this one, or the one that another worker recorded for the same alert. It
// returns nothing if that is published already, or if the record stems from an
// alert raised later. Workers pass the age of an alert, because ages can be
// compared and the workers' clocks cannot.
//
// KEYS: the record: one for each credential, one for each other alert
// ARGV: kind, event, µs after which the same kind is a new alert (0: never), ms
// to keep the record, µs since the alert was raised
var recordScript = redisscript.New(redisscript.NowMicros, `
local at = now - tonumber(ARGV[5])
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

// markSentScript records that an event is published.
//
// KEYS: the record
// ARGV: event
var markSentScript = redisscript.New(`
if redis.call('HGET', KEYS[1], 'event') == ARGV[1] then redis.call('HSET', KEYS[1], 'sent', 1) end
return 1
`)
