package redisguard

import (
	"strings"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/netfault"
	"errand.internal/internal/redisconn"
)

// unreachable is the one finding about a Redis that could not be asked. It does
// not quote the error, whose text may be long and repeats itself for every
// sentinel or node.
func unreachable(err error) Finding {
	d := diagnose(err)
	return Finding{
		Level: Fail,
		Name:  Reachable,
		Seen:  d.seen,
		Fix:   d.fix,
	}
}

// diagnosis is why Redis could not be asked, and what to do about it.
type diagnosis struct{ seen, fix string }

// refusals are errors that Redis, or go-redis for it, replies.
var refusals = []struct {
	is func(error) bool
	diagnosis
}{
	{redis.IsAuthError, diagnosis{
		"the login is refused",
		"correct the user and the password in REDIS_URL (percent-encoded)",
	}},
	{redis.IsPermissionError, diagnosis{
		"the user lacks permissions",
		"give the user of REDIS_URL all commands: redis-cli ACL SETUSER name +@all ~* &*",
	}},
	{redisconn.NoDatabase, diagnosis{
		"it has no database with that number",
		"name one in REDIS_URL that it has: redis-cli CONFIG GET databases",
	}},
	{redis.IsLoadingError, diagnosis{
		"it is still loading its data",
		"wait until it has finished",
	}},
	{redis.IsMaxClientsError, diagnosis{
		"it has too many clients",
		"raise maxclients in redis.conf, or run fewer processes",
	}},
	{redis.IsClusterDownError, diagnosis{
		"the cluster is down",
		"start its missing nodes: redis-cli CLUSTER INFO, CLUSTER NODES",
	}},
	{contains("cluster support disabled"), diagnosis{
		"it is not a cluster",
		"write redis:// (rediss:// for TLS) instead of redis-cluster:// in REDIS_URL",
	}},
	{contains("all sentinels"), diagnosis{
		"no sentinel that knows the master answers",
		"start the sentinels, or correct hosts, master and passwords in REDIS_URL",
	}},
}

// faults are what can go wrong on the way to Redis. Any other fault is shown as
// netfault.Other.
var faults = map[netfault.Fault]diagnosis{
	netfault.Untrusted: {
		"its certificate is not trusted",
		"name the host in REDIS_URL as its certificate does, and the file of its authority in SSL_CERT_FILE",
	},
	netfault.NotTLS: {
		"it does not speak TLS",
		"write redis:// instead of rediss:// in REDIS_URL",
	},
	netfault.WantsTLS: {
		"it speaks TLS",
		"write rediss:// instead of redis:// in REDIS_URL",
	},
	netfault.NoHandshake: {
		"it does not answer the TLS handshake",
		"write redis:// instead of rediss:// in REDIS_URL if it has no TLS; otherwise check that it runs",
	},
	netfault.NoHost: {
		"its host name does not resolve",
		"correct the host in REDIS_URL",
	},
	netfault.Refused: {
		"connection refused",
		"start Redis, or correct host and port in REDIS_URL",
	},
	netfault.Timeout: {
		"no answer in time",
		"check that Redis runs, that no firewall blocks it, and that rediss:// is used only for a Redis with TLS",
	},
	netfault.Other: {
		"no answer",
		"check that Redis runs and that this machine may connect to it",
	},
}

func diagnose(err error) diagnosis {
	if err != nil {
		for _, r := range refusals {
			if r.is(err) {
				return r.diagnosis
			}
		}
		if d, known := refusedWrites[redisconn.Code(err)]; known {
			return d
		}
	}
	if d, known := faults[netfault.Of(err)]; known {
		return d
	}
	return faults[netfault.Other]
}

// Explain says why Redis could not be asked and what to do about it, "" if the error
// itself says all that is known.
func Explain(err error) string {
	d := diagnose(err)
	if d == faults[netfault.Other] {
		return ""
	}
	return d.seen + "; " + d.fix
}

func contains(text string) func(error) bool {
	return func(err error) bool {
		return strings.Contains(err.Error(), text)
	}
}
