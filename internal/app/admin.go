package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"errand.internal/internal/monitor"
	"errand.internal/internal/redisguard"
	"errand.internal/internal/secret"
	"errand.internal/internal/webserver"
)

// serveAdmin serves the admin HTTP until stop is called. It does nothing if
// HTTP_ADDR is empty.
func (p *process) serveAdmin(ctx context.Context) (addr string, stop func(), err error) {
	if p.config.HTTPAddr == "" {
		return "", func() {}, nil
	}
	handler, err := monitor.New(p.config.Monitoring, monitor.Parts{
		Redis:     p.redis,
		Registry:  p.registry,
		Metrics:   p.registry,
		Ready:     p.ready,
		Payload:   maskPayload,
		Result:    maskResult,
		Tasks:     p.server.Operator(),
		Schedules: p.schedules.list,
		Password: func() secret.String {
			return *p.password.Load()
		},
		Log: p.log,
	})
	if err != nil {
		return "", nil, err
	}
	listener, err := webserver.Listen(ctx, "HTTP_ADDR", p.config.HTTPAddr)
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		server := webserver.Server{
			Name:         "admin HTTP",
			Handler:      handler,
			ReadTimeout:  30 * time.Second,
			WriteTimeout: time.Minute,
		}
		if err := server.Serve(ctx, listener, p.log); err != nil {
			p.log.Error().Err(err).Msg("admin HTTP failed; the worker goes on without it")
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	return listener.Addr().String(), stop, nil
}

// ready returns why /readyz should fail; nil if the worker is ready.
func (p *process) ready(ctx context.Context) error {
	if p.draining.Load() {
		return errors.New("the worker is stopping")
	}
	if err := redisguard.Writes(ctx, p.redis).Err(); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	return p.guard.Err()
}
