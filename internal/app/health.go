package app

import (
	"context"
	"errors"

	"errand.internal/internal/config"
	"errand.internal/internal/monitor"
	"errand.internal/internal/settings"
	"errand.internal/internal/webserver"
)

// Health asks the worker that listens on this machine's HTTP_ADDR whether it is
// ready, as a container's health check does.
func Health(ctx context.Context, environ map[string]string) error {
	var c struct {
		HTTPAddr string `env:"HTTP_ADDR" envDefault:"127.0.0.1:8080"`
	}
	if err := settings.Load(&c, environ); err != nil {
		return config.NewError(err)
	}
	if addr, set := environ["HTTP_ADDR"]; set && addr == "" {
		return config.NewError(errors.New("HTTP_ADDR: is empty, so this worker has no admin HTTP to ask"))
	}
	if problem := webserver.AddrProblem(c.HTTPAddr); problem != "" {
		return config.NewError(errors.New("HTTP_ADDR: " + problem))
	}
	return monitor.CheckReady(ctx, c.HTTPAddr)
}
