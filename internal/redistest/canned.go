package redistest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Canned returns a client that has no server: every script gets the same reply, GET
// gives get, or nothing if that is empty, and every other command succeeds with nothing. It is for tests of what
// becomes of a reply.
func Canned(tb testing.TB, reply any, get string) *redis.Client {
	tb.Helper()
	c := Unserved(tb)
	Answer(c, reply, get)
	return c
}

// Unserved returns a client that has no server.
func Unserved(tb testing.TB) *redis.Client {
	tb.Helper()
	c := redis.NewClient(&redis.Options{
		DisableIdentity: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("there is no server")
		},
	})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Answer has a client answer as Canned does, beneath the hooks that it has already.
func Answer(c *redis.Client, reply any, get string) {
	c.AddHook(canned{reply: reply, get: get})
}

type canned struct {
	reply any
	get   string
}

// DialHook implements redis.Hook.
func (canned) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (h canned) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		switch cmd := cmd.(type) {
		case *redis.Cmd:
			if h.reply == nil {
				cmd.SetErr(redis.Nil)
			}
			cmd.SetVal(h.reply)
		case *redis.StringCmd:
			if h.get == "" {
				cmd.SetErr(redis.Nil)
			}
			cmd.SetVal(h.get)
		}
		return cmd.Err()
	}
}

// ProcessPipelineHook implements redis.Hook.
func (h canned) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	one := h.ProcessHook(nil)
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			_ = one(ctx, cmd)
		}
		return nil
	}
}

// ParseReply turns a text into the reply of a script, for a fuzz target: one element a
// line, ! for nil, #7 for a number, and [ and ] around a list; a text may begin with =.
func ParseReply(text string) []any {
	lists := [][]any{{}}
	for line := range strings.SplitSeq(text, "\n") {
		last := len(lists) - 1
		switch {
		case line == "!":
			lists[last] = append(lists[last], nil)
		case line == "[":
			lists = append(lists, []any{})
		case line == "]" && last > 0:
			lists[last-1] = append(lists[last-1], lists[last])
			lists = lists[:last]
		case strings.HasPrefix(line, "#"):
			n, _ := strconv.ParseInt(line[1:], 10, 64)
			lists[last] = append(lists[last], n)
		default:
			lists[last] = append(lists[last], strings.TrimPrefix(line, "="))
		}
	}
	return lists[0]
}
