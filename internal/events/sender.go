package events

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/clients"
	"errand.internal/internal/admission"
	"errand.internal/internal/alert"
	"errand.internal/internal/secret"
)

const opDeliver = "deliver"

// Operations are the names of the calls of a receiver, as metrics have them.
var Operations = []string{opDeliver}

// maxRetryAfter caps a receiver's Retry-After: a day, say, would exceed the
// event's lifetime.
const maxRetryAfter = time.Hour

// Sender delivers events to the receiver.
type Sender struct {
	to       atomic.Pointer[endpoint]
	config   Config
	receiver *Receiver
	breaker  *admission.Breaker // nil for none
	caller   *clients.Caller
	alert    alert.Func
	now      func() time.Time
}

// NewSender returns the Sender of a configured receiver, which signs with the time of now.
// With a nil breaker, every event is sent even while the receiver accepts none.
func NewSender(
	cfg Config,
	receiver *Receiver,
	breaker *admission.Breaker,
	caller *clients.Caller,
	raise alert.Func,
	now func() time.Time,
) (*Sender, error) {
	to, err := cfg.endpoint()
	if err != nil {
		return nil, err
	}
	s := &Sender{
		config:   cfg,
		receiver: receiver,
		breaker:  breaker,
		caller:   caller.StatusOnly(),
		alert:    raise,
		now:      now,
	}
	s.to.Store(&to)
	return s, nil
}

// SetSecrets signs events with other secrets from now on, those of Config.Secret. A wrong
// list changes nothing.
func (s *Sender) SetSecrets(list secret.String) error {
	changed := s.config
	changed.Secret = list
	to, err := changed.endpoint()
	if err == nil {
		s.to.Store(&to)
	}
	return err
}

// Send makes one attempt to deliver an event; retried says that an earlier one
// was made. Its errors are *clients.Error, and the event is worth another attempt
// unless Final is set. While the receiver accepts nothing, Send does not send a
// retried event: its error asks for the task to be parked.
//
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func (s *Sender) Send(ctx context.Context, e Event, retried bool) error {
	since, err := s.receiver.Gone(ctx)
	if err != nil {
		return &clients.Error{
			Vendor:  Vendor,
			Op:      opDeliver,
			Kind:    clients.Temporary,
			NotSent: true,
			Message: "Redis does not say whether the receiver is gone",
		}
	}
	if !since.IsZero() {
		return gone(&clients.Error{NotSent: true})
	}
	done, err := s.acquire(ctx, retried)
	if err != nil {
		return err
	}
	verdict := admission.Inconclusive
	defer func() {
		done(verdict)
	}()
	verdict, err = s.deliver(ctx, e)
	return err
}

// deliver posts an event. Besides its result it returns what the attempt says
// about the receiver as a whole.
func (s *Sender) deliver(ctx context.Context, e Event) (admission.Verdict, error) {
	req, err := s.request(ctx, e)
	if err != nil {
		return admission.Inconclusive, &clients.Error{
			Vendor:  Vendor,
			Op:      opDeliver,
			Kind:    clients.Invalid,
			NotSent: true,
			Message: "the event cannot be sent: " + err.Error(),
		}
	}
	ctx = clients.WithRepeatable(ctx, true) // webhook-id tells receivers of a repetition
	answer, err := s.caller.Do(ctx, opDeliver, req)
	switch {
	case err != nil:
		return callFailed(ctx, err)
	case answer.Status >= 200 && answer.Status <= 299:
		return verdictOf(answer.Status), nil
	case answer.Status == http.StatusGone:
		return admission.Inconclusive, s.stop(ctx, answer.Status)
	}
	return verdictOf(answer.Status), refusal(answer)
}

// callFailed handles a call that got no answer.
func callFailed(ctx context.Context, err error) (admission.Verdict, error) {
	verdict := admission.Refused
	if ctx.Err() != nil { // the attempt was cut short on this side
		verdict = admission.Inconclusive
	}
	// An untrusted certificate parks a vendor's tasks. Here it is retried: it may
	// be renewed within the event's day.
	if fault, ok := clients.AsError(err); ok && fault.Kind == clients.Credentials {
		fault.Kind = clients.Temporary
	}
	return verdict, err
}

// stop handles a 410: it stops delivery for the whole fleet and raises one alert.
func (s *Sender) stop(ctx context.Context, status int) error {
	first, err := s.receiver.markGone(ctx)
	if err != nil {
		return &clients.Error{
			Vendor:  Vendor,
			Op:      opDeliver,
			Kind:    clients.Temporary,
			Status:  status,
			Message: "the receiver answered 410 Gone, and Redis did not record it",
		}
	}
	if first {
		s.alert(alert.Alert{
			Kind:    alert.ReceiverGone,
			Subject: s.to.Load().host,
			Data:    map[string]string{"message": goneMessage},
		})
	}
	return gone(&clients.Error{Status: status})
}

const goneMessage = "the receiver answered 410 Gone: nothing more is sent " +
	"until EVENTS_URL changes or `worker events resume` is run"

func gone(e *clients.Error) *clients.Error {
	e.Vendor = Vendor
	e.Op = opDeliver
	e.Kind = clients.Failed
	e.Final = true
	e.Message = goneMessage
	return e
}

// refusal returns the error of an answer other than success. None is final: the
// receiver may be repaired within the event's day.
func refusal(a *clients.Answer) *clients.Error {
	e := clients.StatusError(Vendor, opDeliver, a)
	switch e.Kind {
	case clients.Unknown, clients.Blocked, clients.Temporary:
	default:
		e.Kind = clients.Temporary
	}
	e.RetryAfter = clients.RetryAfter(a.Header, maxRetryAfter)
	return e
}

// request builds the request of one attempt. ID and body are the same each time;
// the signatures, one per secret, cover the current time.
func (s *Sender) request(ctx context.Context, e Event) (*http.Request, error) {
	body, err := e.Body()
	if err != nil {
		return nil, err
	}
	to := s.to.Load()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url, bytes.NewReader(body))
	if err != nil {
		// The cause quotes the URL, which may hold a token.
		return nil, fmt.Errorf("build the request for %s", to.host)
	}
	now := s.now()
	var signatures []string
	for _, signer := range to.signers {
		signature, err := signer.Sign(e.ID, now, body)
		if err != nil {
			return nil, fmt.Errorf("sign the event: %w", err)
		}
		signatures = append(signatures, signature)
	}
	timestamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Errand")
	req.Header.Set(standardwebhooks.HeaderWebhookID, e.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, timestamp)
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return req, nil
}
