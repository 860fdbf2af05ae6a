package events

import (
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

	"errand.internal/internal/seal"
)

// rememberedFor is how long a subject that is not read any more is remembered.
const rememberedFor = 30 * 24 * time.Hour

// Detector notices that a subject's value is not what it was when it was last
// read, by any worker.
//
// What it knows of a subject is one hash, named by a salted digest:
//
//	n  tickets given out       v  the value    s  its sequence
//	t  ticket of v             e<sequence>  a change whose event is not enqueued yet
//
// A read takes its ticket before the call, and counts only if no read with a
// later ticket was there first: what comes late is stale and changes nothing.
// Tickets need no clock, so neither a fail-over nor a clock that is set can make
// news look old.
type Detector struct {
	config  DetectorConfig
	rdb     redis.UniversalClient
	salt    *seal.Salt
	publish Publish
}

// DetectorConfig says whose values a Detector compares.
type DetectorConfig struct {
	// EventType is the type of the event that tells of a change.
	EventType string
	// KeyPrefix begins the subjects' Redis keys; it has a hash tag.
	KeyPrefix string
}

// NewDetector returns a Detector that publishes what it notices.
func NewDetector(c DetectorConfig, rdb redis.UniversalClient, salt *seal.Salt, publish Publish) *Detector {
	return &Detector{
		config:  c,
		rdb:     rdb,
		salt:    salt,
		publish: publish,
	}
}

// Reading is one read of a subject's value that is under way.
type Reading struct {
	detector *Detector
	subject  json.RawMessage
	hash     string
	ticket   int64
}

// Begin is called right before the value is read. subject is a JSON object; it
// goes into the event, and into Redis as a digest only.
func (d *Detector) Begin(ctx context.Context, subject any) (*Reading, error) {
	raw, err := json.Marshal(subject)
	if err != nil {
		return nil, fmt.Errorf("encode the subject: %w", err)
	}
	salt, err := d.salt.Get(ctx)
	if err != nil {
		return nil, err
	}
	r := &Reading{
		detector: d,
		subject:  raw,
		hash: d.config.KeyPrefix + hex.EncodeToString(
			seal.HMAC(salt, "alerts", string(raw))[:16],
		),
	}
	pipe := d.rdb.Pipeline()
	ticket := pipe.HIncrBy(ctx, r.hash, "n", 1)
	pipe.PExpire(ctx, r.hash, rememberedFor)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("take a ticket for the read: %w", err)
	}
	r.ticket = ticket.Val()
	return r, nil
}

// Saw is called with what was read, never with what could not be. The first
// value of a subject is its baseline. An error means that the event of this
// change, or of an earlier one, may not be enqueued yet; whoever reads the
// subject next enqueues it.
func (r *Reading) Saw(ctx context.Context, value int) error {
	d := r.detector
	reply, err := sawScript.Run(ctx, d.rdb, []string{r.hash}, r.ticket, value, newID(), rememberedFor.Milliseconds()).
		StringSlice()
	if err != nil {
		return fmt.Errorf("compare with the value before: %w", err)
	}
	changes, err := readChanges(reply)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		return nil
	}
	done := make([]string, len(changes))
	for i, c := range changes {
		e, err := newEvent(
			c.id,
			d.config.EventType,
			time.UnixMilli(c.at),
			changeData{r.subject, c.previous, c.current, c.sequence},
		)
		if err != nil {
			return err
		}
		if err := d.publish(ctx, e); err != nil {
			return fmt.Errorf("enqueue the event of a change: %w", err)
		}
		done[i] = changeField + strconv.FormatInt(c.sequence, 10)
	}
	if err := d.rdb.HDel(ctx, r.hash, done...).Err(); err != nil {
		return fmt.Errorf("take enqueued events off the list: %w", err)
	}
	return nil
}

// changeData is the data of AlertsChanged.
type changeData struct {
	Subject  json.RawMessage `json:"subject"`
	Previous int64           `json:"previous"`
	Current  int64           `json:"current"`
	Sequence int64           `json:"sequence"`
}

const changeField = "e"

// change is a change as the hash keeps it.
type change struct {
	id                              string
	sequence, previous, current, at int64
}

// readChanges finds the changes in a flat list of a hash's fields and values,
// in the order in which they happened.
func readChanges(reply []string) ([]change, error) {
	var changes []change
	for pair := range slices.Chunk(reply, 2) {
		number, found := strings.CutPrefix(pair[0], changeField)
		if !found {
			continue
		}
		var c change
		var err error
		if c.sequence, err = strconv.ParseInt(number, 10, 64); err == nil {
			_, err = fmt.Sscanf(
				pair[1],
				"%s %d %d %d",
				&c.id,
				&c.previous,
				&c.current,
				&c.at,
			)
		}
		if err != nil {
			return nil, errors.New("the list of changes in Redis cannot be read")
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b change) int {
		return int(a.sequence - b.sequence)
	})
	return changes, nil
}

// sawScript compares a value with the one before.
//
// KEYS: the subject's hash
// ARGV: ticket, value, ID for an event, ms to remember
//
// Returns the whole hash if there are changes to enqueue. A sequence begins at
// the time in seconds and then counts by one, so that it rises also over a loss
// of memory: a receiver that has seen 1000 would take a second 1 for old.
var sawScript = redis.NewScript(`
local h = redis.call('HMGET', KEYS[1], 'v', 's', 't', 'n')
local ticket = tonumber(ARGV[1])
local time = redis.call('TIME')
if not h[2] then
  redis.call('HSET', KEYS[1], 'v', ARGV[2], 's', time[1], 't', ARGV[1], 'n', string.format('%.0f', math.max(ticket, tonumber(h[4] or '0'))))
elseif ticket > tonumber(h[3]) then
  redis.call('HSET', KEYS[1], 't', ARGV[1])
  if h[1] ~= ARGV[2] then
    local sequence = redis.call('HINCRBY', KEYS[1], 's', 1)
    redis.call('HSET', KEYS[1], 'v', ARGV[2], 'e' .. string.format('%.0f', sequence),
      ARGV[3] .. ' ' .. h[1] .. ' ' .. ARGV[2] .. ' ' .. string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if redis.call('HLEN', KEYS[1]) > 4 then return redis.call('HGETALL', KEYS[1]) end
return {}
`)
