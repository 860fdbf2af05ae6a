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
	"errand.internal/internal/produce"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// payload returns --payload with every --set applied to it.
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

// basePayload returns the payload that --payload gives.
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

// readLimited reads a payload, and refuses one over the size limit without reading
// the rest. A signal ends a blocking read, such as one from a terminal.
func readLimited(ctx context.Context, from io.Reader, source string) ([]byte, error) {
	type readResult struct {
		raw []byte
		err error
	}
	done := make(chan readResult, 1)
	go func() {
		var read readResult
		defer func() {
			done <- read
		}()
		defer produce.RecoverPanic(&read.err)
		read.raw, read.err = io.ReadAll(io.LimitReader(from, payload.MaxSize+1))
	}()
	select {
	case <-ctx.Done():
		return nil, errInterrupted
	case read := <-done:
		if _, panicked := errors.AsType[*produce.PanicError](read.err); panicked {
			return nil, read.err
		}
		if read.err != nil {
			return nil, usagef("%s: cannot be read: %w", source, read.err)
		}
		if len(read.raw) > payload.MaxSize {
			return nil, refusedf("the payload has more than the %d bytes allowed", payload.MaxSize)
		}
		return read.raw, nil
	}
}

// decodeObject decodes a payload for --set to change. Malformed JSON, and what cannot
// be carried unchanged, are refused just as without --set.
func decodeObject(info tasks.Info, raw []byte) (map[string]any, error) {
	doc := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // numbers reach the vendor as they are written
	trimmed := bytes.TrimSpace(raw)
	if !json.Valid(raw) || trimmed[0] != '{' || dec.Decode(&doc) != nil {
		if _, err := info.Decode(raw); err != nil {
			return nil, err
		}
		return nil, refusedf("the payload must be an object")
	}
	if problems := payload.Unfaithful(raw); len(problems) > 0 {
		return nil, &tasks.PayloadError{Problems: problems}
	}
	return doc, nil
}

// setField sets one field of a payload.
func setField(example worker.Payload, doc map[string]any, path, value string) error {
	if err := payload.Set(example, doc, path, value); err != nil {
		return refusedf("--set %w", err)
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
