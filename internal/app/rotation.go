package app

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"errand.internal/internal/config"
	"errand.internal/internal/settings"
)

const (
	// filesInterval is how often the files of secrets are read. A change is taken over when
	// two looks find the same, so within about two seconds.
	filesInterval = time.Second
	// announceEvery is how many looks apart the worker says which credentials it uses.
	announceEvery = 15
	// announceTimeout bounds it.
	announceTimeout = 5 * time.Second
)

// OnHangup returns what a process is told by SIGHUP, for Worker.Reload.
func OnHangup() <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return signals
}

// startRotation takes over secrets whose files change, until stop is called, which
// returns when it has ended.
func (p *process) startRotation(reload <-chan os.Signal) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.rotate(ctx, reload)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (p *process) rotate(ctx context.Context, reload <-chan os.Signal) {
	ticker := time.NewTicker(filesInterval)
	defer ticker.Stop()
	for looks := 0; ; looks++ {
		if looks%announceEvery == 0 {
			p.announceCredentials(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-reload:
			p.log.Info().Msg("the files of secrets are read again, as the signal asks")
			p.takeOver(p.files.Changed(true))
			looks = -1 // and say so at once
		case <-ticker.C:
			p.takeOver(p.files.Changed(false))
		}
		p.accounts.Settle(ctx, p.log)
	}
}

// announceCredentials tells the fleet which credentials this worker uses, for the doctor.
func (p *process) announceCredentials(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	if err := p.accounts.Announce(ctx, p.owner); err != nil && ctx.Err() == nil {
		p.log.Debug().Err(err).Msg("the credentials in use are not announced")
	}
}

// taker takes over one secret that is not an account's. Without take, it is read at the start
// only.
type taker struct {
	variable string
	take     func(*config.Config) error
}

func (p *process) takers() []taker {
	list := []taker{
		{variable: "REDIS_URL"},
		{variable: "ENCRYPTION_KEYS"},
		{variable: "OUTBOUND_PROXY"},
		{variable: "EVENTS_URL"},
		{
			variable: "MONITORING_PASSWORD",
			take: func(c *config.Config) error {
				err := c.Monitoring.Validate()
				if err == nil {
					p.password.Store(&c.Monitoring.Password)
				}
				return err
			},
		},
	}
	if p.api != nil {
		list = append(list, taker{
			variable: "API_KEYS",
			take:     func(c *config.Config) error { return p.api.SetKeys(c.API.Keys) },
		})
	}
	if p.sender != nil {
		list = append(list, taker{
			variable: "EVENTS_SECRET",
			take:     func(c *config.Config) error { return p.sender.SetSecrets(c.Events.Secret) },
		})
	}
	return list
}

// takeOver takes over the secrets whose files have changed. Whatever is wrong with them,
// the old ones stay in use.
func (p *process) takeOver(changes []settings.FileChange) {
	if len(changes) == 0 {
		return
	}
	var c config.Config
	loaded := settings.Load(&c, p.environ)
	faults := []error{p.accounts.Update(p.environ, p.config.AllowInsecureHTTP, p.log)}
	takers := p.takers()
	for _, change := range changes {
		i := slices.IndexFunc(takers, func(t taker) bool { return t.variable == change.Variable })
		switch {
		case change.Err != nil:
			faults = append(faults, change.Err)
		case i < 0: // an account's
		case settings.Refused(loaded, change.Variable):
			faults = append(faults, loaded)
		case takers[i].take == nil:
			p.log.Warn().
				Str("variable", change.Variable).
				Msg(change.Variable + " has changed and is read at the start only: restart the workers one after the other")
		default:
			err := takers[i].take(&c)
			faults = append(faults, err)
			if err == nil {
				p.log.Info().Str("variable", change.Variable).Msg(change.Variable + " has changed; the new secret is in use")
			}
		}
	}
	p.logFaults(settings.Collect(faults...))
}

func (p *process) logFaults(err error) {
	if err == nil {
		return
	}
	for fault := range strings.Lines(err.Error()) {
		p.log.Error().
			Str("problem", strings.TrimSpace(fault)).
			Msg("a changed secret is not taken over, and the old one stays in use: write the whole secret into another " +
				"file and rename that over the old one")
	}
}
