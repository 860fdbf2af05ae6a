// Package app builds a worker from its settings and runs it, and has the commands
// that operate one. It is the only place that knows all the parts.
package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/buildinfo"
	"errand.internal/internal/config"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
)

// Worker is one worker process.
type Worker struct {
	// Environ holds the settings.
	Environ map[string]string
	// Stderr takes the log.
	Stderr io.Writer
	// Ready, if set, is called once the worker takes tasks, with the address of the
	// admin HTTP ("" if there is none).
	Ready func(adminAddr string)
	// ReadyAPI, if set, is called before Ready with the address of the HTTP interface, if
	// there is one.
	ReadyAPI func(addr string)
	// Reload, if set, has the files of secrets read at once for everything that it sends.
	// They are read again when they change anyway.
	Reload <-chan os.Signal
	// Now, if set, is the machine's clock. Tests set a wrong one with it.
	Now func() time.Time
	// Release, if set, returns the task types that the worker knows, given those of this
	// release. Tests make workers of older releases with it.
	Release func([]worker.Definition) []worker.Definition
}

// leaveAfter is how long after SHUTDOWN_GRACE a worker that stops is gone, whatever
// still waits for Redis. docs/guarantees.md promises 2 s.
const leaveAfter = 1750 * time.Millisecond

// Run runs tasks until ctx ends, then drains: it takes no more tasks, lets the
// running ones end, and returns nil. A *config.Error says what is wrong with the
// settings.
//
// It returns within SHUTDOWN_GRACE and leaveAfter of the end of ctx. What still runs
// then, also if the worker is only starting, is left behind: the process is about to
// exit.
func (w Worker) Run(ctx context.Context) error {
	if w.Now == nil {
		w.Now = time.Now
	}
	files := settings.WatchSecrets(w.Environ, config.Variables())
	c, err := config.Load(w.Environ)
	if err != nil {
		return err
	}
	log := newLog(c.Config, w.Stderr, w.Environ["NO_COLOR"] == "")
	redisconn.LogTo(log)
	if !c.Ring.Enabled() {
		log.Warn().Msg("ENCRYPTION_KEYS is not set: payloads, results and tokens are stored in Redis unsealed")
	}
	ended := make(chan error, 1)
	go func() {
		ended <- w.work(ctx, c, files, log)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(c.ShutdownGrace + leaveAfter):
		log.Warn().Msg("worker stops although parts of it still wait, probably for Redis")
		return nil
	}
}

// work builds a worker and runs it.
func (w Worker) work(
	ctx context.Context,
	c *config.Valid,
	files *settings.SecretFiles,
	log zerolog.Logger,
) error {
	p, err := w.build(ctx, c, files, log)
	if err != nil {
		return err
	}
	defer p.close()
	if ctx.Err() != nil {
		log.Info().Msg("worker has stopped before it took tasks")
		return nil
	}
	return p.run(ctx, w)
}

// run takes tasks until ctx ends, then drains.
func (p *process) run(ctx context.Context, w Worker) error {
	p.schedules = newSchedules(p.config, p.registry, p.log)
	defer p.schedules.close()
	adminAddr, stopAdmin, err := p.serveAdmin(ctx)
	if err != nil {
		return err
	}
	defer stopAdmin() // it answers while the worker drains
	stopEvents := p.events.start(p.accounts.Credentials())
	defer stopEvents() // after the last task has ended
	stopExpiry := p.watchExpiry(ctx)
	defer stopExpiry()
	stopClock := p.watchClock(ctx)
	defer stopClock()
	apiAddr, stopAPI, err := p.serveAPI(ctx)
	if err != nil {
		return err
	}
	defer stopAPI()
	if err := p.server.Start(); err != nil {
		return err
	}
	stopRotation := p.startRotation(w.Reload)
	defer stopRotation()
	stopSchedules := p.schedules.start(ctx)
	defer stopSchedules()
	p.log.Info().
		Str("version", buildinfo.Version).
		Str("redis", p.config.Target.Redacted()).
		Interface("queues", p.queues).
		Strs("vendors", p.config.Accounts.Configured().Vendors()).
		Str("http", adminAddr).
		Str("api", apiAddr).
		Str("proxy", p.config.Proxy.String()).
		Msg("worker is ready")
	w.announce(adminAddr, apiAddr)

	<-ctx.Done()
	p.log.Info().
		Dur("grace_ms", p.config.ShutdownGrace).
		Msg("worker is stopping: it takes no more tasks and lets the running ones end")
	p.draining.Store(true)
	p.server.Shutdown() // meanwhile the schedules end with ctx
	stopSchedules()
	p.log.Info().Msg("worker has stopped")
	return nil
}

// announce calls what waits for the worker.
func (w Worker) announce(adminAddr, apiAddr string) {
	if w.ReadyAPI != nil && apiAddr != "" {
		w.ReadyAPI(apiAddr)
	}
	if w.Ready != nil {
		w.Ready(adminAddr)
	}
}

// watchExpiry warns of credentials that expire soon, until stop is called.
func (p *process) watchExpiry(ctx context.Context) (stop func()) {
	ctx, stop = context.WithCancel(context.WithoutCancel(ctx))
	for _, a := range p.accounts.Parts() {
		for _, c := range a.Expiring {
			go warnOfExpiry(ctx, c.Name, c.ExpiresOn, p.now, p.alert)
		}
	}
	return stop
}

func newLog(c config.Config, stderr io.Writer, colours bool) zerolog.Logger {
	if c.LogFormat == "console" {
		stderr = zerolog.ConsoleWriter{
			Out:        stderr,
			NoColor:    !colours || !isTerminal(stderr),
			TimeFormat: time.TimeOnly,
		}
	}
	return zerolog.New(stderr).Level(c.LogLevel.Level).With().Timestamp().Logger()
}

// isTerminal reports whether w is a terminal that may be given colours. A file, a pipe
// or a container's log keeps them as unreadable characters.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// owner names this process in claims. The name is readable, and no other process
// ever has it.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:8]))
}

func closeQuietly(c io.Closer) {
	_ = c.Close()
}
