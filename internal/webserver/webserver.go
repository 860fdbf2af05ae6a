// Package webserver runs the HTTP servers of a worker: the admin HTTP and the HTTP
// interface of producers.
package webserver

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

const (
	// shutdownTimeout bounds how long requests may run on once the worker stops.
	shutdownTimeout = 5 * time.Second
	idleTimeout     = 2 * time.Minute
	maxHeaderBytes  = 64 << 10
)

// Listen binds the address that a variable holds. For port 0, the listener's Addr has
// the actual port.
func Listen(ctx context.Context, variable, addr string) (net.Listener, error) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return l, nil
}

// AddrProblem returns the rule of an address to listen on that addr breaks; "" if it
// breaks none. An empty addr means no server.
func AddrProblem(addr string) string {
	if addr == "" {
		return ""
	}
	const rule = "must be host:port, such as 127.0.0.1:8080 or :8080"
	host, service, err := net.SplitHostPort(addr)
	if err != nil || strings.ContainsAny(host, " /@") {
		return rule
	}
	// The port's name is looked up on this machine, which takes no time.
	if _, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", service); err != nil || service == "" {
		return rule + "; the port is not one"
	}
	return ""
}

// Server is one HTTP server.
type Server struct {
	// Name names it in the log and in errors.
	Name    string
	Handler http.Handler
	// ReadTimeout and WriteTimeout bound one request and its answer.
	ReadTimeout  time.Duration
	WriteTimeout time.Duration
}

// Serve serves on a listener until ctx ends. It then closes the listener and gives
// running requests 5 s to finish. It returns nil after such a shutdown.
func (s Server) Serve(ctx context.Context, l net.Listener, logger zerolog.Logger) error {
	server := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: s.ReadTimeout, // a shorter one would be a second deadline to set for each request
		ReadTimeout:       s.ReadTimeout,
		WriteTimeout:      s.WriteTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(errorLog{s.Name, logger}, "", 0),
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(l)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("%s: %w", s.Name, err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		logger.Warn().Err(err).Msg(s.Name + ": requests still run after the timeout; closing their connections")
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	return nil
}

// errorLog writes net/http's own messages, such as those about panics, to the log.
type errorLog struct {
	name   string
	logger zerolog.Logger
}

func (l errorLog) Write(p []byte) (int, error) {
	l.logger.Warn().Msg(l.name + ": " + strings.TrimSpace(string(p)))
	return len(p), nil
}
