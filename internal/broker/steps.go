package broker

import (
	"context"
	"embed"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
	"errand.internal/internal/redisscript"
)

// The steps of a task's life. Each is one script, which changes the record and
// asynq's queue together. One call may take many tasks of a queue: the batcher joins
// those that are called at once.
var (
	enqueueStep = step("enqueue", "index", "room")
	takeStep    = step("take")
	startStep   = step("start")
	endStep     = step("end", "index")
	requeueStep = step("requeue")
	claimStep   = step("claim")
	adoptStep   = step("adopt", "index")
	wakeStep    = step("wake")
	cancelStep  = step("cancel")
	forwardStep = step("forward")
	hastenStep  = step("hasten")
)

// steps are the names of the steps by the digest of their script.
var steps = map[string]string{}

// StepOf returns the name of the step whose script has a digest, as EVALSHA names it;
// "" if there is none. It is for who watches the traffic with Redis.
func StepOf(digest string) string {
	return steps[digest]
}

// stepArguments is where the arguments of the first task are in a call of a step: behind
// its name, its digest, the number of keys, and two keys.
const stepArguments = 5

// stepCall returns what two calls of a step for one task each have in common if they may be
// one: its digest and the queue. The keys of a queue are in one slot of a Redis Cluster.
func stepCall(args []any) (key [2]string, ok bool) {
	if len(args) != stepArguments+1 || args[0] != "evalsha" {
		return key, false
	}
	digest, _ := args[1].(string)
	prefix, _ := args[stepArguments-1].(string)
	return [2]string{digest, prefix}, StepOf(digest) != ""
}

// manyTasks reports whether a call of a step has many tasks already. It goes at once,
// beside the others.
func manyTasks(args []any) bool {
	if len(args) <= stepArguments+1 || args[0] != "evalsha" {
		return false
	}
	digest, _ := args[1].(string)
	return StepOf(digest) != ""
}

//go:embed lua/*.lua
var luaFiles embed.FS

// step returns the script of a step. with are further files of functions, of which few
// scripts have a use: every call pays for them.
func step(name string, with ...string) *redisscript.Script {
	file := func(name string) string {
		text, err := luaFiles.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err) // the files are part of the program
		}
		return string(text)
	}
	var chunks []string
	for _, functions := range slices.Concat([]string{"prelude", "unpack", "lists"}, with) {
		chunks = append(chunks, file(functions))
	}
	script := redisscript.New(append(chunks, "local function step()\n", file(name), "end\n", file("each"))...)
	steps[script.Hash()] = name
	return script
}

// run runs a step in a queue.
func run(
	ctx context.Context,
	rdb redis.Scripter,
	s *redisscript.Script,
	queue string,
	a arguments,
) (redisscript.Reply, error) {
	return s.Run(ctx, rdb, []string{record.Prefix(queue), asynqPrefix(queue)}, a.encode())
}

// arguments are the arguments of a step: names, each followed by its value.
type arguments []any

func (a *arguments) add(name string, value any) {
	*a = append(*a, name, value)
}

// size is about how many bytes the values take.
func (a arguments) size() int {
	size := 0
	for _, value := range a {
		switch value := value.(type) {
		case string:
			size += len(value)
		case []byte:
			size += len(value)
		default:
			size += 8
		}
	}
	return size
}

// encode returns the arguments as the scripts read them: a map of texts, as MessagePack.
func (a arguments) encode() []byte {
	raw := make([]byte, 0, a.size()+2*len(a)+8)
	raw = append(raw, 0xde) // a map of up to 64k pairs
	raw = binary.BigEndian.AppendUint16(raw, uint16(len(a)/2))
	for _, value := range a {
		switch value := value.(type) {
		case string:
			raw = append(appendTextHeader(raw, len(value)), value...)
		case []byte:
			raw = append(appendTextHeader(raw, len(value)), value...)
		case int:
			raw = appendNumber(raw, int64(value))
		case int64:
			raw = appendNumber(raw, value)
		default:
			panic(fmt.Sprintf("an argument of type %T", value)) // the program's own mistake
		}
	}
	return raw
}

// appendNumber appends a number as text: Lua's numbers are not exact enough.
func appendNumber(raw []byte, n int64) []byte {
	var digits [20]byte
	text := strconv.AppendInt(digits[:0], n, 10)
	return append(appendTextHeader(raw, len(text)), text...)
}

func appendTextHeader(raw []byte, size int) []byte {
	switch {
	case size < 32:
		return append(raw, 0xa0|byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(raw, 0xda), uint16(size))
	}
	return binary.BigEndian.AppendUint32(append(raw, 0xdb), uint32(size))
}

// Arguments reads the arguments of one task, as a step's call has them behind its two
// keys; nil if it cannot. It is for who watches the traffic with Redis.
func Arguments(packed string) map[string]string {
	if len(packed) < 3 || packed[0] != 0xde {
		return nil
	}
	n := 2 * (int(packed[1])<<8 | int(packed[2]))
	rest := packed[3:]
	texts := make([]string, 0, n)
	for range n {
		text, after, ok := cutText(rest)
		if !ok {
			return nil
		}
		texts, rest = append(texts, text), after
	}
	found := make(map[string]string, n/2)
	for i := 0; i+1 < n; i += 2 {
		found[texts[i]] = texts[i+1]
	}
	return found
}

// cutText cuts the first text off.
func cutText(packed string) (text, rest string, ok bool) {
	if packed == "" {
		return "", "", false
	}
	header, size := 1, int(packed[0]&0x1f)
	switch packed[0] {
	case 0xda:
		header = 3
	case 0xdb:
		header = 5
	}
	if len(packed) < header {
		return "", "", false
	}
	if header > 1 {
		size = 0
		for _, digit := range []byte(packed[1:header]) {
			size = size<<8 | int(digit)
		}
	}
	if len(packed) < header+size {
		return "", "", false
	}
	return packed[header : header+size], packed[header+size:], true
}

// text adds an argument unless it is empty.
func (a *arguments) text(name, value string) {
	if value != "" {
		a.add(name, value)
	}
}

// flag adds an argument that is set.
func (a *arguments) flag(name string, set bool) {
	if set {
		a.add(name, 1)
	}
}

// time adds a point in time unless it is zero.
func (a *arguments) time(name string, at time.Time) {
	if !at.IsZero() {
		a.add(name, at.UnixMilli())
	}
}

// span adds a duration unless it is zero.
func (a *arguments) span(name string, d time.Duration) {
	if d != 0 {
		a.add(name, d.Milliseconds())
	}
}
