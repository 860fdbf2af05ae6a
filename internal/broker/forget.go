package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"errand.internal/internal/record"
)

var forgetStep = step("forget")

// Forgotten says what became of one task of a person who asked to be erased.
type Forgotten struct {
	// Erased says that payload, result and digests are gone.
	Erased bool
	// State is why they are not: the task has not ended.
	State string
	// Gone says that the task's record was erased or has expired meanwhile.
	Gone bool
	// KeyFor is for how long the digest of the producer's key is kept; 0 if there is none.
	KeyFor time.Duration
	// Audited and Intent say that the off-boarding record keeps the task, and that the order
	// of opening and closing the person's access is kept.
	Audited bool
	Intent  bool
}

// Forget erases the payload, the result and the digests of an ended task about a subject.
// Its outcome and its attempts stay until the record expires. digest is the one by which the
// task was found; "" for one that was found by what it says.
func (p *Producer) Forget(ctx context.Context, r *record.Record, digest string) (Forgotten, error) {
	now, err := p.rdb.Time(ctx).Result()
	if err != nil {
		return Forgotten{}, fmt.Errorf("read Redis' time: %w", err)
	}
	reply, err := run(ctx, p.rdb, forgetStep, r.Queue, newArguments(
		"id", r.ID,
		"digest", digest,
		"lists", strings.Join(record.IndexKeys(r.Queue, r.Digests, now), " "),
	))
	if err != nil {
		return Forgotten{}, fmt.Errorf("erase %s: %w", r.ID, err)
	}
	f := Forgotten{}
	switch answer := reply.Text(0); answer {
	case "erased":
		f.Erased = true
	case "gone", "other":
		f.Gone = true
	default:
		f.State = answer
	}
	for i := 1; i < len(reply); i++ {
		word, ms, _ := strings.Cut(reply.Text(i), " ")
		switch word {
		case "key":
			n, _ := strconv.ParseInt(ms, 10, 64)
			f.KeyFor = time.Duration(max(n, 1)) * time.Millisecond
		case "audit":
			f.Audited = true
		case "intent":
			f.Intent = true
		}
	}
	return f, nil
}

// Texts returns the payload and the result of a task, each nil if it is not kept.
func (p *Producer) Texts(ctx context.Context, r *record.Record) (payload, result []byte, err error) {
	d, err := p.deadLetter(ctx, r.Queue, r.ID)
	if err != nil {
		return nil, nil, err
	}
	if d.kept {
		if payload, err = d.open(p.ring); err != nil {
			return nil, nil, fmt.Errorf("open the payload of %s: %w", r.ID, err)
		}
	}
	whole, err := p.store.Get(ctx, r.ID)
	switch {
	case errors.Is(err, record.ErrBadID): // a plain asynq client's
		return payload, nil, nil
	case err != nil:
		return nil, nil, err
	}
	if result, err = OpenResult(p.ring, whole); err != nil {
		return nil, nil, fmt.Errorf("open the result of %s: %w", r.ID, err)
	}
	return payload, result, nil
}
