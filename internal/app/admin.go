package app

import (
	"context"
	"errors"

	"errand.internal/internal/monitor"
)

// serveAdmin serves the admin HTTP, if the settings have an address, until stop is
// called.
func (p *process) serveAdmin(ctx context.Context) (addr string, stop func(), err error) {
	if p.config.HTTPAddr == "" {
		return "", func() {}, nil
	}
	handler, err := monitor.New(p.config.Monitoring, monitor.Parts{
		Redis:   p.redis,
		Metrics: p.registry,
		Ready:   p.ready,
		Payload: maskPayload,
		Result:  maskResult,
	})
	if err != nil {
		return "", nil, err
	}
	l, err := monitor.Listen(ctx, p.config.HTTPAddr)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := monitor.Serve(ctx, l, handler, p.log); err != nil {
			p.log.Error().Err(err).Msg("admin HTTP ended; the queues go on")
		}
	}()
	return l.Addr().String(), func() { cancel(); <-done }, nil
}

// ready reports why the worker should get no traffic; nil if it should.
func (p *process) ready(ctx context.Context) error {
	if p.draining.Load() {
		return errors.New("the worker is stopping")
	}
	if err := p.redis.Ping(ctx).Err(); err != nil {
		return errors.New("no answer from Redis")
	}
	return p.guard.Err()
}
