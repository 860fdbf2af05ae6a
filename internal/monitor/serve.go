package monitor

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

// shutdownTimeout bounds how long requests may run on once the worker stops.
const shutdownTimeout = 5 * time.Second

// Listen binds HTTP_ADDR. For port 0, the listener's Addr has the actual port.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("HTTP_ADDR: %w", err)
	}
	return l, nil
}

// AddrProblem returns the rule of HTTP_ADDR that addr breaks; "" if it breaks none.
// An empty addr means no admin HTTP.
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

// Serve serves the admin HTTP on a listener until ctx ends. It then closes the
// listener and gives running requests 5 s to finish. It returns nil after such a
// shutdown.
func Serve(ctx context.Context, l net.Listener, h http.Handler, logger zerolog.Logger) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(errorLog{logger}, "", 0),
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(l)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("admin http: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		logger.Warn().Err(err).Msg("admin http: requests still run after the timeout; closing their connections")
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin http: %w", err)
	}
	return nil
}

// errorLog writes net/http's own messages, such as those about panics, to the log.
type errorLog struct{ logger zerolog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	l.logger.Warn().Msg("admin http: " + strings.TrimSpace(string(p)))
	return len(p), nil
}
