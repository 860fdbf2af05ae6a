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

// drain is how long requests may take to end once the worker stops.
const drain = 5 * time.Second

// Listen binds HTTP_ADDR. The listener's Addr is the address in use, which
// differs for port 0.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var cfg net.ListenConfig
	l, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("HTTP_ADDR: %w", err)
	}
	return l, nil
}

// Serve serves the admin HTTP on a listener until ctx ends, then lets running
// requests end for 5 s and closes the listener. It returns nil after such an
// end.
func Serve(
	ctx context.Context,
	l net.Listener,
	h http.Handler,
	logger zerolog.Logger,
) error {
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
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		// Whoever is still reading is cut off: the worker ends now.
		logger.Warn().Err(err).Msg("admin http: requests cut off")
		_ = server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin http: %w", err)
	}
	return nil
}

// errorLog takes net/http's own lines, such as those about panics.
type errorLog struct{ logger zerolog.Logger }

func (l errorLog) Write(p []byte) (int, error) {
	l.logger.Warn().Msg("admin http: " + strings.TrimSpace(string(p)))
	return len(p), nil
}
