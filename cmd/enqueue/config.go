package main

import (
	"errors"

	"errand.internal/internal/config"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

// producerConfig holds the settings of a producer, which needs no vendor
// credentials.
type producerConfig struct {
	// RedisURL is the workers' Redis. Unset: the one on this machine.
	RedisURL secret.String `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0"`
	// EncryptionKeys are the workers' keys. Unset: payloads are not sealed, and
	// sealed results cannot be read.
	EncryptionKeys secret.String `env:"ENCRYPTION_KEYS"`
	// EncryptionRequired refuses to enqueue a payload that would not be sealed.
	// Unset: unsealed payloads are enqueued.
	EncryptionRequired bool `env:"ENCRYPTION_REQUIRED" envDefault:"false"`
	// QueueLimit is how many tasks of a queue may wait. Unset: any number.
	QueueLimit settings.Count `env:"QUEUE_LIMIT"`
}

// joinUsageErrors joins everything wrong with the flags or settings into one error.
func joinUsageErrors(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

// openClient opens the client. A writer stores payloads, which
// ENCRYPTION_REQUIRED forbids without keys.
func (inv *invocation) openClient(writer bool) (*tasks.Client, error) {
	var cfg producerConfig
	loaded := settings.Load(&cfg, inv.environ)
	_, urlErr := redisconn.Parse(cfg.RedisURL.Reveal())
	_, keysErr := config.Ring(cfg.EncryptionKeys, writer && cfg.EncryptionRequired)
	if err := joinUsageErrors(settings.CollectAfter(loaded, urlErr, keysErr)); err != nil {
		return nil, err
	}
	client, err := tasks.Open(
		cfg.RedisURL.Reveal(),
		tasks.EncryptionKeys(cfg.EncryptionKeys.Reveal()),
		tasks.QueueLimit(int(cfg.QueueLimit)),
	)
	if err != nil {
		return nil, joinUsageErrors(err)
	}
	return client, nil
}

// dryRunAccounts loads the vendors' settings for a dry run. No credential is
// needed, and none is used.
func (inv *invocation) dryRunAccounts() (config.Accounts, error) {
	accounts, err := config.LoadAccounts(inv.environ)
	accounts.AllowInsecureHTTP(true)
	for _, a := range accounts {
		a.UsePlaceholders()
	}
	return accounts, joinUsageErrors(err)
}
