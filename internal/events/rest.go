package events

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/clients"
	"errand.internal/internal/tokens"
)

// RestProfile names the sink where tasks are parked for it.
const RestProfile = "events"

// restSteps is how long a sink that takes nothing is left alone, the longer the
// more often in a row: an outage of a day costs one try in half a minute, and
// when it is over, that is how long nobody knows.
var restSteps = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 15 * time.Second, 30 * time.Second}

// restPark is how long an event waits if nobody wakes it.
const restPark = time.Minute

// Rest is the gate before a sink, which all workers share. While the sink takes
// nothing it is closed: events that were tried in vain wait together, but for
// one now and then, and go again when one was taken. An event that was never
// tried does not wait: the sink may dislike some events only, and those must not
// keep the others back.
type Rest struct{ gate *tokens.SharedGate }

// NewRest makes the Rest of a configured sink. Close it at the end.
func NewRest(cfg Config, rdb redis.UniversalClient, log zerolog.Logger, opts ...tokens.Option) *Rest {
	profile := tokens.Profile{
		Name: RestProfile, Timeout: cfg.Timeouts().WithDefaults().Call,
		Identity: tokens.Identity{Grant: "events", URL: cfg.URL.Reveal()},
	}
	// What becomes of an event is not the subject of another one: the log has it.
	said := func(e tokens.Change) {
		if e.Kind == tokens.Parked {
			log.Warn().Msg("the receiver takes no events; they wait for it")
			return
		}
		log.Info().Msg("the receiver takes events again")
	}
	return &Rest{tokens.NewGate(rdb, profile, append(opts, tokens.WithCoolDowns(restSteps...), tokens.WithOnChange(said))...)}
}

// Close ends what it does in the background.
func (r *Rest) Close() { r.gate.Close() }

// State tells how the sink stands: it rests while CoolingFor is not 0.
func (r *Rest) State(ctx context.Context) (tokens.State, error) { return r.gate.State(ctx) }

// enter waits for leave to send. again: the event was tried before. Whoever gets
// it reports how the try went.
func (r *Rest) enter(ctx context.Context, again bool) (report func(tokens.AuthResult), fault *clients.Error) {
	if r == nil { // there is none
		return func(tokens.AuthResult) {}, nil
	}
	pass, err := r.gate.Enter(ctx)
	switch {
	case err == nil:
		return func(v tokens.AuthResult) { pass.Report(ctx, v) }, nil
	case again || ctx.Err() != nil:
		return nil, resting(err)
	}
	return func(v tokens.AuthResult) {
		if v == tokens.Accepted {
			_ = r.gate.ClearCoolDown(ctx) // if Redis does not hear of it, the next one tells
		}
	}, nil
}

// sayOf is what an answer says about the sink as a whole.
func sayOf(status int) tokens.AuthResult {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusTooManyRequests:
		return tokens.Refused
	}
	if status >= 200 && status <= 299 || status >= 400 && status <= 499 { // others of these are about the one event
		return tokens.Accepted
	}
	return tokens.Refused
}

// resting is the error of an event that has to wait for the sink: it is parked,
// and costs no attempt.
func resting(err error) *clients.Error {
	e := &clients.Error{
		Vendor: Vendor, Op: opDeliver, Kind: clients.Credentials, NotSent: true, RetryAfter: restPark,
		Message: "the receiver has taken nothing lately",
	}
	if cooling, ok := errors.AsType[*tokens.CoolingError](err); ok {
		e.Err = &restError{err, cooling.RetryAfter}
	}
	if away, ok := errors.AsType[*tokens.UnavailableError](err); ok {
		e.Err = &restError{err, away.RetryAfter}
	}
	return e
}

// restError is the gate's error in words about a receiver.
type restError struct {
	cause error
	wait  time.Duration
}

// Error implements error.
func (e *restError) Error() string {
	return "it is left alone for " + e.wait.Round(time.Second).String()
}

// Unwrap gives the cause, which names what the task is parked for.
func (e *restError) Unwrap() error { return e.cause }
