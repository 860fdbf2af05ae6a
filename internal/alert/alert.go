// Package alert reports what an operator should know about: credentials that
// are refused, recover or expire, tasks that end as dead letters, offboardings
// that stay unconfirmed. Each alert is logged and counted here; package events
// turns most of them into events.
package alert

import (
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Kind says what happened. It doubles as the type of the event that is sent.
type Kind string

// The kinds of alerts.
const (
	CredentialParked   Kind = "credential.parked"
	CredentialResumed  Kind = "credential.resumed"
	CredentialExpiring Kind = "credential.expiring"
	// AccountOpen and AccountClosed mean that the circuit breaker of an account has opened
	// or closed.
	AccountOpen   Kind = "account.open"
	AccountClosed Kind = "account.closed"
	// AccountSurge means that an account sends far more passcodes than usual at this hour.
	AccountSurge Kind = "account.surge"
	// TaskDead means that a task has ended archived.
	TaskDead Kind = "task.dead"
	// TaskUnconfirmed means that a task whose effect must be confirmed has stayed
	// unconfirmed for too long.
	TaskUnconfirmed Kind = "task.unconfirmed"
	// ReceiverGone means that the receiver of events has answered 410 Gone. It
	// never becomes an event: nobody would receive it.
	ReceiverGone Kind = "events.gone"
)

// kinds are all of them.
var kinds = []Kind{
	CredentialParked,
	CredentialResumed,
	CredentialExpiring,
	AccountOpen,
	AccountClosed,
	AccountSurge,
	TaskDead,
	TaskUnconfirmed,
	ReceiverGone,
}

// Alert is one report. It holds no personal data and no secret.
type Alert struct {
	Kind Kind
	// Subject is the credential's profile, the account or the task's ID.
	Subject string
	// Data adds details such as "type", "outcome", "message", "age" or "lastDay".
	Data map[string]string
	// DedupKey identifies the alert among those that several workers raise, or
	// that one raises again after a restart. If it is empty, the kind, subject and
	// data identify it.
	DedupKey string
}

// Func takes an alert. It must return quickly and be safe for concurrent use.
type Func func(Alert)

// New returns a Func that logs and counts alerts.
func New(log zerolog.Logger, reg prometheus.Registerer) Func {
	count := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "errand_announcements_total",
		Help: "Alerts raised, by kind.",
	}, []string{"kind"})
	reg.MustRegister(count)
	for _, kind := range kinds {
		count.WithLabelValues(string(kind))
	}
	return func(a Alert) {
		count.WithLabelValues(string(a.Kind)).Inc()
		line := log.Error()
		switch a.Kind {
		case CredentialResumed, AccountClosed:
			line = log.Info()
		case CredentialParked, CredentialExpiring, AccountOpen:
			line = log.Warn()
		}
		line = line.Str("alert", string(a.Kind)).Str("subject", a.Subject)
		if len(a.Data) > 0 {
			data := zerolog.Dict()
			for _, name := range slices.Sorted(maps.Keys(a.Data)) {
				data = data.Str(name, a.Data[name])
			}
			// A dictionary of its own: "message" is a member of every line already.
			line = line.Dict("data", data)
		}
		line.Msg(string(a.Kind))
	}
}
