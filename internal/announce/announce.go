// Package announce is the one way in which Errand makes known what somebody
// should hear of: credentials that are parked, work again or expire, tasks that
// end dead, leavers who keep their access.
package announce

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Kind is what happened; it is also the type of the event that is sent.
type Kind string

// The kinds.
const (
	CredentialParked   Kind = "credential.parked"
	CredentialResumed  Kind = "credential.resumed"
	CredentialExpiring Kind = "credential.expiring"
	// TaskDead: a task has ended archived.
	TaskDead Kind = "task.dead"
	// TaskUnconfirmed: a task that must be confirmed has not been for too long.
	TaskUnconfirmed Kind = "task.unconfirmed"
	// SinkGone: the receiver of events has said that it is gone. It is the one
	// kind that never becomes an event.
	SinkGone Kind = "events.gone"
)

// Announcement is one thing to make known. It holds nothing personal and
// nothing secret.
type Announcement struct {
	Kind Kind
	// Subject is the credential's profile, or the task's ID.
	Subject string
	// Data says more: "type", "outcome", "message", "age", "lastDay".
	Data map[string]string
	// Once names what many workers announce, or one again after its start; "" if
	// kind, subject and data do.
	Once string
}

// Func takes an announcement. It must be quick and safe for concurrent use.
type Func func(Announcement)

// New returns a Func that logs and counts.
func New(log zerolog.Logger, reg prometheus.Registerer) Func {
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "errand_announcements_total", Help: "What somebody should hear of, by kind.",
	}, []string{"kind"})
	reg.MustRegister(count)
	return func(a Announcement) {
		count.WithLabelValues(string(a.Kind)).Inc()
		line := log.Error()
		switch a.Kind {
		case CredentialResumed:
			line = log.Info()
		case CredentialParked, CredentialExpiring:
			line = log.Warn()
		}
		line = line.Str("announce", string(a.Kind)).Str("subject", a.Subject)
		for name, value := range a.Data {
			line = line.Str(name, value)
		}
		line.Msg(string(a.Kind))
	}
}
