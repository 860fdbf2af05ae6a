package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Record is all that is known of one task.
type Record struct {
	ID, Type, Queue string
	State           State
	Outcome         Outcome // "" while the task has not ended
	Code, Message   string
	// Data is the result as the worker sealed it.
	Data []byte
	// Attempts counts the entries of History: calls of the vendor, whether they
	// counted against the budget or not.
	Attempts int
	History  []Attempt

	// Next is when a retrying or parked task runs again.
	Created, Due, Expires, Next, Ended time.Time
}

// Get reads the record of a task; ErrNotFound if there is none.
func (s *Store) Get(ctx context.Context, id string) (*Record, error) {
	queue, err := QueueOf(id)
	if err != nil {
		return nil, err
	}
	h, err := s.rdb.HGetAll(ctx, taskKey(queue, id)).Result()
	if err != nil {
		return nil, fmt.Errorf("read the record: %w", err)
	}
	if len(h) == 0 {
		return nil, ErrNotFound
	}
	r := &Record{
		ID: id, Type: h["type"], Queue: queue,
		State: State(h["state"]), Outcome: Outcome(h["outcome"]), Code: h["code"], Message: h["message"],
		Attempts: atoi(h["log"]),
		Created:  millis(h["created"]), Due: millis(h["due"]), Expires: millis(h["expires"]),
		Next: millis(h["next"]), Ended: millis(h["ended"]),
	}
	if data, ok := h["data"]; ok {
		r.Data = []byte(data)
	}
	for n := range r.Attempts {
		var a attemptJSON
		if err := json.Unmarshal([]byte(h[fmt.Sprintf("a%d", n+1)]), &a); err != nil {
			return nil, fmt.Errorf("read attempt %d of the record: %w", n+1, err)
		}
		r.History = append(r.History, Attempt{
			At: time.UnixMilli(a.At), Took: time.Duration(a.Took) * time.Millisecond,
			Class: a.Class, Status: a.Status, Code: a.Code, Message: a.Message,
		})
	}
	return r, nil
}
