package broker

import (
	"context"
	"embed"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/record"
	"errand.internal/internal/redisscript"
)

// The steps of a task's life. Each is one script, which changes the record and
// asynq's queue together. One call may take many tasks of a queue: the batcher joins
// those that are called at once.
var (
	enqueueStep = step("enqueue")
	takeStep    = step("take")
	startStep   = step("start")
	endStep     = step("end")
	requeueStep = step("requeue")
	claimStep   = step("claim")
	adoptStep   = step("adopt")
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

func luaFile(name string) string {
	text, err := luaFiles.ReadFile("lua/" + name + ".lua")
	if err != nil {
		panic(err) // the files are part of the program
	}
	return string(text)
}

// step returns the script of a step.
func step(name string) *redisscript.Script {
	script := redisscript.New(scriptOf(name))
	steps[script.Hash()] = name
	return script
}

// scriptOf returns the text of a step's script: the prelude, those paragraphs of the library
// that it has a use for, and the step itself. Redis makes every function of a script anew for
// each call.
func scriptOf(name string) string {
	script := "local function step()\n" + luaFile(name) + "end\n" + luaFile("each")
	used := words(script)
	for _, p := range slices.Backward(library) {
		if slices.ContainsFunc(p.declares, func(name string) bool { return used[name] }) {
			script = p.text + script
			maps.Copy(used, p.words)
		}
	}
	return luaFile("prelude") + script
}

// paragraph is a part of the library, up to a blank line. It may use those before it.
type paragraph struct {
	text     string
	declares []string
	words    map[string]bool
}

// library has the functions that steps share.
var library = func() (list []paragraph) {
	for _, file := range []string{"unpack", "lists", "index", "room"} {
		for text := range strings.SplitSeq(luaFile(file), "\n\n") {
			text += "\n\n"
			list = append(list, paragraph{text: text, declares: declared(text), words: words(text)})
		}
	}
	return list
}()

// declared returns the names of the functions and variables that a paragraph of Lua declares.
func declared(paragraph string) (names []string) {
	for line := range strings.Lines(paragraph) {
		if rest, ok := strings.CutPrefix(line, "local "); ok {
			rest, _, _ = strings.Cut(strings.TrimPrefix(rest, "function "), "(")
			rest, _, _ = strings.Cut(rest, " =")
			names = append(names, strings.Split(strings.TrimSpace(rest), ", ")...)
		}
	}
	return names
}

// words returns the words of a Lua text outside of its comments. A field (a.b) and a text
// ('b') are words of their own.
func words(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(text) {
		code, _, _ := strings.Cut(line, "--")
		for _, word := range strings.FieldsFunc(code, func(r rune) bool {
			return r != '_' && r != '.' && r != '\'' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
		}) {
			found[strings.Trim(word, ".")] = true // of a..b
		}
	}
	return found
}

// run runs a step in a queue.
func run(
	ctx context.Context,
	rdb redis.Scripter,
	s *redisscript.Script,
	queue string,
	a arguments,
) (redisscript.Reply, error) {
	return s.Run(ctx, rdb, []string{record.Prefix(queue), asynqPrefix(queue)}, []byte(a))
}

// arguments are the arguments of a step as the scripts read them: a map of texts, as
// MessagePack.
type arguments []byte

const (
	mapOfMany = 0xde // begins a map of up to 64k pairs, whose number follows
	mapHeader = 3
	// argumentsRoom is how many bytes of names and of further arguments most steps have.
	argumentsRoom = 240
)

// newArguments returns arguments: names, each followed by its value.
func newArguments(pairs ...any) arguments {
	room := argumentsRoom
	for _, value := range pairs {
		switch value := value.(type) {
		case string:
			room += len(value)
		case []byte:
			room += len(value)
		}
	}
	a := append(make(arguments, 0, room), mapOfMany, 0, 0)
	for i := 0; i < len(pairs); i += 2 {
		a.add(pairs[i].(string), pairs[i+1])
	}
	return a
}

// add adds an argument: a text or a number.
func (a *arguments) add(name string, value any) {
	*a = append(appendTextHeader(*a, len(name)), name...)
	switch value := value.(type) {
	case string:
		*a = append(appendTextHeader(*a, len(value)), value...)
	case []byte:
		*a = append(appendTextHeader(*a, len(value)), value...)
	case int:
		*a = appendNumber(*a, int64(value))
	case int64:
		*a = appendNumber(*a, value)
	default:
		panic("an argument of another type: " + name) // the program's own mistake
	}
	a.count(1)
}

// with returns the arguments with those of others.
func (a arguments) with(others arguments) arguments {
	both := slices.Concat(a, others[mapHeader:])
	both.count(others.len())
	return both
}

func (a arguments) len() int {
	return int(binary.BigEndian.Uint16(a[1:]))
}

// count notes that there are n more.
func (a arguments) count(n int) {
	binary.BigEndian.PutUint16(a[1:], uint16(a.len()+n))
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
	if len(packed) < mapHeader || packed[0] != mapOfMany {
		return nil
	}
	n := 2 * (int(packed[1])<<8 | int(packed[2]))
	rest := packed[mapHeader:]
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
