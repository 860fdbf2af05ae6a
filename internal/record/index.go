package record

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// MaxSubjects is how many subjects a task is indexed by. Their digests are one short
// field of the record.
const MaxSubjects = 3

// indexDigestSize is the size of a digest in the index, in bytes. A collision costs one
// look at the record, which has the digests too.
const indexDigestSize = 8

// SubjectDigest hides a subject of tasks: a recipient, a user.
func SubjectDigest(salt, subject string) string {
	return indexDigest(salt, "subject", PlainSubject(subject))
}

// VendorIDDigest hides an ID of the vendor's.
func VendorIDDigest(salt, id string) string {
	return indexDigest(salt, "vendor id", strings.TrimSpace(id))
}

// indexDigest is hexadecimal, so that its first characters make 256 lists.
func indexDigest(salt string, parts ...string) string {
	return hex.EncodeToString(digest(salt, parts...)[:indexDigestSize])
}

// PlainSubject returns a subject without what does not distinguish people: upper case,
// spaces around it, and the punctuation of a phone number.
func PlainSubject(text string) string {
	text = strings.ToLower(strings.TrimSpace(text))
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, text)
	if len(digits) >= 6 && strings.Trim(text, "0123456789+-()./ ") == "" {
		return digits
	}
	return text
}

// The index is a set of short lists. An entry is a digest and a task's ID, and the list
// is chosen by when the record expires and by the digest: entries share the cost of a
// key, nothing has to be removed, and a list expires as a whole: at most an hour after
// the records it names if these expire within indexHours, a day within indexDays, else a
// year. Lua writes the index (index.lua).
const (
	indexHour  = time.Hour
	indexDay   = 24 * indexHour
	indexYear  = 365 * indexDay
	indexHours = 48
	indexDays  = 100
	indexYears = 12
)

// IndexKeys are the lists that may have one of the digests.
func IndexKeys(queue string, digests []string, now time.Time) []string {
	var keys []string
	add := func(kind string, span time.Duration, n int) {
		first := now.UnixMilli()/span.Milliseconds() + 1
		for i := range int64(n) {
			for _, digest := range digests {
				keys = append(keys, fmt.Sprintf("%sindex:%s%d:%s", Prefix(queue), kind, first+i, digest[:2]))
			}
		}
	}
	add("h", indexHour, indexHours+1)
	add("d", indexDay, indexDays+1)
	add("y", indexYear, indexYears)
	return keys
}

// RedisSalt returns the salt of a queue's digests as Redis has it; "" if nothing has
// been digested there. The answer may be saltMaxAge old.
func (s *Store) RedisSalt(ctx context.Context, queue string) (string, error) {
	if known, ok := s.seen.Load(queue); ok && time.Since(known.(seenSalt).at) < saltMaxAge {
		return known.(seenSalt).salt, nil
	}
	salt, err := s.rdb.Get(ctx, Prefix(queue)+"salt").Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the salt: %w", err)
	}
	s.seen.Store(queue, seenSalt{salt: salt, at: time.Now()})
	return salt, nil
}

// NewSalt is RedisSalt, and gives Redis a salt if it has none.
func (s *Store) NewSalt(ctx context.Context, queue string) (string, error) {
	salt, err := s.RedisSalt(ctx, queue)
	if err != nil || salt != "" {
		return salt, err
	}
	if err := s.rdb.SetNX(ctx, Prefix(queue)+"salt", s.Salt(queue), 0).Err(); err != nil {
		return "", fmt.Errorf("write the salt: %w", err)
	}
	return s.RedisSalt(ctx, queue)
}

// saltMaxAge is how long a salt is believed: Redis may be emptied and get another.
const saltMaxAge = 5 * time.Minute

type seenSalt struct {
	salt string
	at   time.Time
}

// BySubject returns the records of a queue's tasks about a subject, the oldest first.
func (s *Store) BySubject(ctx context.Context, queue, subject string) ([]*Record, error) {
	return s.byDigest(ctx, queue, func(salt string) string { return SubjectDigest(salt, subject) })
}

// ByVendorID returns the records of a queue's tasks with an ID of the vendor's.
func (s *Store) ByVendorID(ctx context.Context, queue, id string) ([]*Record, error) {
	return s.byDigest(ctx, queue, func(salt string) string { return VendorIDDigest(salt, id) })
}

