package broker

import (
	"context"
	"embed"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
	"errand.internal/internal/redisscript"
)

// The steps of a task's life. Each is one script, which changes the record and
// asynq's queue together.
var (
	enqueueStep = step("enqueue", "index")
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

//go:embed lua/*.lua
var luaFiles embed.FS

func step(name string, with ...string) *redisscript.Script {
	var chunks []string
	for _, file := range slices.Concat([]string{"prelude", "lists"}, with, []string{name}) {
		text, err := luaFiles.ReadFile("lua/" + file + ".lua")
		if err != nil {
			panic(err) // the files are part of the program
		}
		chunks = append(chunks, string(text))
	}
	script := redisscript.New(chunks...)
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
	return s.Run(ctx, rdb, []string{record.Prefix(queue), asynqPrefix(queue)}, a...)
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
