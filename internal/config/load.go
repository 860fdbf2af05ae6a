package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"errand.internal/clients"
	"errand.internal/internal/events"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/schedule"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/webserver"
	"errand.internal/tasks/all"
)

// graceSlack is how much longer than the longest call SHUTDOWN_GRACE must be, so
// that a deploy does not interrupt a call.
const graceSlack = 5 * time.Second

// Valid is a validated Config with what was parsed from it.
type Valid struct {
	Config
	Accounts Accounts
	// Target is where Redis is; nil if REDIS_URL is invalid.
	Target *redisconn.Target
	// Proxy carries the calls to vendors and receivers; nil for none.
	Proxy *clients.Proxy
	Ring  *seal.Ring
	// Schedules is nil without SCHEDULE_FILE.
	Schedules *schedule.File
}

// Load reads and validates all settings. Its *Error has every problem.
func Load(environ map[string]string) (*Valid, error) {
	v, err := Read(environ)
	if err != nil {
		return nil, &Error{err}
	}
	return v, nil
}

// Read is Load for callers that continue with the valid settings: beside an error
// that has every problem, it returns what could be read.
func Read(environ map[string]string) (*Valid, error) {
	v := &Valid{Config: Config{Queues: DefaultQueues()}}
	loaded := settings.Load(&v.Config, environ)
	if addr, set := environ["HTTP_ADDR"]; set && addr == "" {
		v.HTTPAddr = "" // unlike other variables, an empty one is not the default
	}
	v.Events.AllowInsecureHTTP = v.AllowInsecureHTTP

	var err error
	v.Accounts, err = LoadAccounts(environ)
	loaded = settings.Collect(loaded, err)
	v.Accounts.AllowInsecureHTTP(v.AllowInsecureHTTP)
	var faults []error
	v.Target, err = redisconn.Parse(v.RedisURL.Reveal())
	faults = append(faults, err)
	v.Proxy, err = clients.ParseProxy(v.OutboundProxy)
	faults = append(faults, err)
	v.Ring, err = Ring(v.EncryptionKeys, v.EncryptionRequired)
	faults = append(faults, err)
	v.Schedules, err = LoadSchedules(v.ScheduleFile)
	faults = append(
		faults,
		err,
		v.Accounts.Validate(),
		v.Events.Validate(),
		v.Monitoring.Validate(),
		v.API.Validate(),
		v.Tracing.Validate(),
		v.check(),
		v.checkVendors(loaded),
	)
	return v, settings.CollectAfter(loaded, faults...)
}

// checkVendors demands one vendor, or a receiver of events. An account whose
// credential cannot be read is not missing.
func (v *Valid) checkVendors(loaded error) error {
	if len(v.Accounts.Configured()) > 0 || v.Events.Configured() || settings.Refused(loaded, "EVENTS_URL") {
		return nil
	}
	for _, a := range v.Accounts {
		for _, variable := range a.CredentialVariables() {
			if settings.Refused(loaded, variable) {
				return nil
			}
		}
	}
	return fmt.Errorf(
		"no vendor has credentials: set those of one; there are %s",
		v.Accounts.credentialVariables(),
	)
}

func (v *Valid) check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf(format, args...))
	}
	if problem := webserver.AddrProblem(v.HTTPAddr); problem != "" {
		fault("HTTP_ADDR: %s", problem)
	}
	if v.LogFormat != "json" && v.LogFormat != "console" {
		fault("LOG_FORMAT: must be json or console")
	}
	faults = append(faults, v.checkGrace())
	return errors.Join(faults...)
}

func (v *Valid) checkGrace() error {
	var faults []error
	tooShort := func(needed time.Duration, than string) {
		faults = append(faults, fmt.Errorf(
			"SHUTDOWN_GRACE: is %s and must be at least %s, %s more than %s",
			v.ShutdownGrace,
			needed,
			graceSlack,
			than,
		))
	}
	timeouts := v.Accounts.CallTimeouts()
	for _, vendor := range v.Accounts.Vendors() {
		if needed := timeouts[vendor] + graceSlack; v.ShutdownGrace < needed {
			tooShort(needed, strings.ToUpper(vendor)+"_TIMEOUT")
		}
	}
	if needed := v.eventTimeout() + graceSlack; v.Events.Configured() && v.ShutdownGrace < needed {
		tooShort(needed, "the delivery of an event may take")
	}
	return errors.Join(faults...)
}

func (v *Valid) eventTimeout() time.Duration {
	return v.Events.Timeouts().WithDefaults().Call
}

// CallTimeouts returns the longest timeout of a call, by vendor, including the
// receiver of events.
func (v *Valid) CallTimeouts() map[string]time.Duration {
	timeouts := v.Accounts.CallTimeouts()
	timeouts[events.Vendor] = v.eventTimeout()
	return timeouts
}

// Ring parses ENCRYPTION_KEYS. With required (ENCRYPTION_REQUIRED) there must be keys,
// and the ring is strict. Beside an error it returns a ring without keys.
func Ring(keys secret.String, required bool) (*seal.Ring, error) {
	ring, err := seal.Parse(keys.Reveal())
	if !required {
		return ring, err
	}
	if err == nil && !ring.Enabled() {
		err = errors.New("ENCRYPTION_KEYS: must be set, because ENCRYPTION_REQUIRED is true")
	}
	return ring.Strict(), err
}

// LoadSchedules reads the schedule file. It returns nil if path is empty.
func LoadSchedules(path string) (*schedule.File, error) {
	if path == "" {
		return nil, nil
	}
	file, err := schedule.Load(path, all.Vendors)
	wrong, ok := errors.AsType[*schedule.FileError](err)
	if !ok {
		return file, err
	}
	faults := make([]error, len(wrong.Problems))
	for i, p := range wrong.Problems {
		faults[i] = fmt.Errorf("SCHEDULE_FILE: %w", p)
	}
	return nil, errors.Join(faults...)
}

// Error has every problem of the settings, one per line.
type Error struct{ err error }

// NewError returns an Error.
func NewError(err error) *Error {
	return &Error{err}
}

// Error implements error.
func (e *Error) Error() string {
	return e.err.Error()
}

// Unwrap returns the problems.
func (e *Error) Unwrap() error {
	return e.err
}
