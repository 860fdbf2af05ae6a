package events

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/clients"
	"errand.internal/internal/announce"
	"errand.internal/internal/tokens"
)

const opDeliver = "deliver"

// longestPause is the most that a sink's Retry-After may ask for: a day would
// be the end of the event.
const longestPause = time.Hour

// Sender delivers events to the sink.
type Sender struct {
	url      string
	host     string
	signers  []*standardwebhooks.Webhook
	sink     *Sink
	rest     *Rest
	caller   *clients.Caller
	announce announce.Func
	now      func() time.Time
}

// NewSender makes the Sender of a configured sink. With a nil rest a sink that
// takes nothing is not left alone.
func NewSender(
	cfg Config,
	sink *Sink,
	rest *Rest,
	caller *clients.Caller,
	tell announce.Func,
) (*Sender, error) {
	url, host, signers, err := cfg.check()
	if err != nil {
		return nil, err
	}
	return &Sender{
		url:      url,
		host:     host,
		signers:  signers,
		sink:     sink,
		rest:     rest,
		caller:   caller.StatusOnly(),
		announce: tell,
		now:      time.Now,
	}, nil
}

// Send delivers an event once; again says that it was tried before. Its errors
// are *clients.Error: worth another try unless Final is set. While the sink
// rests, nothing that was tried before is sent, and the error asks for the task
// to be parked.
//
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func (s *Sender) Send(ctx context.Context, e Event, again bool) error {
	since, err := s.sink.Gone(ctx)
	if err != nil {
		return &clients.Error{
			Vendor:  Vendor,
			Op:      opDeliver,
			Kind:    clients.Temporary,
			NotSent: true,
			Message: "Redis does not say whether the sink is gone",
		}
	}
	if !since.IsZero() {
		return gone(&clients.Error{NotSent: true})
	}
	report, fault := s.rest.enter(ctx, again)
	if fault != nil {
		return fault
	}
	says := tokens.Inconclusive
	defer func() {
		report(says)
	}()
	req, err := s.request(ctx, e)
	if err != nil {
		return &clients.Error{
			Vendor:  Vendor,
			Op:      opDeliver,
			Kind:    clients.Invalid,
			NotSent: true,
			Message: "the event cannot be sent: " + err.Error(),
		}
	}
	answer, err := s.caller.Do(ctx, opDeliver, req)
	if err != nil {
		if ctx.Err() == nil { // else it was we who gave it too little time
			says = tokens.Refused
		}
		if fault, ok := clients.AsError(err); ok && fault.Kind == clients.Credentials {
			fault.Kind = clients.Temporary // a certificate is renewed; the event has a day
		}
		return err
	}
	switch {
	case answer.Status >= 200 && answer.Status <= 299:
		says = sayOf(answer.Status)
		return nil
	case answer.Status == http.StatusGone:
		first, err := s.sink.stop(ctx)
		if err != nil {
			return &clients.Error{
				Vendor:  Vendor,
				Op:      opDeliver,
				Kind:    clients.Temporary,
				Status:  answer.Status,
				Message: "the sink says that it is gone, and Redis did not take it down",
			}
		}
		if first {
			s.announce(
				announce.Announcement{
					Kind:    announce.SinkGone,
					Subject: s.host,
					Data:    map[string]string{"message": goneMessage},
				},
			)
		}
		return gone(&clients.Error{Status: answer.Status})
	}
	says = sayOf(answer.Status)
	return refusal(answer)
}

const goneMessage = "the sink has said that it is gone: nothing more is sent until EVENTS_URL changes or `worker events resume` is run"

func gone(e *clients.Error) *clients.Error {
	e.Vendor = Vendor
	e.Op = opDeliver
	e.Kind = clients.Failed
	e.Final = true
	e.Message = goneMessage
	return e
}

// refusal is an answer that was no success: whatever it says, the sink may be
// mended within the day that an event has.
func refusal(a *clients.Answer) *clients.Error {
	e := clients.StatusError(Vendor, opDeliver, a)
	switch e.Kind {
	case clients.Unknown, clients.RateLimited, clients.Temporary:
	default:
		e.Kind = clients.Temporary
	}
	e.RetryAfter = clients.RetryAfter(a.Header, longestPause)
	return e
}

// request makes one try: the same ID and body each time, signed for this
// moment, once with every secret.
func (s *Sender) request(ctx context.Context, e Event) (*http.Request, error) {
	body, err := e.Body()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(
		ctx,
		http.MethodPost,
		s.url,
		bytes.NewReader(body),
	)
	if err != nil {
		return nil, fmt.Errorf(
			"make the request for %s",
			s.host,
		) // the cause quotes the URL
	}
	now := s.now()
	var signatures []string
	for _, signer := range s.signers {
		signature, err := signer.Sign(e.ID, now, body)
		if err != nil {
			return nil, fmt.Errorf("sign the event: %w", err)
		}
		signatures = append(signatures, signature)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Errand")
	req.Header.Set(standardwebhooks.HeaderWebhookID, e.ID)
	req.Header.Set(
		standardwebhooks.HeaderWebhookTimestamp,
		strconv.FormatInt(now.Unix(), 10),
	)
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return req, nil
}
