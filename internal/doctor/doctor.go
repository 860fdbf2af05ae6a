package doctor

import (
	"context"
	"crypto/x509"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/config"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/redisguard"
)

// doctorLimit bounds everything the doctor does.
const doctorLimit = 20 * time.Second

// Run looks at everything a worker with these settings depends on, and says
// what to do about what is wrong. Wrong settings do not stop it: it checks what
// can still be checked. It changes nothing but what a worker would change too:
// it may log in where the fleet has no token. It ends within 20 seconds.
func Run(ctx context.Context, environ map[string]string) Diagnosis {
	redisconn.LogTo(zerolog.Nop()) // what there is to say is in the checks
	d := &doctor{
		environ: environ,
		now:     time.Now,
		lookup:  net.DefaultResolver.LookupHost,
		dial:    (&net.Dialer{}).DialContext,
	}
	return d.examine(ctx)
}

// doctor is one run.
type doctor struct {
	environ map[string]string
	now     func() time.Time
	lookup  func(ctx context.Context, host string) ([]string, error)
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	roots   *x509.CertPool // nil: the system's

	config *config.Valid
	faults []string // of the settings, one line each
	redis  redis.UniversalClient
	asked  chan struct{} // closed when it is known whether Redis answers
	answer bool
}

func (d *doctor) examine(ctx context.Context) Diagnosis {
	ctx, cancel := context.WithTimeout(ctx, doctorLimit)
	defer cancel()
	var err error
	if d.config, err = config.Read(d.environ); err != nil {
		d.faults = strings.Split(err.Error(), "\n")
	}
	d.asked = make(chan struct{})
	if d.config.Target != nil {
		d.redis = d.config.Target.Open(redisconn.General)
		defer func() { _ = d.redis.Close() }()
	}

	accounts := d.config.Accounts
	sections := make([][]Check, 3+len(accounts))
	var all sync.WaitGroup
	all.Go(func() {
		sections[0] = d.redisChecks(ctx)
	})
	all.Go(func() {
		sections[1] = d.queueChecks(ctx, accounts)
	})
	for i, s := range accounts {
		all.Go(func() {
			sections[2+i] = d.vendorChecks(ctx, s)
		})
	}
	all.Go(func() {
		sections[2+len(accounts)] = d.eventChecks(ctx)
	})
	all.Wait()

	var r Diagnosis
	r.Checks = append(r.Checks, d.settingsChecks()...)
	r.Checks = append(r.Checks, d.encryptionCheck())
	r.Checks = append(r.Checks, d.adviceChecks()...)
	for _, s := range sections {
		r.Checks = append(r.Checks, s...)
	}
	return r
}

// faulty reports whether a variable with that prefix is wrong.
func (d *doctor) faulty(prefix string) bool {
	for _, line := range d.faults {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

func (d *doctor) settingsChecks() []Check {
	if len(d.faults) == 0 {
		return []Check{{
			Level: redisguard.OK,
			Name:  "settings",
			Seen:  "complete and valid",
		}}
	}
	var checks []Check
	for _, line := range d.faults {
		c := Check{
			Level: redisguard.Fail,
			Name:  "settings",
			Seen:  line,
			Fix:   ".env.example describes each variable",
		}
		if variable, rule, found := strings.Cut(line, ": "); found &&
			variable == strings.ToUpper(variable) {
			c.Seen = variable + " " + rule
			c.Fix = "correct " + variable + "; .env.example describes each variable"
		}
		checks = append(checks, c)
	}
	return checks
}

func (d *doctor) encryptionCheck() Check {
	c := Check{Level: redisguard.OK, Name: "encryption keys"}
	switch ids := d.config.Ring.KeyIDs(); {
	case d.faulty("ENCRYPTION_KEYS"):
		c.Level = redisguard.Warn
		c.Seen = "not checked: ENCRYPTION_KEYS is wrong"
		c.Fix = "correct the settings above"
	case len(ids) == 0:
		c.Level = redisguard.Warn
		c.Seen = "none: payloads, results and tokens stand in Redis as they are"
		c.Fix = "set ENCRYPTION_KEYS=k1:$(openssl rand -base64 32), the same on every worker and producer"
	case len(ids) == 1:
		c.Seen = ids[0] + " seals"
	default:
		c.Seen = ids[0] + " seals; " + strings.Join(
			ids[1:],
			", ",
		) + " only for what was sealed before"
	}
	return c
}

// redisLimit leaves the rest of the doctor's time to what needs Redis.
const redisLimit = 6 * time.Second

func (d *doctor) redisChecks(ctx context.Context) []Check {
	defer close(d.asked)
	if d.redis == nil {
		return []Check{{
			Level: redisguard.Warn,
			Name:  "redis",
			Seen:  "not checked: REDIS_URL is wrong",
			Fix:   "correct the settings above",
		}}
	}
	ctx, cancel := context.WithTimeout(ctx, redisLimit)
	defer cancel()
	report := redisguard.Inspect(ctx, d.redis, d.now)
	d.answer = report.Answered()
	var checks []Check
	for _, f := range report.Findings {
		c := Check{
			Level: f.Level,
			Name:  "redis " + f.Name,
			Seen:  f.Seen,
			Fix:   f.Fix,
		}
		if f.Name == redisguard.Reachable {
			c.Name = "redis"
			c.Seen = f.Seen + " (" + d.config.Target.Redacted() + ")"
		}
		checks = append(checks, c)
	}
	return checks
}

// redisAnswers waits for redisChecks.
func (d *doctor) redisAnswers() bool {
	<-d.asked
	return d.answer
}