func (s *Store) byDigest(ctx context.Context, queue string, digestOf func(salt string) string) ([]*Record, error) {
	salt, err := s.RedisSalt(ctx, queue)
	if err != nil || salt == "" {
		return nil, err
	}
	return s.ByDigest(ctx, queue, digestOf(salt))
}

// ByDigest returns the records of a queue's tasks that have a digest, the oldest first.
func (s *Store) ByDigest(ctx context.Context, queue, digest string) ([]*Record, error) {
	ids, err := s.indexed(ctx, queue, digest)
	if err != nil {
		return nil, err
	}
	var found []*Record
	for _, id := range ids {
		r, err := s.get(ctx, queue, id, false)
		switch {
		case errors.Is(err, ErrNotFound): // its entry expires a little later
		case err != nil:
			return nil, err
		case slices.Contains(r.Digests, digest):
			found = append(found, r)
		}
	}
	slices.SortStableFunc(found, func(a, b *Record) int { return a.Created.Compare(b.Created) })
	return found, nil
}

// indexed returns the tasks that the index has for a digest.
func (s *Store) indexed(ctx context.Context, queue, digest string) ([]string, error) {
	now, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("read Redis' time: %w", err)
	}
	pipe := s.rdb.Pipeline()
	var lists []*redis.StringSliceCmd
	for _, key := range IndexKeys(queue, []string{digest}, now) {
		lists = append(lists, pipe.LRange(ctx, key, 0, -1))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	var ids []string
	for _, list := range lists {
		for _, entry := range list.Val() {
			if id, ok := strings.CutPrefix(entry, digest); ok && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// ByKey returns the task that a producer's key leads to; ErrNotFound if there is none.
// The outcome is set once the task has ended, and outlives its record.
func (s *Store) ByKey(ctx context.Context, queue, taskType, key string) (id string, o Outcome, err error) {
	salt, err := s.RedisSalt(ctx, queue)
	if err != nil {
		return "", "", err
	}
	if salt == "" {
		return "", "", ErrNotFound
	}
	name := Prefix(queue) + "key:" + KeyDigest(salt, taskType, key)
	text, err := s.rdb.Get(ctx, name).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", "", fmt.Errorf("read the key: %w", err)
	}
	words := strings.Split(text, " ") // the task, the digest of its payload, the outcome
	if len(words) > 2 {
		o = Outcome(words[2])
	}
	if words[0] == "" {
		return "", "", ErrNotFound
	}
	return words[0], o, nil
}

// KeyDigest hides a producer's key.
func KeyDigest(salt, taskType, key string) string {
	return Digest(salt, "key", taskType, key)
}

// EachRecord calls do for each record of a queue, in no order and without attempts and
// result, until do returns an error. Records that come or go meanwhile may be missed; one
// may come twice.
func (s *Store) EachRecord(ctx context.Context, queue string, do func(*Record) error) error {
	prefix := Key(queue, "")
	var node redis.Cmdable = s.rdb
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		master, err := cluster.MasterForKey(ctx, prefix)
		if err != nil {
			return fmt.Errorf("find the node of the queue: %w", err)
		}
		node = master
	}
	now, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return fmt.Errorf("read Redis' time: %w", err)
	}
	for cursor := uint64(0); ; {
		keys, next, err := node.Scan(ctx, cursor, prefix+"*", page).Result()
		if err != nil {
			return fmt.Errorf("scan the records: %w", err)
		}
		records, err := s.readAll(ctx, queue, keys, now)
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := do(r); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// readAll reads the records with the given keys.
func (s *Store) readAll(ctx context.Context, queue string, keys []string, now time.Time) ([]*Record, error) {
	pipe := s.rdb.Pipeline()
	found := make([]*redis.MapStringStringCmd, len(keys))
	for i, key := range keys {
		found[i] = pipe.HGetAll(ctx, key)
	}
	if _, err := pipe.Exec(ctx); err != nil && len(keys) > 0 {
		return nil, fmt.Errorf("read the records: %w", err)
	}
	var records []*Record
	for i, key := range keys {
		if fields := found[i].Val(); len(fields) > 0 {
			records = append(records, newRecord(queue, strings.TrimPrefix(key, Key(queue, "")), fields, now))
		}
	}
	return records, nil
}
