package produce

import (
	"encoding/json"
	"time"

	"errand.internal/internal/record"
	"errand.internal/tasks"
)

// Report describes one task: the object of `enqueue --json` and of the HTTP interface.
// Outcome, Code, Message, Attempts and Data are set once the task has ended; before
// that, Code and Message may say why it waits. If the record is no longer kept, only
// the Outcome is known. An empty State means that Redis could not be reached.
type Report struct {
	ID        string           `json:"id"`
	Type      string           `json:"type"`
	Queue     string           `json:"queue"`
	State     string           `json:"state"`
	Duplicate bool             `json:"duplicate"`
	Outcome   tasks.Outcome    `json:"outcome,omitempty"`
	Code      *string          `json:"code,omitempty"` // the vendor's
	Message   *string          `json:"message,omitempty"`
	Attempts  *int             `json:"attempts,omitempty"`
	Data      *json.RawMessage `json:"data,omitempty"`
	// Only when asked for. The times are RFC 3339 with milliseconds, by Redis' clock.
	Created string          `json:"created,omitempty"`
	Due     string          `json:"due,omitempty"`
	Expires string          `json:"usableUntil,omitempty"`
	Next    string          `json:"next,omitempty"`
	Ended   string          `json:"ended,omitempty"`
	History *[]HistoryEntry `json:"history,omitempty" nullable:"false"`

	// Sealed says that the data exists but cannot be opened.
	Sealed bool `json:"-"`
}

// HistoryEntry is one attempt of a task.
type HistoryEntry struct {
	At       string `json:"at"` // RFC 3339 with milliseconds
	Class    string `json:"class"`
	Code     string `json:"code"`
	Status   int    `json:"status"` // HTTP status, 0 if no answer came
	Duration int64  `json:"durationMs"`
	Message  string `json:"message"`
}

const (
	// StateEnded is the state of a task that has ended.
	StateEnded = string(tasks.Ended)
	// StateForgotten is the state of a duplicate whose key is still taken although the
	// record of its task is gone and no worker has ended it.
	StateForgotten = "forgotten"
)

// NewReport describes a task that Enqueue has just stored, to start at once or later. The
// state of a duplicate has yet to be read.
func NewReport(taskType string, ticket *tasks.Ticket[json.RawMessage], delayed bool) *Report {
	queue, _ := record.QueueOf(ticket.ID)
	r := &Report{
		ID:        ticket.ID,
		Type:      taskType,
		Queue:     queue,
		Duplicate: ticket.Duplicate,
	}
	switch {
	case ticket.Duplicate:
	case delayed:
		r.State = string(record.Scheduled)
	default:
		r.State = string(record.Pending)
	}
	return r
}

// SetStatus fills in the state and, once the task has ended, its result.
func (r *Report) SetStatus(s *tasks.Status) {
	r.Type = s.Type
	r.Queue = s.Queue
	r.State = string(s.State)
	r.Outcome = s.Outcome
	if s.State == tasks.Ended || s.Code != "" {
		r.Code = new(s.Code)
	}
	if s.State == tasks.Ended || s.Message != "" {
		r.Message = new(s.Message)
	}
	if s.State != tasks.Ended {
		return
	}
	r.Attempts = new(s.Attempts)
	r.Sealed = s.Data == nil && s.HasData
	data := s.Data
	if data == nil {
		data = json.RawMessage("null")
	}
	r.Data = &data
}

// FormatTime returns a time as reports have it; "" for the zero time.
func FormatTime(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// SetHistory fills in the times and the attempts.
func (r *Report) SetHistory(s *tasks.Status) {
	r.Created = FormatTime(s.Created)
	r.Due = FormatTime(s.Due)
	r.Expires = FormatTime(s.Expires)
	r.Next = FormatTime(s.Next)
	r.Ended = FormatTime(s.Ended)
	history := make([]HistoryEntry, len(s.History))
	for i, a := range s.History {
		history[i] = HistoryEntry{
			At:       FormatTime(a.At),
			Class:    a.Class,
			Code:     a.Code,
			Status:   a.Status,
			Duration: a.Took.Milliseconds(),
			Message:  a.Message,
		}
	}
	r.History = &history
}
