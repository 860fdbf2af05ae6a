package main

import (
	"errors"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/vendors"
	"errand.internal/tasks"
)

// producerConfig are the settings of a producer; no vendor's credentials are among
// them.
type producerConfig struct {
	// RedisURL is the Redis of the workers. Unset: the one of this machine.
	RedisURL secret.String `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0"`
	// EncryptionKeys are the workers' own. Unset: payloads are not sealed, and
	// sealed results cannot be read.
	EncryptionKeys secret.String `env:"ENCRYPTION_KEYS"`
	// EncryptionRequired refuses to enqueue a payload that would not be sealed.
	EncryptionRequired bool `env:"ENCRYPTION_REQUIRED" envDefault:"false"`
}

// joinUsageErrors makes of everything that is wrong with the settings one error.
func joinUsageErrors(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

// openClient connects to Redis. A writer puts payloads there, which ENCRYPTION_REQUIRED
// may forbid.
func (inv *invocation) openClient(writer bool) (*tasks.Client, error) {
	var cfg producerConfig
	if err := settings.Load(&cfg, inv.environ); err != nil {
		return nil, joinUsageErrors(err)
	}
	_, urlErr := redisconn.Parse(cfg.RedisURL.Reveal())
	_, keysErr := seal.Parse(cfg.EncryptionKeys.Reveal())
	var requiredErr error
	if writer && cfg.EncryptionRequired && cfg.EncryptionKeys.Empty() {
		requiredErr = errors.New(
			"ENCRYPTION_KEYS: must be set, because ENCRYPTION_REQUIRED is true",
		)
	}
	if err := joinUsageErrors(urlErr, keysErr, requiredErr); err != nil {
		return nil, err
	}
	client, err := tasks.Open(
		cfg.RedisURL.Reveal(),
		tasks.EncryptionKeys(cfg.EncryptionKeys.Reveal()),
	)
	if err != nil {
		return nil, joinUsageErrors(err)
	}
	return client, nil
}

// dryRunConfig are the settings of a dry run.
func (inv *invocation) dryRunConfig() (vendors.Config, error) {
	var cfg vendors.Config
	return cfg, joinUsageErrors(settings.Load(&cfg, inv.environ))
}
