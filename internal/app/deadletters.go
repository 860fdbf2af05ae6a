package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"errand.internal/internal/config"
	"errand.internal/internal/record"
)

// DeadLetter is one line of the export of dead letters.
type DeadLetter struct {
	ID       string         `json:"id"`
	Queue    string         `json:"queue"`
	Type     string         `json:"type"`
	Outcome  record.Outcome `json:"outcome"`
	Code     string         `json:"code,omitempty"`
	Message  string         `json:"message,omitempty"`
	Attempts int            `json:"attempts"`
	At       time.Time      `json:"at"`
}

// ExportDeadLetters writes the dead letters of one queue, or of all if queue is
// empty, as JSON lines, the oldest of each queue first. They contain no payload;
// the task's record and asynq's archive do, as long as they are kept.
func ExportDeadLetters(ctx context.Context, environ map[string]string, queue string, out io.Writer) error {
	queues := config.QueueNames()
	if queue != "" {
		if !slices.Contains(queues, queue) {
			return config.NewError(fmt.Errorf("there is no queue %q", queue))
		}
		queues = []string{queue}
	}
	r, err := openReader(environ)
	if err != nil {
		return err
	}
	defer r.close()
	enc := json.NewEncoder(out)
	for _, name := range queues {
		err := r.store.EachDeadLetter(ctx, name, func(l record.DeadLetter) error {
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
		})
		if err != nil {
			return err
		}
	}
	return nil
}
