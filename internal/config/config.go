// Package config reads and validates a worker's settings, opens the accounts that
// they configure, and renders .env.example.
package config

import (
	"errors"
	"time"

	"github.com/rs/zerolog"

	"errand.internal/internal/events"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/monitor"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/tracing/export"
)

// Config has the settings of a worker, without those of vendors.
type Config struct {
	RedisURL           secret.String  `env:"REDIS_URL" envDefault:"redis://127.0.0.1:6379/0" doc:"Where Redis is: redis://, rediss:// (TLS), redis-sentinel://, redis-cluster:// or rediss-cluster:// (docs/network.md)."`
	HTTPAddr           string         `env:"HTTP_ADDR" envDefault:"127.0.0.1:8080" doc:"Admin HTTP: /healthz, /readyz, /metrics, /monitoring/; empty for none."`
	Monitoring         monitor.Config `envPrefix:"MONITORING_"`
	Queues             Queues         `env:"WORKER_QUEUES" doc:"The queues this process runs, with the concurrency of each."`
	QueueLimit         settings.Count `env:"QUEUE_LIMIT" doc:"Most tasks of a queue that may wait: enqueue and schedules store no more. Above 90 % of Redis' maxmemory they store none (docs/admission.md). Unset: no limit."`
	ShutdownGrace      time.Duration  `env:"SHUTDOWN_GRACE" envDefault:"25s" doc:"How long running tasks may take to end when the worker stops."`
	EncryptionKeys     secret.String  `env:"ENCRYPTION_KEYS" doc:"Id:base64(32 bytes)[,older...]: payloads, results and tokens are sealed in Redis."`
	EncryptionRequired bool           `env:"ENCRYPTION_REQUIRED" envDefault:"false" doc:"True refuses to start without ENCRYPTION_KEYS."`
	LogLevel           LogLevel       `env:"LOG_LEVEL" envDefault:"info" doc:"Debug, info, warn or error."`
	LogFormat          string         `env:"LOG_FORMAT" envDefault:"json" doc:"Json or console; logs go to stderr."`
	ScheduleFile       string         `env:"SCHEDULE_FILE" doc:"YAML file of what runs on a schedule (docs/schedules.md), read again when it changes. Unset: nothing does."`
	OutboundProxy      secret.String  `env:"OUTBOUND_PROXY" doc:"Proxy of https calls to vendors and event receivers, http://[user:password@]host:port (docs/network.md). Loopback and plain http never use it; HTTPS_PROXY and its like are not read. Unset: none."`
	AllowInsecureHTTP  bool           `env:"ALLOW_INSECURE_HTTP" envDefault:"false" doc:"Permits plain http:// vendor and event URLs on hosts other than loopback."`
	Events             events.Config  `envPrefix:"EVENTS_"`
	API                httpapi.Config `envPrefix:"API_"`
	Tracing            export.Config  `envPrefix:"OTEL_"`
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
