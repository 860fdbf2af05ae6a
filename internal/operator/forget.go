package operator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
)

// ForgetOrder says whose data are erased.
type ForgetOrder struct {
	// Subject is the person, as payloads name them.
	Subject string
	Reason  string
	DryRun  bool
}

func (o ForgetOrder) check() error {
	switch {
	case strings.TrimSpace(o.Subject) == "":
		return usagef("--subject must name the person")
	case !o.DryRun && strings.TrimSpace(o.Reason) == "":
		return usagef("--reason must say why, such as the number of the request; the audit keeps it")
	}
	return nil
}

// Forgotten says what became of one task of the person.
type Forgotten struct {
	ID      string         `json:"id"`
	Type    string         `json:"type"`
	Outcome record.Outcome `json:"outcome,omitempty"`
	// Erased says that payload, result and digests are gone; in a dry run, that they would be.
	Erased bool `json:"erased"`
	// Kept says what is kept of it, and why.
	Kept []string `json:"kept,omitempty"`
}

// Forget erases the payloads, results and digests of a person's ended tasks, of all queues,
// and calls report for each. Tasks that name one of the vendor's IDs of these tasks, such
// as the check of a passcode, are the person's too, and so are those that are indexed by
// nobody and mention the person, such as a bulk load. The error is a *RefusedError if a task
// has not ended, and record.ErrNotFound if there is none. It may be called again.
func (o *Operator) Forget(ctx context.Context, order ForgetOrder, report func(Forgotten) error) error {
	if err := order.check(); err != nil {
		return err
	}
	found, unread, err := o.tasksOf(ctx, order.Subject)
	if err != nil {
		return err
	}
	if len(found) == 0 && unread == 0 {
		return record.ErrNotFound
	}
	open, err := 0, error(nil)
	for _, r := range found {
		f := Forgotten{ID: r.ID, Type: r.Type, Outcome: r.Outcome, Erased: r.State == record.Ended}
		if f.Erased && !order.DryRun {
			if f, err = o.forget(ctx, r); err != nil {
				return err
			}
		}
		if r.State != record.Ended {
			open++
			f.Kept = []string{"all of it: it is " + string(r.State) + "; cancel it, or wait for its end, and erase again"}
		}
		if err := report(f); err != nil {
			return err
		}
	}
	if order.DryRun {
		return unreadError(unread)
	}
	// The log must not name the person.
	if err := o.act(ctx, "forget", "a person", order.Reason, forgetResult(len(found)-open, open)); err != nil {
		return err
	}
	if open > 0 {
		return refusedf("%d of %d tasks not erased: they have not ended", open, len(found))
	}
	return unreadError(unread)
}

// unreadError says that the person may be named where nobody could look.
func unreadError(unread int) error {
	if unread == 0 {
		return nil
	}
	return refusedf(
		"tasks that may name the person and cannot be opened: %d; set ENCRYPTION_KEYS to the keys of the workers",
		unread,
	)
}

func forgetResult(erased, open int) string {
	text := fmt.Sprintf("%d tasks erased", erased)
	if open > 0 {
		text += fmt.Sprintf(", %d not: they have not ended", open)
	}
	return text
}

// tasksOf returns the records of the tasks about a subject, of those that share an ID of the
// vendor's with them, and of those that mention it. unread counts those that could not be
// opened.
func (o *Operator) tasksOf(ctx context.Context, subject string) (all []*record.Record, unread int, err error) {
	queues, err := o.queues(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, queue := range queues {
		found, err := o.store.BySubject(ctx, queue, subject)
		if err != nil {
			return nil, 0, err
		}
		mentioning, closed, err := o.mentioning(ctx, queue, subject)
		if err != nil {
			return nil, 0, err
		}
		unread += closed
		found = append(found, mentioning...)
		known := map[string]bool{}
		for _, r := range found {
			known[r.ID] = true
		}
		for _, r := range found {
			for _, digest := range r.VendorIDs {
				same, err := o.store.ByDigest(ctx, queue, digest)
				if err != nil {
					return nil, 0, err
				}
				for _, r := range same {
					if !known[r.ID] {
						known[r.ID] = true
						all = append(all, r)
					}
				}
			}
		}
		all = append(all, found...)
	}
	return all, unread, nil
}

// forget erases one task.
func (o *Operator) forget(ctx context.Context, r *record.Record) (Forgotten, error) {
	f := Forgotten{ID: r.ID, Type: r.Type, Outcome: r.Outcome}
	digest := "" // that of a task that is indexed by nobody
	if len(r.Digests) > 0 {
		digest = r.Digests[0]
	}
	done, err := o.producer.Forget(ctx, r, digest)
	if err != nil {
		return f, err
	}
	f.Erased = done.Erased || done.Gone
	f.Kept = keptOf(done)
	return f, nil
}

// keptOf says what is kept of an erased task, and why.
func keptOf(f broker.Forgotten) []string {
	var kept []string
	if f.Erased {
		kept = append(kept, "its outcome, codes and times, until the record expires")
	}
	if f.KeyFor > 0 {
		kept = append(kept, fmt.Sprintf(
			"the digest of its key for %s, so that the same is not sent twice",
			f.KeyFor.Round(time.Second),
		))
	}
	if f.Audited {
		kept = append(kept, "its lines in the off-boarding record, which proves that access was closed")
	}
	if f.Intent {
		kept = append(kept, "the digest of the user in the order of opening and closing, so that no old login reopens access")
	}
	return kept
}
