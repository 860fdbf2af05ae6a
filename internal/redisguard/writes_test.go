package redisguard

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redisconn"
	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
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

// failToSave is the setup of a Redis that cannot save to disk.
const failToSave = "a directory in the place of its file"

func unableToSave(t *testing.T, s *redistest.Server) {
	t.Helper()
	ctx := t.Context()
	dir := s.Client().ConfigGet(ctx, "dir").Val()["dir"]
	file := s.Client().ConfigGet(ctx, "dbfilename").Val()["dbfilename"]
	if err := os.Mkdir(filepath.Join(dir, file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Client().ConfigSet(ctx, "save", "3600 1").Err(); err != nil {
		t.Fatal(err)
	}
	do(t, s, "BGSAVE")
	testwait.Eventually(t, time.Minute, "Redis fails to save", func() bool {
		return strings.Contains(s.Client().Info(ctx, "persistence").Val(), "rdb_last_bgsave_status:err")
	})
}

// A Redis that a script keeps busy answers nothing else. That is what is said, and what
// the named command ends, whether the connection was there before or not.
func TestBusyRedis(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		t.Run(fmt.Sprintf("connected before: %t", before), func(t *testing.T) {
			t.Parallel()
			testBusyRedis(t, before)
		})
	}
}

func testBusyRedis(t *testing.T, before bool) {
	t.Helper()
	s := redistest.New(t)
	do(t, s, "CONFIG SET lua-time-limit 10")
	client := open(t, s.URL())
	if before {
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	script := redis.NewClient(&redis.Options{Addr: s.Addr(), ReadTimeout: time.Minute})
	t.Cleanup(func() { _ = script.Close() })
	ended := make(chan error, 1)
	go func() {
		ended <- script.Eval(context.WithoutCancel(t.Context()), "while true do end", nil).Err()
	}()
	testwait.Eventually(t, time.Minute, "Redis is busy", func() bool {
		return redisconn.Code(s.Client().Ping(t.Context()).Err()) == redisconn.CodeBusy
	})
	const seen, fix = "a script of another client keeps it busy", "redis-cli SCRIPT KILL"
	if f := Writes(t.Context(), client); f != (Finding{Fail, Writable, seen, fix}) {
		t.Errorf("Writes finds %+v", f)
	}
	expected{Writable, Fail, seen + " | " + fix}.check(t, Check(t.Context(), client))
	if got := Explain(client.Get(t.Context(), "k").Err()); got != seen+"; "+fix {
		t.Errorf("an error is explained as %q", got)
	}
	do(t, s, "SCRIPT KILL")
	if err := <-ended; err == nil {
		t.Error("the script ended by itself")
	}
	expected{Writable, OK, "takes writes"}.check(t, Check(t.Context(), client))
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
		{"unable to save", failToSave, "it cannot save to disk | free disk space"},
		{"a replica", "REPLICAOF 127.0.0.1 1", "a replica | name its master in REDIS_URL"},
		{"no keys", acl + "&* +@all", lacks("keys")},
		{"no keys of asynq", acl + "~errand:* &* +@all", lacks("keys")},
		{"no keys of logins", acl + "~errand:* ~asynq:* ~limit:* &* +@all", lacks("keys")},
		{"no keys of limits", acl + "~errand:* ~asynq:* ~tok:* &* +@all", lacks("keys")},
		{"no scripts", acl + "~* &* +@all -@scripting", lacks("commands")},
		{"no writes", acl + "~* &* +@all -@write", lacks("commands")},
		{"no channels", acl + "~* resetchannels +@all", lacks("channels")},
		{"no messages", acl + "~* &* +@all -publish", lacks("commands")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.New(t)
			if tc.setup == failToSave {
				unableToSave(t, s)
			} else {
				do(t, s, tc.setup)
			}
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
		if err != nil || len(keys) != len(prefixes) {
			t.Errorf("keys %q (%v) on %s, want one of each kind", keys, err, node.Addr())
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
