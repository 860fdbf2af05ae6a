package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"errand.internal/internal/payload"
	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

// payload puts together --payload and, on top of it, every --set.
func (c *enqueueCommand) payload(
	ctx context.Context,
	inv *invocation,
	info tasks.Info,
) ([]byte, error) {
	for _, assignment := range c.Set {
		if path, _, found := strings.Cut(assignment, "="); !found || path == "" {
			return nil, usagef("--set must be path=value")
		}
	}
	raw, err := c.basePayload(ctx, inv)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(raw) {
		return nil, refusedf("the payload must be UTF-8")
	}
	if len(c.Set) == 0 {
		return raw, nil
	}
	doc, err := decodeObject(info, raw)
	if err != nil {
		return nil, err
	}
	for _, assignment := range c.Set {
		path, value, _ := strings.Cut(assignment, "=")
		if err := setField(info.Example, doc, path, value); err != nil {
			return nil, err
		}
	}
	return encodePayload(doc)
}

// basePayload is what --payload says.
func (c *enqueueCommand) basePayload(ctx context.Context, inv *invocation) ([]byte, error) {
	switch {
	case c.Payload == "":
		return []byte("{}"), nil
	case c.Payload == "-":
		return readLimited(ctx, inv.stdin, "stdin")
	case c.Payload[0] == '@':
		f, err := os.Open(c.Payload[1:])
		if err != nil {
			return nil, usagef("--payload: %w", err)
		}
		defer func() {
			_ = f.Close()
		}()
		return readLimited(ctx, f, "--payload")
	}
	return []byte(c.Payload), nil
}

// readLimited reads one byte more than a payload may have, which is enough to
// refuse it. A signal ends the wait for somebody who types.
func readLimited(ctx context.Context, from io.Reader, what string) ([]byte, error) {
	type outcome struct {
		raw []byte
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		var read outcome
		defer func() {
			done <- read
		}()
		defer recoverPanic(&read.err)
		read.raw, read.err = io.ReadAll(io.LimitReader(from, payload.MaxSize+1))
	}()
	select {
	case <-ctx.Done():
		return nil, errInterrupted
	case read := <-done:
		if _, broken := errors.AsType[*panicError](read.err); broken {
			return nil, read.err
		}
		if read.err != nil {
			return nil, usagef("%s: cannot be read: %w", what, read.err)
		}
		if len(read.raw) > payload.MaxSize {
			return nil, refusedf(
				"the payload has more than %d bytes, at most %d are allowed",
				payload.MaxSize,
				payload.MaxSize,
			)
		}
		return read.raw, nil
	}
}

// decodeObject reads a payload for --set to work on. What it cannot be read for, and
// a field that is given twice, is refused as it would be without --set.
func decodeObject(info tasks.Info, raw []byte) (map[string]any, error) {
	doc := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // a number reaches the vendor as it was written
	trimmed := bytes.TrimSpace(raw)
	if !json.Valid(raw) || trimmed[0] != '{' || dec.Decode(&doc) != nil {
		if _, err := tasks.DecodePayload(info.Type, raw); err != nil {
			return nil, err
		}
		return nil, refusedf("the payload must be an object")
	}
	if path := findDuplicateField("", json.NewDecoder(bytes.NewReader(raw))); path != "" {
		return nil, &tasks.PayloadError{
			Problems: []payload.Problem{{Field: path, Rule: "is given twice"}},
		}
	}
	return doc, nil
}

// findDuplicateField finds a field that an object has twice; "" if there is none. The
// decoder is at the beginning of a valid value.
func findDuplicateField(path string, dec *json.Decoder) string {
	token, err := dec.Token()
	if err != nil {
		return ""
	}
	seen := map[string]bool{}
	for n := 0; token == json.Delim('{') || token == json.Delim('['); n++ {
		if !dec.More() {
			_, _ = dec.Token()
			return ""
		}
		at := fmt.Sprintf("%s[%d]", path, n)
		if token == json.Delim('{') {
			name, _ := dec.Token()
			text, _ := name.(string)
			if at = strings.TrimPrefix(path+"."+text, "."); seen[text] {
				return at
			}
			seen[text] = true
		}
		if found := findDuplicateField(at, dec); found != "" {
			return found
		}
	}
	return ""
}

// setField puts one value into a payload.
func setField(example queue.Payload, doc map[string]any, path, value string) error {
	if err := payload.Set(example, doc, path, value); err != nil {
		return refusedf("%w", err)
	}
	return nil
}

func encodePayload(doc map[string]any) ([]byte, error) {
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode the payload: %w", err)
	}
	return raw, nil
}
