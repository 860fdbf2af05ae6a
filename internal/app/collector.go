package app

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"errand.internal/internal/account"
	"errand.internal/internal/admission"
	"errand.internal/internal/broker"
	"errand.internal/internal/buildinfo"
	"errand.internal/internal/record"
	"errand.internal/internal/redisguard"
)

const (
	// scrapeTimeout bounds what one scrape asks Redis.
	scrapeTimeout = 3 * time.Second
	// scrapeAtOnce is how many credentials one scrape asks about at once.
	scrapeAtOnce = 8
)

// The states of a credential in errand_credential_state.
const (
	credentialUnknown = "unknown" // nobody has used it of late, or Redis does not answer
	credentialProven  = "proven"
	credentialRefused = "refused"
)

var credentialStates = []string{credentialUnknown, credentialProven, credentialRefused}

// collector reports on the worker itself, its credentials and its Redis when somebody
// asks.
type collector struct {
	process *process
	store   *record.Store

	build     *prometheus.Desc
	heartbeat *prometheus.Desc
	state     *prometheus.Desc
	expires   *prometheus.Desc
	refuses   *prometheus.Desc
	evicts    *prometheus.Desc
	paused    *prometheus.Desc
}

func newCollector(p *process) prometheus.Collector {
	c := &collector{
		process: p,
		store:   record.New(p.redis),
		build: prometheus.NewDesc("errand_build_info",
			"Always 1; the labels say which build this is.",
			[]string{"version", "commit", "goversion", "format"}, nil),
		heartbeat: prometheus.NewDesc("errand_worker_last_heartbeat_seconds",
			"How long ago this worker gave its latest heartbeat. After 8 s the others rule on what it runs.",
			nil, nil),
		state: prometheus.NewDesc("errand_credential_state",
			"1 for the state of a credential, pipe or organization in the fleet, else 0: unknown, proven or refused.",
			[]string{"profile", "state"}, nil),
		expires: prometheus.NewDesc("errand_credential_expires_timestamp_seconds",
			"Unix time at which the last day of a static credential is over, as the settings name it.",
			[]string{"profile"}, nil),
		refuses: prometheus.NewDesc("errand_redis_refuses_writes",
			"1 if Redis does not take what a task needs: a write, a script and a message.",
			nil, nil),
		evicts: prometheus.NewDesc("errand_redis_evicts",
			"1 if Redis would drop tasks when its memory is full, because maxmemory-policy is not noeviction.",
			nil, nil),
		paused: prometheus.NewDesc("errand_account_paused",
			"1 if an operator has paused the account, so that no call of it starts, else 0.",
			[]string{"account"}, nil),
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.build
	ch <- c.heartbeat
	ch <- c.state
	ch <- c.expires
	ch <- c.refuses
	ch <- c.evicts
	ch <- c.paused
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(c.build, 1, buildinfo.Version, buildinfo.Revision(), strings.TrimPrefix(runtime.Version(), "go"), broker.Format)
	gauge(c.heartbeat, c.process.server.HeartbeatAge().Seconds())
	gauge(c.refuses, truth(redisguard.Writes(ctx, c.process.redis).Err() != nil))
	gauge(c.evicts, truth(c.process.guard.Err() != nil))
	credentials := c.process.accounts.CredentialsAndBlockers()
	for i, current := range statesOf(ctx, credentials) {
		for _, state := range credentialStates {
			gauge(c.state, truth(state == current), credentials[i].Name, state)
		}
	}
	accounts := c.process.accounts.Names()
	if paused, err := c.store.PausedAccounts(ctx, accounts...); err == nil {
		for _, name := range accounts {
			_, now := paused[name]
			gauge(c.paused, truth(now), name)
		}
	}
	for _, a := range c.process.accounts.Parts() {
		for _, p := range a.Expiring {
			gauge(c.expires, float64(p.ExpiresOn.AddDate(0, 0, 1).Unix()), p.Name)
		}
	}
}

// statesOf returns the state of each credential.
func statesOf(ctx context.Context, credentials []account.Credential) []string {
	states := make([]string, len(credentials))
	slots := make(chan struct{}, scrapeAtOnce)
	var asked sync.WaitGroup
	for i, credential := range credentials {
		slots <- struct{}{}
		asked.Go(func() {
			defer func() { <-slots }()
			s, err := credential.State(ctx)
			states[i] = credentialStateOf(s, err)
		})
	}
	asked.Wait()
	return states
}

func credentialStateOf(s admission.State, err error) string {
	works := s.TokenFor > 0 || s.Proven
	switch {
	case err != nil:
		return credentialUnknown
	case s.Refused, s.Refusals > 0 && !works:
		return credentialRefused
	case works:
		return credentialProven
	}
	return credentialUnknown
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
