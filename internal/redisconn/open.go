package redisconn

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"errand.internal/internal/timeout"
)

// Role is what a client is for.
type Role int

// The roles.
const (
	// Servers is for the asynq servers of a worker and for its takes, which wait for
	// a task. A frozen Redis gets four tries of 5 s.
	Servers Role = iota
	// General is for everything else in a worker. The caller's context bounds
	// every call.
	General
	// Producer is for enqueueing. Every command or pipeline ends within 3 s, so
	// that an unreachable Redis is reported while the user still waits; see
	// Unreachable. Blocking reads would be ended by that limit; subscriptions are
	// not.
	Producer
)

// producerLimit is a little less than the 3 s that the command line promises.
const producerLimit = 2800 * time.Millisecond

// tuning holds what differs between roles.
type tuning struct {
	name    string // in CLIENT LIST
	dial    time.Duration
	io      time.Duration // one read or write
	retries int           // after the first try
	limit   time.Duration // of one command with all its retries; 0 for none
}

func (r Role) tuning() tuning {
	switch r {
	case Servers:
		return tuning{
			name:    "errand-worker",
			dial:    3 * time.Second,
			io:      5 * time.Second,
			retries: 3,
		}
	case Producer:
		return tuning{
			name:    "errand-producer",
			dial:    1200 * time.Millisecond,
			io:      2500 * time.Millisecond,
			retries: 1,
			limit:   producerLimit,
		}
	default:
		return tuning{
			name:    "errand-general",
			dial:    3 * time.Second,
			io:      3 * time.Second,
			retries: 2,
		}
	}
}

// poolSize is per client, and per node of a cluster. A larger pool was not
// faster with 128 goroutines. Connections are made only when needed.
const poolSize = 32

// clusterReloadInterval is how often the client of a cluster asks who has which slots.
// A master that has died tells nobody which replica has taken its place, and go-redis
// asks every minute only.
const clusterReloadInterval = 2 * time.Second

// Open makes a client for a role: a *redis.Client, or a *redis.ClusterClient for
// a cluster. It connects with the first command. The caller closes it.
func (t *Target) Open(role Role) redis.UniversalClient {
	client, _ := t.OpenTracked(role, nil)
	return client
}

// OpenTracked is Open for a worker. detector, if not nil, learns of each Redis
// instance that the client connects to.
//
// closeConns closes the client's connections and prevents new ones, so that
// commands that wait for an answer, and all later ones, fail at once. It does
// not close the client, because asynq's subscriber panics on a closed one.
func (t *Target) OpenTracked(
	role Role,
	detector *FailoverDetector,
) (client redis.UniversalClient, closeConns func()) {
	tune := role.tuning()
	opts := t.options(tune)
	if detector != nil {
		opts.OnConnect = detector.view(t.mode).onConnect
	}
	tracker := &connTracker{open: map[*trackedConn]struct{}{}}
	opts.Dialer = tracker.dialer(opts.Dialer)
	switch t.mode {
	case Cluster:
		// The cluster's client retries by itself, on another node if necessary.
		// Retries of its node clients would multiply that.
		opts.MaxRetries = -1
		cluster := opts.Cluster()
		cluster.ClusterStateReloadInterval = clusterReloadInterval
		client = redis.NewClusterClient(cluster)
	case Sentinel:
		client = redis.NewFailoverClient(opts.Failover())
		client.AddHook(&newestMaster{tracker: tracker})
	default:
		client = redis.NewClient(opts.Simple())
	}
	if tune.limit > 0 {
		client.AddHook(timeoutHook{timeout.NewLimit(tune.limit)})
	}
	return client, tracker.close
}

func (t *Target) options(tune tuning) *redis.UniversalOptions {
	opts := &redis.UniversalOptions{
		Addrs:            t.addrs,
		ClientName:       tune.name,
		DB:               t.db,
		Username:         t.user,
		Password:         t.password.Reveal(),
		MasterName:       t.master,
		SentinelUsername: t.sentinelUser,
		SentinelPassword: t.sentinelPassword.Reveal(),

		DialTimeout: tune.dial,
		// A retry of the command dials again. By default go-redis dials five times
		// within each try.
		DialerRetries:         1,
		ReadTimeout:           tune.io,
		WriteTimeout:          tune.io,
		MaxRetries:            tune.retries,
		MinRetryBackoff:       50 * time.Millisecond,
		MaxRetryBackoff:       time.Second,
		ContextTimeoutEnabled: true,

		PoolSize: poolSize,
		// Below the idle limit of the usual load balancers and firewalls.
		ConnMaxIdleTime: 3 * time.Minute,

		// Each costs a round trip per connection and has no use here.
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	dialer := &net.Dialer{Timeout: tune.dial}
	opts.Dialer = dialPlain(dialer)
	if t.tls {
		// Without a ServerName each node of a cluster is verified by its own name.
		opts.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.roots}
		if t.cert != (clientCert{}) {
			opts.TLSConfig.GetClientCertificate = t.cert.load
		}
		// The TLS dialer of go-redis ignores the context and goes on after the
		// caller has given up.
		opts.Dialer = dialTLS(dialer, opts.TLSConfig)
	}
	return opts
}

// shared passes on a client that it does not own.
type shared struct{ client redis.UniversalClient }

// MakeRedisClient implements asynq.RedisConnOpt.
func (s shared) MakeRedisClient() any {
	return s.client
}

// Shared makes a library that opens its own connections, as asynqmon does, use
// client instead. Never call such a library's Close: it would close the client.
func Shared(client redis.UniversalClient) asynq.RedisConnOpt {
	return shared{client}
}
