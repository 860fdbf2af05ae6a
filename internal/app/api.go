package app

import (
	"context"
	"crypto/tls"
	"time"

	"errand.internal/internal/httpapi"
	"errand.internal/internal/record"
	"errand.internal/internal/webserver"
	"errand.internal/tasks"
)

// serveAPI serves the HTTP interface of producers until ctx ends or stop is called, which
// returns once it has ended. It does nothing if API_ADDR is empty.
func (p *process) serveAPI(ctx context.Context) (addr string, stop func(), err error) {
	cfg := p.config.API
	if !cfg.Enabled() {
		return "", func() {}, nil
	}
	client, err := tasks.Open(
		p.config.RedisURL.Reveal(),
		tasks.EncryptionKeys(p.config.EncryptionKeys.Reveal()),
		tasks.QueueLimit(int(p.config.QueueLimit)),
	)
	if err != nil {
		return "", nil, err
	}
	p.onClose(func() { closeQuietly(client) })
	ctx, cancel := context.WithCancel(ctx)
	p.onClose(cancel)
	p.api, err = httpapi.New(cfg, httpapi.Parts{
		Client:   client,
		Registry: p.registry,
		Log:      p.log,
		Tracer:   p.tracer,
		Used:     p.noteKey,
		Stopping: ctx,
	})
	if err != nil {
		return "", nil, err
	}
	listener, err := webserver.Listen(ctx, "API_ADDR", cfg.Addr)
	if err != nil {
		return "", nil, err
	}
	addr = listener.Addr().String()
	if secure := cfg.TLS(); secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server := webserver.Server{
			Name:         "HTTP interface",
			Handler:      p.api,
			ReadTimeout:  httpapi.ReadTimeout,
			WriteTimeout: httpapi.WriteTimeout,
		}
		if err := server.Serve(ctx, listener, p.log); err != nil {
			p.log.Error().Err(err).Msg("HTTP interface failed; the worker goes on without it")
		}
	}()
	return addr, func() {
		cancel()
		<-done
	}, nil
}

// auditTimeout bounds a line of the audit.
const auditTimeout = 5 * time.Second

// noteKey has the audit say that an API key is used, once a day for the whole fleet.
func (p *process) noteKey(key string) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), auditTimeout)
		defer cancel()
		err := record.New(p.redis).ActOnceADay(ctx, record.Action{
			Who:    httpapi.KeyUser(key),
			Verb:   "use",
			Target: "HTTP interface",
		})
		if err != nil {
			p.log.Warn().Err(err).Str("key", key).Msg("the audit does not have the use of an API key")
		}
	}()
}
