package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Attempt is one entry of a task's history.
type Attempt struct {
	At      time.Time
	Took    time.Duration
	Class   string // the outcome, or the kind of the fault
	Status  int    // HTTP status, 0 if there was none
	Code    string // the vendor's
	Message string
}

type attemptJSON struct {
	At      int64  `json:"at"`
	Took    int64  `json:"ms"`
	Class   string `json:"class"`
	Status  int    `json:"status,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
}

// Result is what Finish writes.
type Result struct {
	// Attempt is nil if the vendor was not called.
	Attempt *Attempt
	// Counted: the attempt counts against the task's budget of attempts.
	Counted bool
	// State is Retrying or Parked with Wait, or Ended with Outcome.
	State State
	Wait  time.Duration
	// ParkedFor names the credential that a parked task waits for, if it is
	// known, so that WakeParked finds it.
	ParkedFor     string
	Outcome       Outcome
	Code, Message string
	// Data is the result, sealed by the caller.
	Data []byte
	// Keep is how long the record is kept after the end.
	Keep time.Duration
	// HoldKey keeps the producer's key for its whole life, however the task ends:
	// who asks again asks for the same, not for a new try.
	HoldKey bool
	// TellDead has the end stand in the list of notices although nobody asked for
	// it (NewTask.Notify): as a dead letter. Set it only where somebody reads the
	// list.
	TellDead bool
	// Confirmed: the vendor did what was asked, though the task goes on
	// (Grant.Reconfirm).
	Confirmed bool
	// InDoubt and Lookups are kept for the next Grant.
	InDoubt bool
	Lookups int
}

// deadKept is how many dead letters a queue keeps, about.
const deadKept = 100_000

// Finish writes what became of the attempt that g granted. It returns ErrStale
// if another worker took the task over meanwhile. It may be called again with the
// same arguments: if Redis has forgotten the first time, it is written anew.
func (s *Store) Finish(ctx context.Context, id string, g Grant, r Result) error {
	queue, err := QueueOf(id)
	if err != nil {
		return err
	}
	record, keyRecord, entry := taskKey(queue, id), g.keyRecord, ""
	if keyRecord == "" {
		keyRecord = record
	}
	if a := r.Attempt; a != nil {
		raw, err := json.Marshal(attemptJSON{At: a.At.UnixMilli(), Took: a.Took.Milliseconds(), Class: a.Class, Status: a.Status, Code: a.Code, Message: a.Message})
		if err != nil {
			return fmt.Errorf("encode the attempt: %w", err)
		}
		entry = string(raw)
	}
	parked := record
	if r.State == Parked && r.ParkedFor != "" {
		parked = parkedKey(queue, r.ParkedFor)
	}
	kept, doubt := 0, ""
	if r.InDoubt {
		doubt = strconv.Itoa(r.Lookups)
	}
	if r.Outcome.Archived() {
		kept = deadKept
	}
	n, err := finishScript.Run(ctx, s.rdb, []string{record, keyRecord, parked, deadKey(queue), noticeKey(queue)},
		id, g.Fence, entry, flag(r.Counted), string(r.State), string(r.Outcome), r.Code, r.Message, r.Data,
		r.Keep.Milliseconds(), flag(r.Outcome.FreesKey() && !r.HoldKey), r.Wait.Milliseconds(), doneChannel(id),
		kept, g.taskType, flag(r.Confirmed), doubt, flag(r.TellDead)).Int()
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	if n == 0 {
		return ErrStale
	}
	return nil
}
