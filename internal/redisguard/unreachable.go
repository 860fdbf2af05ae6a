package redisguard

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// unreachable is the one finding about a Redis that could not be asked. Its
// words are our own: the error's text may be long and repeats itself for every
// sentinel or node.
func unreachable(err error) Finding {
	seen, fix := whyUnreachable(err)
	return Finding{Fail, Reachable, seen, fix}
}

func whyUnreachable(err error) (seen, fix string) {
	netErr, isNet := errors.AsType[net.Error](err)
	_, notDNS := errors.AsType[*net.DNSError](err)
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, noTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case redis.IsAuthError(err):
		return "the login is refused", "correct the user and the password in REDIS_URL (percent-encoded)"
	case redis.IsPermissionError(err):
		return "the login lacks rights", "give the user of REDIS_URL all commands: redis-cli ACL SETUSER name +@all ~* &*"
	case redis.IsLoadingError(err):
		return "it is still loading its data", "wait until it has"
	case redis.IsMaxClientsError(err):
		return "it has too many clients", "raise maxclients in redis.conf, or run fewer processes"
	case redis.IsClusterDownError(err):
		return "the cluster is down", "start its missing nodes: redis-cli CLUSTER INFO, CLUSTER NODES"
	case err != nil && strings.Contains(err.Error(), "cluster support disabled"):
		return "it is no cluster", "write redis:// (rediss:// for TLS) instead of redis-cluster:// in REDIS_URL"
	case err != nil && strings.Contains(err.Error(), "all sentinels"):
		return "no sentinel can be asked that knows the master", "start the sentinels, or correct hosts, master and passwords in REDIS_URL"
	case untrusted:
		return "its certificate is not trusted", "name the host as its certificate does, and its authority in SSL_CERT_FILE"
	case noTLS:
		return "it does not speak TLS", "write redis:// instead of rediss:// in REDIS_URL"
	case notDNS:
		return "its host name does not resolve", "correct the host in REDIS_URL"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused", "start Redis, or correct host and port in REDIS_URL"
	case errors.Is(err, context.DeadlineExceeded), isNet && netErr.Timeout():
		return "no answer in time", "check that Redis runs, that no firewall is between, and that rediss:// is for a Redis with TLS only"
	}
	return "no answer", "check that Redis runs and that this machine may connect to it"
}
