package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"errand.internal/internal/config"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// reader is what the exports need: Redis and the keys.
type reader struct {
	store *ledger.Store
	ring  *seal.Ring
	close func()
}

func openReader(environ map[string]string) (*reader, error) {
	var c struct {
		RedisURL       secret.String `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0"`
		EncryptionKeys secret.String `env:"ENCRYPTION_KEYS"`
	}
	loaded := settings.Load(&c, environ)
	target, errURL := redisconn.Parse(c.RedisURL.Reveal())
	ring, errKeys := seal.Parse(c.EncryptionKeys.Reveal())
	if err := settings.Collect(loaded, errURL, errKeys); err != nil {
		return nil, config.NewError(err)
	}
	rdb := target.Open(redisconn.General)
	return &reader{
		store: ledger.New(rdb),
		ring:  ring,
		close: func() {
			closeQuietly(rdb)
		},
	}, nil
}

// DeadLetter is a line of the export of dead letters.
type DeadLetter struct {
	ID       string         `json:"id"`
	Queue    string         `json:"queue"`
	Type     string         `json:"type"`
	Outcome  ledger.Outcome `json:"outcome"`
	Code     string         `json:"code,omitempty"`
	Message  string         `json:"message,omitempty"`
	Attempts int            `json:"attempts"`
	At       time.Time      `json:"at"`
}

// ExportDeadLetters writes the dead letters of a queue, or of all, as one JSON
// object a line, the oldest first. They hold no payload: the task's record and
// asynq's archive do, as long as they are kept.
func ExportDeadLetters(
	ctx context.Context,
	environ map[string]string,
	only string,
	out io.Writer,
) error {
	if only != "" && !slices.Contains(config.QueueNames(), only) {
		return config.NewError(fmt.Errorf("there is no queue %q", only))
	}
	r, err := openReader(environ)
	if err != nil {
		return err
	}
	defer r.close()
	enc := json.NewEncoder(out)
	for _, name := range config.QueueNames() {
		if only != "" && name != only {
			continue
		}
		if err := r.store.EachDeadLetter(ctx, name, func(l ledger.DeadLetter) error {
			return enc.Encode(DeadLetter{
				ID:       l.ID,
				Queue:    name,
				Type:     l.Type,
				Outcome:  l.Outcome,
				Code:     l.Code,
				Message:  l.Message,
				Attempts: l.Attempts,
				At:       l.At.UTC(),
			})
		}); err != nil {
			return err
		}
	}
	return nil
}

// Offboarding is a line of the export of inactivations.
type Offboarding struct {
	ID     string    `json:"id"`
	UserID string    `json:"userId"`
	Type   string    `json:"type"`
	Asked  time.Time `json:"asked"`
	// Attempts are the tries that did not confirm it.
	Attempts []OffboardingAttempt `json:"attempts"`
	// Confirmed is when the vendor confirmed it; nil if it has not.
	Confirmed *time.Time `json:"confirmed"`
	// Outcome is how the task ended, "" if it has not.
	Outcome ledger.Outcome `json:"outcome"`
}

// OffboardingAttempt is one try that did not confirm an inactivation.
type OffboardingAttempt struct {
	At      time.Time `json:"at"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
}

// ExportOffboarding writes what became of each inactivation, one JSON object a
// line, in the order in which they were asked for. With unconfirmedOnly it
// leaves out those that the vendor has confirmed.
func ExportOffboarding(
	ctx context.Context,
	environ map[string]string,
	unconfirmedOnly bool,
	out io.Writer,
) error {
	r, err := openReader(environ)
	if err != nil {
		return err
	}
	defer r.close()
	byID := map[string]*Offboarding{}
	var order []*Offboarding
	err = r.store.EachTrailEntry(ctx, "anna", func(e ledger.TrailEntry) error {
		line := byID[e.ID]
		if line == nil {
			// An entry whose beginning was trimmed still counts.
			line = &Offboarding{
				ID:       e.ID,
				Type:     e.Type,
				Asked:    e.At.UTC(),
				Attempts: []OffboardingAttempt{},
			}
			byID[e.ID], order = line, append(order, line)
		}
		switch e.Event {
		case "asked":
			user, err := queue.OpenSubject(r.ring, e)
			if errors.Is(err, seal.ErrNoKey) {
				return err
			}
			line.UserID = user
		case "ended":
			line.Outcome = e.Outcome
			if e.Outcome == ledger.Done {
				at := e.At.UTC()
				line.Confirmed = &at
				return nil
			}
			fallthrough
		default:
			line.Attempts = append(line.Attempts, OffboardingAttempt{
				At:      e.At.UTC(),
				Code:    e.Code,
				Message: e.Message,
			})
		}
		return nil
	})
	if err != nil {
		return err
	}
	enc := json.NewEncoder(out)
	for _, line := range order {
		if unconfirmedOnly &&
			(line.Confirmed != nil || line.Outcome == ledger.Cancelled) {
			continue
		}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}
