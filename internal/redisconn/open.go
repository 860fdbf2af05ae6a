package redisconn

import (
	"crypto/tls"
	"net"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Role is what a client is for.
type Role int

// The roles.
const (
	// Servers is the asynq servers' own client. asynq hangs its acknowledgement
	// scripts on the lease as their deadline; the client keeps to it, because
	// behind the lease the task may be another worker's. Inside it a frozen
	// Redis is given four tries of 5 s: with fewer, more finished tasks lose
	// their acknowledgement and run again.
	Servers Role = iota
	// General is for the ledger, tokens, limits and publishing. The caller's
	// context bounds every call.
	General
	// Producer is for enqueueing. Every command or pipeline ends within 3 s, so
	// that an unreachable Redis is reported while somebody still waits; see
	// Unreachable. It is no client for blocking reads, which would be cut;
	// subscriptions are not.
	Producer
)

// producerLimit leaves something of the 3 s that the command line promises.
const producerLimit = 2800 * time.Millisecond

// tuning is what differs between roles.
type tuning struct {
	name    string // in CLIENT LIST
	dial    time.Duration
	io      time.Duration // one read or write
	retries int           // after the first try
	limit   time.Duration // of one command with all its retries; 0 is none
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

// poolSize is per client, and per node of a cluster. More brought nothing when
// measured with 128 goroutines; connections are made only when needed.
const poolSize = 32

// Open makes a client for a role. It does not wait for Redis: the first command
// connects. The caller closes it. The client is a *redis.Client, or a
// *redis.ClusterClient for a cluster.
func (t *Target) Open(role Role) redis.UniversalClient {
	client, _ := t.OpenWatched(role, nil)
	return client
}

// OpenWatched is Open for a worker. seen, if not nil, is told of each instance of
// Redis that the client comes to talk to.
//
// cut ends all talk at once: it closes the client's connections and lets it make
// no more, so that what waits for an answer, and every later command, fails. The
// client itself is not closed by that: some libraries do not stand a closed one
// (asynq's subscriber panics).
func (t *Target) OpenWatched(
	role Role,
	seen *Instances,
) (client redis.UniversalClient, cut func()) {
	tune := role.tuning()
	opts := t.options(tune)
	if seen != nil {
		opts.OnConnect = seen.onConnect(t.mode)
	}
	all := &wires{open: map[*wire]struct{}{}}
	opts.Dialer = all.dialer(opts.Dialer)
	switch t.mode {
	case Cluster:
		// The cluster's client repeats at its own level, on another node if
		// need be. Repeating below it too would multiply.
		opts.MaxRetries = -1
		client = redis.NewClusterClient(opts.Cluster())
	case Sentinel:
		client = redis.NewFailoverClient(opts.Failover())
	default:
		client = redis.NewClient(opts.Simple())
	}
	if tune.limit > 0 {
		client.AddHook(limitHook{tune.limit})
	}
	return client, all.cut
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
		// The retries of the command repeat the dial; go-redis would otherwise
		// dial five times within each.
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

		// Neither is of use here, and each costs a round trip per connection.
		DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
	dialer := &net.Dialer{Timeout: tune.dial}
	opts.Dialer = dialer.DialContext
	if t.tls {
		// Without a ServerName each node of a cluster is checked by its own.
		opts.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: t.roots}
		// go-redis's own is not bound by the context: it goes on dialling when
		// nobody waits any more.
		opts.Dialer = (&tls.Dialer{NetDialer: dialer, Config: opts.TLSConfig}).DialContext
	}
	return opts
}

// shared gives away a client that somebody else closes.
type shared struct{ client redis.UniversalClient }

// MakeRedisClient implements asynq.RedisConnOpt.
func (s shared) MakeRedisClient() any {
	return s.client
}

// Shared lets a library that opens its own connections, as asynqmon does, use
// this client instead. Never call such a library's Close: it would close the
// client for everybody.
func Shared(client redis.UniversalClient) asynq.RedisConnOpt {
	return shared{client}
}
