package config

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"errand.internal/internal/events"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/schedule"
	"errand.internal/internal/seal"
	"errand.internal/internal/settings"
	"errand.internal/tasks/all"
)

// graceSlack is by how much SHUTDOWN_GRACE must exceed the longest call, so that
// a deploy cuts no call off.
const graceSlack = 5 * time.Second

// Valid is a Config that has been checked, with what was parsed on the way.
type Valid struct {
	Config
	Accounts Accounts
	// Target is where Redis is; nil if REDIS_URL is wrong.
	Target *redisconn.Target
	Ring   *seal.Ring
	// Schedules is nil without SCHEDULE_FILE.
	Schedules *schedule.File
}

// Load reads and checks all settings. Its *Error has everything that is wrong.
func Load(environ map[string]string) (*Valid, error) {
	v, err := Read(environ)
	if err != nil {
		return nil, &Error{err}
	}
	return v, nil
}

// Read is Load for those who go on with what could be read: beside everything
// that is wrong it returns the rest.
func Read(environ map[string]string) (*Valid, error) {
	v := &Valid{Config: Config{Queues: DefaultQueues()}}
	faults := []error{settings.Load(&v.Config, environ)}
	if addr, set := environ["HTTP_ADDR"]; set && addr == "" {
		v.HTTPAddr = "" // the one variable whose empty value means something: none
	}
	v.Events.AllowInsecureHTTP = v.AllowInsecureHTTP

	var err error
	v.Accounts, err = LoadAccounts(environ)
	faults = append(faults, err)
	v.Accounts.AllowInsecureHTTP(v.AllowInsecureHTTP)
	v.Target, err = redisconn.Parse(v.RedisURL.Reveal())
	faults = append(faults, err)
	v.Ring, err = seal.Parse(v.EncryptionKeys.Reveal())
	faults = append(faults, err)
	if v.EncryptionRequired {
		v.Ring = v.Ring.Strict()
	}
	v.Schedules, err = LoadSchedules(v.ScheduleFile)
	faults = append(
		faults,
		err,
		v.Accounts.Validate(),
		v.Events.Validate(),
		v.Monitoring.Validate(),
		v.check(),
	)
	return v, settings.Collect(faults...)
}

func (v *Valid) check() error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf(format, args...))
	}
	if v.LogFormat != "json" && v.LogFormat != "console" {
		fault("LOG_FORMAT: must be json or console")
	}
	if v.EncryptionRequired && v.EncryptionKeys.Empty() {
		fault("ENCRYPTION_KEYS: must be set, because ENCRYPTION_REQUIRED is true")
	}
	faults = append(faults, v.checkGrace())
	if len(v.Accounts.Configured()) == 0 && !v.Events.Configured() {
		fault("no vendor has credentials: set those of one; there are %s", v.Accounts.ways())
	}
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
	for vendor, call := range v.Accounts.CallTimeouts() {
		if needed := call + graceSlack; v.ShutdownGrace < needed {
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

// CallTimeouts are the bounds of one call, by vendor, the receiver of events
// included.
func (v *Valid) CallTimeouts() map[string]time.Duration {
	bounds := maps.Clone(v.Accounts.CallTimeouts())
	bounds[events.Vendor] = v.eventTimeout()
	return bounds
}

// LoadSchedules reads the schedule file; nil if path is empty.
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

// Error is everything that is wrong with the settings, one line each.
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
