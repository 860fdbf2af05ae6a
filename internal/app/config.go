// Package app builds a worker from its settings: the only place that knows all
// the parts.
package app

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/events"
	"errand.internal/internal/monitor"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/schedule"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/vendors"
	"errand.internal/tasks"
)

// Config is every setting of a worker.
type Config struct {
	RedisURL           secret.String  `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0" doc:"Where Redis is: redis://, rediss:// (TLS), redis-sentinel://, redis-cluster:// or rediss-cluster://."`
	HTTPAddr           string         `env:"HTTP_ADDR" envDefault:"127.0.0.1:8080" doc:"Admin HTTP: /healthz, /readyz, /metrics, /monitoring/; empty for none."`
	Monitoring         monitor.Config `envPrefix:"MONITORING_"`
	Queues             Queues         `env:"WORKER_QUEUES" envDefault:"otp=20,danaconnect=5,anna=10,polls=10,dckap=10,dinero=5,events=10" doc:"The queues this process runs, with the concurrency of each."`
	ShutdownGrace      time.Duration  `env:"SHUTDOWN_GRACE" envDefault:"25s" doc:"How long running tasks may take to end when the worker stops."`
	EncryptionKeys     secret.String  `env:"ENCRYPTION_KEYS" doc:"Id:base64(32 bytes)[,older...]: payloads, results and tokens are sealed in Redis."`
	EncryptionRequired bool           `env:"ENCRYPTION_REQUIRED" envDefault:"false" doc:"True refuses to start without ENCRYPTION_KEYS."`
	LogLevel           LogLevel       `env:"LOG_LEVEL" envDefault:"info" doc:"Debug, info, warn or error."`
	LogFormat          string         `env:"LOG_FORMAT" envDefault:"json" doc:"Json or console; logs go to stderr."`
	ScheduleFile       string         `env:"SCHEDULE_FILE" doc:"YAML file of what runs on a schedule (docs/schedules.md), read again when it changes. Unset: nothing does."`
	AllowInsecureHTTP  bool           `env:"ALLOW_INSECURE_HTTP" envDefault:"false" doc:"Permits plain http:// vendor and event URLs on hosts other than loopback."`

	Events  events.Config `envPrefix:"EVENTS_"`
	Vendors vendors.Config
	// Recipients guards those who get passcodes.
	Recipients tasks.RecipientConfig `envPrefix:"OTP_RECIPIENT_"`
}

// Queues are queue names with the concurrency of each, "otp=20,anna=10".
type Queues map[string]int

// knownQueues are the queues that the task types name, in the catalogue's order.
var knownQueues = func() []string {
	var names []string
	for _, d := range tasks.Definitions(tasks.Vendors{}) {
		if name := d.Base.Queue; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}()

// UnmarshalText implements encoding.TextUnmarshaler.
func (q *Queues) UnmarshalText(text []byte) error {
	found := Queues{}
	for _, part := range strings.Split(string(text), ",") {
		name, count, _ := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(count)
		switch {
		case !slices.Contains(knownQueues, name):
			return fmt.Errorf(
				"names the queue %q; there are %s",
				name,
				strings.Join(knownQueues, ", "),
			)
		case err != nil || n < 1 || n > 10000:
			return fmt.Errorf(
				"must give queue %s a concurrency from 1 to 10000, as in %s=10",
				name,
				name,
			)
		case found[name] != 0:
			return fmt.Errorf("names the queue %s twice", name)
		}
		found[name] = n
	}
	*q = found
	return nil
}

// Names lists the queues in a fixed order.
func (q Queues) Names() []string {
	return slices.Sorted(maps.Keys(q))
}

// LogLevel is a zerolog level.
type LogLevel struct{ zerolog.Level }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *LogLevel) UnmarshalText(text []byte) error {
	switch string(text) {
	case "debug", "info", "warn", "error":
		level, err := zerolog.ParseLevel(string(text))
		l.Level = level
		return err
	}
	return errors.New("must be debug, info, warn or error")
}

const (
	// attemptSlack is what an attempt may take beyond one call: waiting for a
	// token that somebody else fetches.
	attemptSlack = 3 * time.Second
	// graceSlack is by how much SHUTDOWN_GRACE must exceed the longest call, so
	// that no call is cut off by a deploy.
	graceSlack = 5 * time.Second
)

// plan is a Config that has been checked, with what was parsed on the way.
type plan struct {
	Config
	target *redisconn.Target
	ring   *seal.Ring
	// schedules is nil without SCHEDULE_FILE.
	schedules *schedule.File
}

