package faults

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// command is a command to Redis.
type command struct {
	args []string
	raw  []byte
}

// readCommand reads an array of bulk strings, the only form that clients send.
func readCommand(r *bufio.Reader) (*command, error) {
	c := &command{}
	n, err := readSize(r, '*', &c.raw)
	if err != nil {
		return nil, err
	}
	for range n {
		size, err := readSize(r, '$', &c.raw)
		if err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		c.raw = append(c.raw, text...)
		c.args = append(c.args, string(text[:size]))
	}
	return c, nil
}

func readSize(r *bufio.Reader, mark byte, raw *[]byte) (int, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return 0, err
	}
	*raw = append(*raw, line...)
	if line[0] != mark {
		return 0, fmt.Errorf("a command begins with %q", line)
	}
	return strconv.Atoi(string(bytes.TrimSpace(line[1:])))
}

// readReply reads a reply of RESP2 or RESP3, with the pushes before it.
func readReply(r *bufio.Reader) ([]byte, error) {
	var raw []byte
	err := appendReply(r, &raw)
	return raw, err
}

func appendReply(r *bufio.Reader, raw *[]byte) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	*raw = append(*raw, line...)
	n, _ := strconv.Atoi(string(bytes.TrimSpace(line[1:]))) // -1 means null; other lines have no size
	elements := 0
	switch line[0] {
	case '$', '=', '!':
		if n < 0 {
			return nil
		}
		text := make([]byte, n+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return err
		}
		*raw = append(*raw, text...)
	case '*', '~':
		elements = n
	case '%':
		elements = 2 * n
	case '>', '|': // a push, or attributes: the reply itself follows
		elements = n + 1
		if line[0] == '|' {
			elements = 2*n + 1
		}
	}
	for range elements {
		if err := appendReply(r, raw); err != nil {
			return err
		}
	}
	return nil
}

// step is what a command does with a task.
type step string

const (
	create  step = "create"  // a producer writes the record
	enqueue step = "enqueue" // the task enters asynq's queue
	take    step = "take"    // a worker removes it from there
	claim   step = "claim"   // ledger.Begin
	finish  step = "finish"  // ledger.Finish
	ack     step = "ack"     // asynq's done, complete, retry, archive
	requeue step = "requeue" // Errand's or asynq's
	other   step = ""
)

// step recognises the step by the keys, because the scripts are sent as digests. id
// is the task's ID, "" if the command names none.
func (c *command) step() (what step, id string) {
	if len(c.args) < 4 || !strings.HasPrefix(strings.ToLower(c.args[0]), "eval") {
		return other, ""
	}
	n, err := strconv.Atoi(c.args[2])
	if err != nil || len(c.args) < 3+n || n == 0 {
		return other, ""
	}
	keys := c.args[3 : 3+n]
	has := func(suffix string) bool {
		return slices.ContainsFunc(keys, func(k string) bool { return strings.HasSuffix(k, suffix) })
	}
	for _, key := range keys {
		for _, mark := range []string{"}:task:", "}:t:"} {
			if _, after, found := strings.Cut(key, mark); found && id == "" {
				id = after
			}
		}
	}
	switch ours := strings.HasPrefix(keys[0], "errand:{") && strings.Contains(keys[0], "}:task:"); {
	case ours && has("}:salt"):
		return create, id
	case ours && has("}:dead"):
		return finish, id
	case ours && has("}:notices"):
		return other, id // cancel
	case ours:
		return claim, id
	case has("}:pending") && has("}:paused"):
		return take, ""
	case has("}:pending") && has("}:active"):
		return requeue, id
	case has("}:active") && has("}:lease") && id != "":
		return ack, id
	case id != "" && (has("}:pending") || has("}:scheduled")):
		return enqueue, id
	}
	return other, id
}
