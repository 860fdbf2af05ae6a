package events

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisscript"
	"errand.internal/internal/seal"
)

// subjectTTL is how long a subject is remembered after its last reading.
const subjectTTL = 30 * 24 * time.Hour

// subjectLabel keeps the digests of subjects apart from other uses of the salt.
const subjectLabel = "alerts"

// DetectorConfig names what a Detector publishes and where it keeps its state.
type DetectorConfig struct {
	// EventType is the type of the event that reports a change.
	EventType string
	// KeyPrefix begins the Redis key of every subject, such as
	// "errand:{dinero}:balance:". Its hash tag decides the cluster slot. Each kind of
	// value needs a prefix of its own.
	KeyPrefix string
}

// Detector publishes an event when a subject's value differs from the previous
// reading by any worker.
//
// A subject's state is one hash, whose key ends with a salted digest:
//
//	n  tickets handed out    v  the value    s  its sequence
//	t  ticket of v           e<sequence>  a change whose event is not enqueued yet
//
// A reading takes a ticket before the call. It counts only if no reading with a
// later ticket has been recorded: a late answer is stale and changes nothing.
// Tickets need no clock, so neither a failover nor a clock adjustment makes a new
// reading look old.
type Detector struct {
	cfg     DetectorConfig
	rdb     redis.UniversalClient
	salt    *seal.Salt
	publish Publish
}

// NewDetector returns a Detector.
func NewDetector(cfg DetectorConfig, rdb redis.UniversalClient, salt *seal.Salt, publish Publish) *Detector {
	return &Detector{
		cfg:     cfg,
		rdb:     rdb,
		salt:    salt,
		publish: publish,
	}
}

// Reading is one reading of a subject's value, from before the call that reads
// it until Record.
type Reading struct {
	detector *Detector
	subject  json.RawMessage
	key      string
	ticket   int64
}

// Begin starts a reading; call it right before the value is read. The subject
// must encode to a JSON object. The event contains it; Redis holds a digest only.
func (d *Detector) Begin(ctx context.Context, subject any) (*Reading, error) {
	raw, err := json.Marshal(subject)
	if err != nil {
		return nil, fmt.Errorf("encode the subject: %w", err)
	}
	salt, err := d.salt.Get(ctx)
	if err != nil {
		return nil, err
	}
	digest := seal.HMAC(salt, subjectLabel, string(raw))[:16]
	r := &Reading{
		detector: d,
		subject:  raw,
		key:      d.cfg.KeyPrefix + hex.EncodeToString(digest),
	}
	pipe := d.rdb.Pipeline()
	ticket := pipe.HIncrBy(ctx, r.key, "n", 1)
	pipe.PExpire(ctx, r.key, subjectTTL)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("take a ticket for the reading: %w", err)
	}
	r.ticket = ticket.Val()
	return r, nil
}

// Record compares the value that was read with the previous one, and publishes
// an event if they differ. Do not call it after a failed read. A subject's first
// value is its baseline. After an error, the event of this change or of an
// earlier one may be missing; the subject's next reading enqueues it.
func (r *Reading) Record(ctx context.Context, value int) error {
	d := r.detector
	reply, err := recordValueScript.Run(
		ctx,
		d.rdb,
		[]string{r.key},
		r.ticket,
		value,
		newID(),
		subjectTTL.Milliseconds(),
	)
	switch {
	case errors.Is(err, redis.Nil):
		return nil
	case err != nil:
		return fmt.Errorf("compare with the previous value: %w", err)
	}
	changes, err := parseChanges(reply)
	if err != nil {
		return err
	}
	enqueued := make([]string, len(changes))
	for i, c := range changes {
		if err := r.publish(ctx, c); err != nil {
			return err
		}
		enqueued[i] = changeField + strconv.FormatInt(c.sequence, 10)
	}
	if err := d.rdb.HDel(ctx, r.key, enqueued...).Err(); err != nil {
		return fmt.Errorf("remove the changes whose events are enqueued: %w", err)
	}
	return nil
}

func (r *Reading) publish(ctx context.Context, c change) error {
	e, err := newEvent(c.id, r.detector.cfg.EventType, time.UnixMilli(c.at), changeData{
		Subject:  r.subject,
		Previous: c.previous,
		Current:  c.current,
		Sequence: c.sequence,
	})
	if err != nil {
		return err
	}
	if err := r.detector.publish(ctx, e); err != nil {
		return fmt.Errorf("enqueue the event of a change: %w", err)
	}
	return nil
}

// changeData is the data of the event that reports a change.
type changeData struct {
	Subject  json.RawMessage `json:"subject"`
	Previous int64           `json:"previous"`
	Current  int64           `json:"current"`
	Sequence int64           `json:"sequence"`
}

const changeField = "e"

// change is a change whose event is not enqueued yet.
type change struct {
	id       string
	sequence int64
	previous int64
	current  int64
	at       int64 // Unix milliseconds
}

// parseChanges finds the changes in a flat list of a hash's fields and values,
// and returns them in the order in which they happened.
func parseChanges(hash redisscript.Reply) ([]change, error) {
	var changes []change
	for i := 0; i < len(hash); i += 2 {
		number, found := strings.CutPrefix(hash.Text(i), changeField)
		if !found {
			continue
		}
		var c change
		var err error
		if c.sequence, err = strconv.ParseInt(number, 10, 64); err == nil {
			_, err = fmt.Sscanf(hash.Text(i+1), "%s %d %d %d", &c.id, &c.previous, &c.current, &c.at)
		}
		if err != nil {
			return nil, errors.New("the changes in Redis cannot be parsed")
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Compare(a.sequence, b.sequence)
	})
	return changes, nil
}

// recordValueScript compares a value with the previous one. It returns the whole
// hash if events of changes remain to be enqueued, else nil. A sequence starts at the
// time in seconds and then counts by one, so that it keeps rising even if Redis
// loses its data: a receiver that has seen sequence 1000 would drop a second 1.
//
// KEYS: the subject's hash
// ARGV: ticket, value, event ID to use for a change, TTL in ms
var recordValueScript = redisscript.New(redisscript.NowMillis, `
local h = redis.call('HMGET', KEYS[1], 'v', 's', 't', 'n')
local ticket = tonumber(ARGV[1])
if not h[2] then
  local tickets = math.max(ticket, tonumber(h[4] or '0'))
  redis.call('HSET', KEYS[1], 'v', ARGV[2], 's', math.floor(now / 1000),
    't', ARGV[1], 'n', string.format('%.0f', tickets))
elseif ticket > tonumber(h[3]) then
  redis.call('HSET', KEYS[1], 't', ARGV[1])
  if h[1] ~= ARGV[2] then
    local sequence = redis.call('HINCRBY', KEYS[1], 's', 1)
    local change = ARGV[3] .. ' ' .. h[1] .. ' ' .. ARGV[2] .. ' ' .. string.format('%.0f', now)
    redis.call('HSET', KEYS[1], 'v', ARGV[2], 'e' .. string.format('%.0f', sequence), change)
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if redis.call('HLEN', KEYS[1]) > 4 then return redis.call('HGETALL', KEYS[1]) end
return nil
`)
