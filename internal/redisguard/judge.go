package redisguard

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// The oldest Redis with all commands in use: BLMOVE of the prefetch, and ZRANGE
// … BYSCORE of asynq.
const needMajor, needMinor = 6, 2

const notInInfo = "unknown: INFO does not report it"

// judge turns the facts into findings. cluster tells whether the URL names a
// cluster.
func (f facts) judge(cluster bool) []Finding {
	return []Finding{f.version(), f.role(cluster), f.eviction(), f.persistence()}
}

func (f facts) version() Finding {
	text := f.info["redis_version"]
	seen := text
	// Valkey and others report the Redis version that they are compatible with.
	if name := f.info["server_name"]; name != "" && name != "redis" {
		seen = fmt.Sprintf("%s, compatible with Redis %s", name, text)
	}
	major, rest, _ := strings.Cut(text, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	switch {
	case errA != nil || errB != nil:
		return Finding{
			Warn,
			Version,
			notInInfo,
			fmt.Sprintf("make sure that it is Redis %d.%d or newer", needMajor, needMinor),
		}
	case a < needMajor || a == needMajor && b < needMinor:
		return Finding{
			Fail,
			Version,
			seen,
			fmt.Sprintf("install Redis %d.%d or newer: an older one lacks commands that workers use", needMajor, needMinor),
		}
	}
	return Finding{OK, Version, seen, ""}
}

func (f facts) role(cluster bool) Finding {
	switch role := f.info["role"]; {
	case role == "":
		return Finding{
			Warn,
			Role,
			notInInfo,
			"make sure that REDIS_URL names the master",
		}
	case role != "master":
		fix := "name the master in REDIS_URL, or use redis-sentinel://"
		if host := f.info["master_host"]; host != "" {
			master := net.JoinHostPort(host, f.info["master_port"])
			fix = "name its master in REDIS_URL: " + master + "; or use redis-sentinel://"
		}
		return Finding{Fail, Role, "a replica, which accepts no writes", fix}
	case !cluster && f.info["cluster_enabled"] == "1":
		return Finding{
			Fail,
			Role,
			"one node of a cluster",
			"write redis-cluster:// (rediss-cluster:// for TLS) instead of redis:// in REDIS_URL",
		}
	}
	return Finding{OK, Role, "master", ""}
}

func (f facts) eviction() Finding {
	const fix = "redis-cli CONFIG SET maxmemory-policy noeviction, " +
		"and the same in redis.conf or the service's parameters"
	switch f.policy {
	case "noeviction":
		return Finding{OK, Eviction, "maxmemory-policy is noeviction", ""}
	case "":
		return Finding{
			Warn,
			Eviction,
			"unknown: neither CONFIG nor INFO reports the maxmemory-policy",
			"make sure that it is noeviction: with any other, tasks are lost when memory is full",
		}
	}
	return Finding{
		Fail,
		Eviction,
		"maxmemory-policy is " + f.policy + " and must be noeviction",
		fix,
	}
}

func (f facts) persistence() Finding {
	const (
		everysec = "redis-cli CONFIG SET appendfsync everysec (or always), and the same in redis.conf"
		aof      = "redis-cli CONFIG SET appendonly yes, and the same in redis.conf"
	)
	finding := func(level Level, seen, fix string) Finding {
		return Finding{level, Persistence, seen, fix}
	}
	switch enabled := f.info["aof_enabled"]; {
	case f.info["aof_last_write_status"] == "err":
		return finding(
			Fail,
			"the append-only file cannot be written, so Redis refuses to write",
			"free disk space on the Redis host and read its log",
		)
	case enabled == "1" && f.fsync == "no":
		return finding(
			Warn,
			"append-only file, appendfsync no: a crash of the machine loses about the last 30 s",
			everysec,
		)
	case enabled == "1" && f.fsync == "":
		return finding(OK, "append-only file", "")
	case enabled == "1":
		return finding(OK, "append-only file, appendfsync "+f.fsync, "")
	case f.info["rdb_last_bgsave_status"] == "err":
		return finding(
			Warn,
			"the last snapshot failed; Redis may refuse to write",
			"free disk space on the Redis host and read its log",
		)
	case enabled == "":
		return finding(
			Warn,
			notInInfo,
			"make sure that Redis keeps an append-only file: without one a restart loses every task",
		)
	case f.saves != "":
		return finding(
			Warn,
			"snapshots only (save "+f.saves+"): a crash loses all tasks since the last one",
			aof,
		)
	case !f.savesKnown:
		return finding(
			Warn,
			"no append-only file; whether there are snapshots is unknown",
			"switch on the append-only file (AOF) in the service's settings",
		)
	}
	return finding(Warn, "none: a restart of Redis loses every task", aof)
}
