package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/record"
	"errand.internal/internal/seal"
	"errand.internal/tasks/all"
)

// Offboarding is one line of the export of inactivations.
type Offboarding struct {
	ID        string    `json:"id"`
	UserID    string    `json:"userId"`
	Type      string    `json:"type"`
	Requested time.Time `json:"asked"`
	// By names the API key that asked, or "schedule NAME"; empty if neither did.
	By string `json:"by,omitempty"`
	// Attempts are the tries that did not confirm it.
	Attempts []OffboardingAttempt `json:"attempts"`
	// Confirmed is when the vendor confirmed it; nil if it has not.
	Confirmed *time.Time `json:"confirmed"`
	// Outcome is how the task ended; empty if it has not.
	Outcome record.Outcome `json:"outcome"`
}

// OffboardingAttempt is one try that did not confirm an inactivation.
type OffboardingAttempt struct {
	At      time.Time `json:"at"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
}

// ExportOffboarding writes what became of each inactivation, as JSON lines, in the
// order in which they were requested. With unconfirmedOnly it leaves out those that
// the vendor has confirmed, and cancelled ones.
func ExportOffboarding(ctx context.Context, environ map[string]string, unconfirmedOnly bool, out io.Writer) error {
	r, err := openReader(environ)
	if err != nil {
		return err
	}
	defer r.close()
	var lines []*Offboarding
	for _, name := range auditedQueues() {
		found, err := r.offboardings(ctx, name)
		if err != nil {
			return err
		}
		lines = append(lines, found...)
	}
	slices.SortStableFunc(lines, func(a, b *Offboarding) int { return a.Requested.Compare(b.Requested) })
	enc := json.NewEncoder(out)
	for _, line := range lines {
		if unconfirmedOnly && (line.Confirmed != nil || line.Outcome == record.Cancelled) {
			continue
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// auditedQueues lists the queues of the task types that write an audit log.
func auditedQueues() []string {
	var names []string
	for _, info := range all.Vendors.Types() {
		policy := info.Example.Policy()
		if policy.AuditSubject != "" && !slices.Contains(names, policy.Queue) {
			names = append(names, policy.Queue)
		}
	}
	return names
}

// offboardings reads the audit log of a queue, and returns one Offboarding for
// each task in it.
func (r *reader) offboardings(ctx context.Context, queueName string) ([]*Offboarding, error) {
	var lines []*Offboarding
	byID := map[string]*Offboarding{}
	err := r.store.EachAuditEntry(ctx, queueName, func(e record.AuditEntry) error {
		line := byID[e.ID]
		if line == nil { // usually at its first entry, which may have been trimmed
			line = &Offboarding{
				ID:        e.ID,
				Type:      e.Type,
				Requested: e.At.UTC(),
				Attempts:  []OffboardingAttempt{},
			}
			byID[e.ID] = line
			lines = append(lines, line)
		}
		if e.Event != "asked" {
			line.add(e)
			return nil
		}
		user, err := broker.OpenSubject(r.ring, e)
		if errors.Is(err, seal.ErrNoKey) {
			return err
		}
		line.UserID = user
		line.By = e.By
		return nil
	})
	return lines, err
}

// add adds an attempt, or the end of the task.
func (o *Offboarding) add(e record.AuditEntry) {
	at := e.At.UTC()
	if e.Event == "ended" {
		o.Outcome = e.Outcome
		if e.Outcome == record.Done {
			o.Confirmed = &at
			return
		}
	}
	o.Attempts = append(o.Attempts, OffboardingAttempt{
		At:      at,
		Code:    e.Code,
		Message: e.Message,
	})
}