// load reads and checks all settings, and reports everything that is wrong at
// once.
func load(environ map[string]string) (*plan, error) {
	p, err := read(environ)
	if err != nil {
		return nil, &ConfigError{err}
	}
	return p, nil
}

// read is load for the doctor: beside what is wrong it gives what could be read
// all the same. The target is nil if REDIS_URL is wrong.
func read(environ map[string]string) (*plan, error) {
	p := &plan{}
	var faults []error
	if err := settings.Load(&p.Config, environ); err != nil {
		faults = append(faults, err)
	}
	if addr, set := environ["HTTP_ADDR"]; set && addr == "" {
		p.HTTPAddr = "" // the one variable whose empty value means something: none
	}
	p.Vendors = p.Vendors.AllowInsecureHTTP(p.AllowInsecureHTTP)
	p.Events.AllowInsecureHTTP = p.AllowInsecureHTTP
	target, err := redisconn.Parse(p.RedisURL.Reveal())
	p.target, faults = target, append(faults, err)
	ring, err := seal.Parse(p.EncryptionKeys.Reveal())
	p.ring, faults = ring, append(faults, err)
	if p.EncryptionRequired {
		p.ring = p.ring.Strict()
	}
	p.schedules, err = loadSchedules(p.ScheduleFile)
	faults = append(
		faults,
		err,
		p.Vendors.Validate(),
		p.Events.Validate(),
		p.Monitoring.Validate(),
		p.check(),
	)
	return p, settings.Collect(faults...)
}

func (p *plan) check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf(format, args...))
	}
	if p.LogFormat != "json" && p.LogFormat != "console" {
		fault("LOG_FORMAT: must be json or console")
	}
	if p.EncryptionRequired && p.EncryptionKeys.Empty() {
		fault("ENCRYPTION_KEYS: must be set, because ENCRYPTION_REQUIRED is true")
	}
	for vendor, timeout := range p.Vendors.Timeouts() {
		if p.ShutdownGrace < timeout+graceSlack {
			fault(
				"SHUTDOWN_GRACE: is %s and must be at least %s, %s more than %s_TIMEOUT",
				p.ShutdownGrace,
				timeout+graceSlack,
				graceSlack,
				strings.ToUpper(vendor),
			)
		}
	}
	if call := p.timeouts()[events.Vendor]; p.Events.Configured() &&
		p.ShutdownGrace < call+graceSlack {
		fault(
			"SHUTDOWN_GRACE: is %s and must be at least %s, %s more than the delivery of an event may take",
			p.ShutdownGrace,
			call+graceSlack,
			graceSlack,
		)
	}
	if len(p.Vendors.Configured()) == 0 && !p.Events.Configured() {
		var ways []string
		for _, s := range p.Vendors.Sites() {
			ways = append(ways, s.Name+" ("+strings.Join(s.Login, ", ")+")")
		}
		fault(
			"no vendor has credentials: set those of one; there are %s",
			strings.Join(ways, ", "),
		)
	}
	return errors.Join(faults...)
}

// timeouts are the bounds of one call, by vendor.
func (p *plan) timeouts() map[string]time.Duration {
	all := maps.Clone(p.Vendors.Timeouts())
	all[events.Vendor] = p.Events.Timeouts().WithDefaults().Call
	return all
}

// ConfigError is everything that is wrong with the settings, one line each.
type ConfigError struct{ err error }

// Error implements error.
func (e *ConfigError) Error() string {
	return e.err.Error()
}

// Unwrap gives the problems.
func (e *ConfigError) Unwrap() error {
	return e.err
}

// Example renders .env.example.
func Example() string {
	sections := []settings.Section{{Title: "Worker"}}
	for _, v := range settings.Describe(Config{}) {
		title := titleOf(v.Name)
		if last := &sections[len(sections)-1]; last.Title == title {
			last.Variables = append(last.Variables, v)
		} else {
			sections = append(sections, settings.Section{Title: title, Variables: []settings.Variable{v}})
		}
	}
	return settings.Example(sections)
}

// titleOf is the section of .env.example that a variable stands in.
func titleOf(variable string) string {
	if strings.HasPrefix(variable, "EVENTS_") {
		return "Events"
	}
	if strings.HasPrefix(variable, "OTP_RECIPIENT_") {
		return "Recipients of passcodes"
	}
	for _, s := range (vendors.Config{}).Sites() {
		if strings.HasPrefix(variable, s.Prefix()) {
			return s.Title
		}
	}
	return "Worker"
}
