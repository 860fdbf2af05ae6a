package faults

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"errand.internal/internal/broker"
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

// step is a step of a task's life: the name of its script.
type step string

const (
	enqueue step = "enqueue"
	take    step = "take"
	start   step = "start"
	end     step = "end"
	requeue step = "requeue"
	other   step = "" // any other command
)

// step recognises a step by its script. ids are the tasks of the call, none if it names
// none; the reply to a take has those of its tasks.
func (c *command) step() (what step, ids []string) {
	const first = 5 // behind the digest, the number of keys, and two keys
	if len(c.args) <= first {
		return other, nil
	}
	switch digest := c.args[1]; strings.ToLower(c.args[0]) {
	case "evalsha":
		what = step(broker.StepOf(digest))
	case "eval": // after NOSCRIPT, with the text
		sum := sha1.Sum([]byte(digest))
		what = step(broker.StepOf(hex.EncodeToString(sum[:])))
	}
	if what == other {
		return other, nil
	}
	for _, packed := range c.args[first:] {
		if id := broker.Arguments(packed)["id"]; id != "" {
			ids = append(ids, id)
		}
	}
	return what, ids
}

// tasksOf returns the tasks that a command is about, given its reply: nil before
// Redis has answered.
func (c *command) tasksOf(reply []byte) []string {
	what, ids := c.step()
	if what == take {
		return takenTasks(reply)
	}
	return ids
}

// answers are what a step has answered to each of its tasks.
func (c *command) answers(reply []byte) []string {
	_, ids := c.step()
	if len(ids) == 1 {
		text, _ := parseReply(bufio.NewReader(bytes.NewReader(reply))).(string)
		return []string{text}
	}
	list, _ := parseReply(bufio.NewReader(bytes.NewReader(reply))).([]any)
	texts := make([]string, len(ids))
	for i := range min(len(list), len(ids)) {
		texts[i], _ = list[i].(string)
	}
	return texts
}

// takenTasks returns the tasks in the reply to a take: {now, {id, message, ...}, ...}.
func takenTasks(reply []byte) (ids []string) {
	claims, _ := parseReply(bufio.NewReader(bytes.NewReader(reply))).([]any)
	for _, claim := range claims {
		if fields, ok := claim.([]any); ok && len(fields) > 0 {
			id, _ := fields[0].(string)
			ids = append(ids, id)
		}
	}
	return ids
}

// parseReply returns lists as []any, and texts and numbers as a string; nil for
// everything else, and for what cannot be read.
func parseReply(r *bufio.Reader) any {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil
	}
	text := strings.TrimSpace(line[1:])
	switch n, _ := strconv.Atoi(text); line[0] {
	case ':', '+':
		return text
	case '$':
		if n < 0 {
			return nil
		}
		value := make([]byte, n+2)
		if _, err := io.ReadFull(r, value); err != nil {
			return nil
		}
		return string(value[:n])
	case '*':
		list := make([]any, max(n, 0))
		for i := range list {
			list[i] = parseReply(r)
		}
		return list
	}
	return nil
}

// refused reports whether a reply is an error: the script did not run (NOSCRIPT), or
// not to its end.
func refused(reply []byte) bool {
	return reply[0] == '-' || reply[0] == '!'
}
