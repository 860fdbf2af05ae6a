package redisconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
)

// replied is an error that a server replied.
type replied string

func (r replied) Error() string { return string(r) }

func (replied) RedisError() {}

// The texts are those of Redis 6.2, 7.0 and 7.2.
func TestNotNow(t *testing.T) {
	t.Parallel()
	const in7, in6 = " script: 0123abc, on @user_script:1.", "ERR Error running script (call to f_0123abc): " +
		"@user_script:1: @user_script: 1: -"
	for text, want := range map[string]bool{
		"READONLY You can't write against a read only replica.":                          true,
		"NOREPLICAS Not enough good replicas to write.":                                  true,
		"MISCONF Errors writing to the AOF file: No space left on device":                true,
		"OOM command not allowed when used memory > 'maxmemory'.":                        true,
		"TRYAGAIN Multiple keys request during rehashing of slot":                        true,
		"NOPERM this user has no permissions to run the 'set' command":                   true,
		"BUSY Redis is busy running a script.":                                           true,
		"LOADING Redis is loading the dataset in memory":                                 true,
		"OOM command not allowed when used memory > 'maxmemory'." + in7:                  true,
		"NOREPLICAS Not enough good replicas to write." + in7:                            true,
		in6 + "OOM command not allowed when used memory > 'maxmemory'.":                  true,
		in6 + "MISCONF Redis is configured to save RDB snapshots":                        true,
		in6 + "READONLY You can't write against a read only replica.":                    true,
		"ERR The user executing the script can't run this command or subcommand" + in7:   true,
		"ERR The user executing the script can't publish to the channel mentioned" + in7: true,
		"ERR ACL failure in script: User w has no permissions to run the 'set' command":  true,
		"BUSYGROUP Consumer Group name already exists":                                   false,
		"BUSYKEY Target key name already exists.":                                        false,
		"WRONGTYPE Operation against a key holding the wrong kind of value":              false,
		"ERR unknown command 'NOPERM'":                                                   false,
		in6 + "WRONGTYPE Operation against a key":                                        false,
		"ERR user_script:1: OOM is but a word here" + in7:                                false,
		"": false,
	} {
		for _, err := range []error{replied(text), fmt.Errorf("no answer within 3s: %w", replied(text))} {
			if got := NotNow(err); got != want {
				t.Errorf("NotNow(%q) = %t, want %t", err, got, want)
			}
		}
	}
	for _, tc := range []struct {
		name string
		err  error
		want bool
	}{
		{name: "nil"},
		{name: "the caller gave up", err: context.Canceled},
		{name: "no such key", err: redis.Nil},
		{name: "unreachable", err: io.EOF, want: true},
		{name: "a text that is nobody's reply", err: errors.New("OOM command not allowed")},
	} {
		if got := NotNow(tc.err); got != tc.want {
			t.Errorf("%s: NotNow(%v) = %t, want %t", tc.name, tc.err, got, tc.want)
		}
	}
}

// A real Redis refuses, and go-redis wraps: what a command gets, a script and the
// clients of all roles get too.
func TestNotNowOfARealRedis(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		setup []string
		code  string
	}{
		{name: "full", setup: []string{"CONFIG SET maxmemory 1"}, code: CodeFull},
		{name: "no replicas", setup: []string{"CONFIG SET min-replicas-to-write 1"}, code: CodeNoReplicas},
		{name: "a replica", setup: []string{"REPLICAOF 127.0.0.1 1"}, code: CodeReadOnly},
		{
			name:  "not permitted",
			setup: []string{"ACL SETUSER worker on >pw ~errand:* &errand:* +@all -set"},
			code:  CodeNoPermission,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.New(t)
			url := s.URL()
			for _, line := range tc.setup {
				var args []any
				for _, word := range strings.Fields(line) {
					args = append(args, word)
				}
				if err := s.Client().Do(t.Context(), args...).Err(); err != nil {
					t.Fatal(err)
				}
				if strings.Contains(line, "SETUSER") {
					url = "redis://worker:pw@" + s.Addr()
				}
			}
			client := open(t, url, Producer)
			set := redis.NewScript(`return redis.call('SET', KEYS[1], 'v')`)
			pipelined := func() error {
				_, err := client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
					p.Set(t.Context(), "errand:k", "v", 0)
					return nil
				})
				return err
			}
			for what, err := range map[string]error{
				"command":  client.Set(t.Context(), "errand:k", "v", 0).Err(),
				"script":   set.Run(t.Context(), client, []string{"errand:k"}).Err(),
				"pipeline": pipelined(),
			} {
				if !NotNow(err) || Code(err) != tc.code {
					t.Errorf("%s: %v is not now: %t, code %q, want %s", what, err, NotNow(err), Code(err), tc.code)
				}
			}
		})
	}
}

func TestNoDatabase(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	url := strings.TrimSuffix(s.URL(), "/0")
	if err := open(t, url+"/99", Producer).Ping(t.Context()).Err(); !NoDatabase(err) {
		t.Errorf("database 99: %v", err)
	}
	if err := open(t, url+"/15", Producer).Ping(t.Context()).Err(); err != nil {
		t.Errorf("database 15: %v", err)
	}
}
