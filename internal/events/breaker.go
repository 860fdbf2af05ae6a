package events

import (
	"context"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/admission"
)

// BreakerName names the receiver's breaker, for which deliveries are parked.
const BreakerName = "events"

// coolDowns are how long a receiver that accepts nothing is left alone, the longer the
// more often in a row: an outage of a day costs one try in half a minute, and when it is
// over, that is how long nobody knows.
var coolDowns = []time.Duration{
	time.Second,
	2 * time.Second,
	4 * time.Second,
	8 * time.Second,
	15 * time.Second,
	30 * time.Second,
}

// NewBreaker returns the breaker of a configured receiver, which all workers share. While
// it is open, events that were tried in vain wait together, but for one now and then, and
// go again when one was accepted. The caller closes it.
func NewBreaker(
	cfg Config,
	rdb redis.UniversalClient,
	log zerolog.Logger,
	opts ...admission.Option,
) *admission.Breaker {
	profile := admission.Profile{
		Name:    BreakerName,
		Timeout: cfg.Timeouts().WithDefaults().Call,
		Identity: admission.Identity{
			Grant: "events",
			URL:   cfg.URL.Reveal(),
		},
		Refusal: "the receiver has accepted nothing lately",
	}
	// What becomes of an event is not the subject of another one: the log has it.
	logChange := func(c admission.Change) {
		if c.Kind == admission.Parked {
			log.Warn().Msg("the receiver accepts no events; they wait for it")
			return
		}
		log.Info().Msg("the receiver accepts events again")
	}
	opts = append(opts, admission.WithCoolDowns(coolDowns...), admission.WithOnChange(logChange))
	return admission.NewBreaker(rdb, profile, opts...)
}

// acquire waits for the permission to send an event; done reports how the try went. An
// event that was never tried does not wait: the receiver may dislike some events only,
// and those must not keep the others back.
func (s *Sender) acquire(ctx context.Context, retried bool) (done func(admission.Verdict), err error) {
	if s.breaker == nil {
		return func(admission.Verdict) {}, nil
	}
	permit, err := s.breaker.Acquire(ctx)
	switch {
	case err == nil:
		return func(v admission.Verdict) { permit.Done(ctx, admission.Result{Verdict: v}) }, nil
	case retried || ctx.Err() != nil:
		return nil, clients.BlockedError(Vendor, opDeliver, err)
	}
	return func(v admission.Verdict) {
		if v == admission.Accepted {
			_ = s.breaker.ClearCoolDown(ctx) // if Redis does not answer, the next event clears it
		}
	}, nil
}

// verdictOf is what a status says about the receiver as a whole.
func verdictOf(status int) admission.Verdict {
	switch status {
	case http.StatusUnauthorized,
		http.StatusForbidden,
		http.StatusNotFound,
		http.StatusMethodNotAllowed,
		http.StatusTooManyRequests:
		return admission.Refused
	}
	if status >= 200 && status <= 299 || status >= 400 && status <= 499 { // others of these are about the one event
		return admission.Accepted
	}
	return admission.Refused
}
