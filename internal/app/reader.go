package app

import (
	"errand.internal/internal/config"
	"errand.internal/internal/record"
	"errand.internal/internal/redisconn"
	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// reader reads the records of tasks.
type reader struct {
	store *record.Store
	ring  *seal.Ring
	close func()
}

func openReader(environ map[string]string) (*reader, error) {
	var c struct {
		RedisURL       secret.String `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0"`
		EncryptionKeys secret.String `env:"ENCRYPTION_KEYS"`
	}
	loaded := settings.Load(&c, environ)
	target, errURL := redisconn.Parse(c.RedisURL.Reveal())
	ring, errKeys := seal.Parse(c.EncryptionKeys.Reveal())
	if err := settings.Collect(loaded, errURL, errKeys); err != nil {
		return nil, config.NewError(err)
	}
	rdb := target.Open(redisconn.General)
	return &reader{
		store: record.New(rdb),
		ring:  ring,
		close: func() { closeQuietly(rdb) },
	}, nil
}
