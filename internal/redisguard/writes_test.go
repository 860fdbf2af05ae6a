package redisguard

import (
	"strings"
	"testing"

	"errand.internal/internal/redistest"
)

// do runs a command, given as one line, on a server.
func do(t *testing.T, s *redistest.Server, line string) {
	t.Helper()
	var args []any
	for _, word := range strings.Fields(line) {
		args = append(args, word)
	}
	if err := s.Client().Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

// A Redis that answers may take no task. What mends it is named, and then it does.
func TestWrites(t *testing.T) {
	t.Parallel()
	const acl = "ACL SETUSER worker on >canary "
	lacks := func(what string) string {
		return "the user lacks permissions: " + what + " | redis-cli ACL SETUSER worker "
	}
	for _, tc := range []struct{ name, setup, want string }{
		{"full", "CONFIG SET maxmemory 1", "it is full (maxmemory) | raise maxmemory"},
		{"too few replicas", "CONFIG SET min-replicas-to-write 1", "fewer replicas | min-replicas-to-write 0"},
		{"a replica", "REPLICAOF 127.0.0.1 1", "a replica | name its master in REDIS_URL"},
		{"no keys", acl + "&* +@all", lacks("keys")},
		{"no keys of asynq", acl + "~errand:* &* +@all", lacks("keys")},
		{"no scripts", acl + "~* &* +@all -@scripting", lacks("commands")},
		{"no writes", acl + "~* &* +@all -@write", lacks("commands")},
		{"no channels", acl + "~* resetchannels +@all", lacks("channels")},
		{"no messages", acl + "~* &* +@all -publish", lacks("commands")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.New(t)
			do(t, s, tc.setup)
			url := s.URL()
			if strings.HasPrefix(tc.setup, acl) {
				url = "redis://worker:canary@" + s.Addr()
			}
			client := open(t, url)
			f := Writes(t.Context(), client)
			seen, fix, _ := strings.Cut(tc.want, " | ")
			if f.Level != Fail || !strings.Contains(f.Seen, seen) || !strings.Contains(f.Fix, fix) {
				t.Errorf("%+v, want %s", f, tc.want)
			}
			if f.Err() == nil || strings.Contains(f.Err().Error(), "canary") {
				t.Errorf("err = %v", f.Err())
			}
			if got, _ := Check(t.Context(), client).Find(Writable); got != f {
				t.Errorf("Check finds %+v", got)
			}
			if line, found := strings.CutPrefix(f.Fix, "redis-cli ACL SETUSER "); found {
				line, _, _ = strings.Cut(line, ",")
				do(t, s, "ACL SETUSER "+line)
				if f := Writes(t.Context(), client); f.Err() != nil {
					t.Errorf("after the fix: %+v", f)
				}
			}
		})
	}
}

// What a probe has written is gone soon, and a cluster is probed on each master.
func TestWritesOfACluster(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3)
	rdb := open(t, c.URL())
	if f := Writes(t.Context(), rdb); f.Level != OK {
		t.Fatalf("%+v", f)
	}
	for _, node := range c.Nodes() {
		keys, err := node.Client().Keys(t.Context(), "*").Result()
		if err != nil || len(keys) != 2 {
			t.Errorf("keys %q (%v) on %s, want two", keys, err, node.Addr())
		}
		for _, key := range keys {
			if left := node.Client().PTTL(t.Context(), key).Val(); left <= 0 || left > probeTTL {
				t.Errorf("%s is kept for %v", key, left)
			}
		}
	}
	full := c.Nodes()[2]
	do(t, full, "CONFIG SET maxmemory 1")
	if f := Writes(t.Context(), rdb); f.Level != Fail || !strings.Contains(f.Seen, "full") {
		t.Errorf("one full master: %+v", f)
	}
	expected{Writable, Fail, "it is full (maxmemory): no task can be stored on " + full.Addr()}.
		check(t, Check(t.Context(), rdb))
}

func TestWritesWithoutRedis(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	s.Stop()
	if f := Writes(t.Context(), open(t, s.URL())); f.Level != Fail || !strings.Contains(f.Seen, "no answer from Redis") {
		t.Errorf("%+v", f)
	}
}
