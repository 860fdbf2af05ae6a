// Package doctor checks everything that a worker with given settings depends on:
// the settings themselves, Redis, the queues and their workers, the schedules, each account
// at a vendor, the receiver of events, and the HTTP interface. Each check says what to do if
// something is wrong.
package doctor

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/config"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redisguard"
)

// maxDuration bounds a run.
const maxDuration = 20 * time.Second

// Run checks everything that a worker with these settings depends on. Wrong
// settings do not stop it: it checks what can still be checked. It changes nothing
// that a worker would not change too: it may log in where the fleet has no token.
// It ends within 20 seconds.
func Run(ctx context.Context, environ map[string]string) Diagnosis {
	redisconn.LogTo(zerolog.Nop()) // the checks say what went wrong
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	d := newDoctor(ctx, environ)
	defer d.close()
	return Diagnosis{Checks: d.checks(ctx)}
}

// doctor is one run.
type doctor struct {
	prober
	config   *config.Valid
	faults   []string // of the settings, one line each
	accounts []*openedAccount
	redis    redis.UniversalClient // nil if REDIS_URL is wrong
	// redisReport inspects Redis, once.
	redisReport func() redisguard.Report
}

func newDoctor(ctx context.Context, environ map[string]string) *doctor {
	d := &doctor{prober: prober{
		now:    time.Now,
		lookup: net.DefaultResolver.LookupHost,
		dial:   (&net.Dialer{}).DialContext,
	}}
	var err error
	if d.config, err = config.Read(environ); err != nil {
		d.faults = strings.Split(err.Error(), "\n")
	}
	d.proxy = d.config.Proxy
	if d.config.Target != nil {
		d.redis = d.config.Target.Open(redisconn.General)
	}
	d.redisReport = sync.OnceValue(func() redisguard.Report {
		if d.redis == nil {
			return redisguard.Report{}
		}
		ctx, cancel := context.WithTimeout(ctx, redisTimeout)
		defer cancel()
		return redisguard.Inspect(ctx, d.redis, d.now)
	})
	for _, a := range d.config.Accounts {
		d.accounts = append(d.accounts, d.openAccount(a))
	}
	return d
}

func (d *doctor) close() {
	for _, a := range d.accounts {
		a.parts.Close()
	}
	if d.redis != nil {
		_ = d.redis.Close()
	}
}

// checks runs the checks that wait for other machines at once, and returns all of
// them in a fixed order.
func (d *doctor) checks(ctx context.Context) []Check {
	sections := []func() []Check{
		d.settingsChecks,
		d.redisChecks,
		func() []Check { return d.queueChecks(ctx) },
		func() []Check { return d.deadLetterChecks(ctx) },
		func() []Check { return d.scheduleChecks(ctx) },
	}
	for _, a := range d.accounts {
		sections = append(sections, func() []Check { return d.accountChecks(ctx, a) })
	}
	sections = append(
		sections,
		func() []Check { return d.eventChecks(ctx) },
		func() []Check { return d.apiChecks(ctx) },
	)

	found := make([][]Check, len(sections))
	var running sync.WaitGroup
	for i, section := range sections {
		running.Go(func() {
			found[i] = section()
		})
	}
	running.Wait()
	return slices.Concat(found...)
}
