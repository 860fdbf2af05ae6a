package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"errand.internal/internal/account"
	"errand.internal/internal/config"
	"errand.internal/internal/payload"
	"errand.internal/internal/produce"
	"errand.internal/internal/secret"
	"errand.internal/internal/terminal"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// dryRunRequest is one request that would go to the vendor, with secrets and
// personal data masked.
type dryRunRequest struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

type dryRunReport struct {
	Type     string          `json:"type"`
	Queue    string          `json:"queue"`
	Budget   string          `json:"budget"`
	Requests []dryRunRequest `json:"requests"`
}

// dryRun runs the task's own definition with a transport that sends nothing.
func (c *enqueueCommand) dryRun(
	ctx context.Context,
	inv *invocation,
	info tasks.Info,
	p tasks.Payload,
	opts []tasks.Option,
) (int, error) {
	if err := tasks.Check(p, opts...); err != nil {
		return 0, err
	}
	accounts, err := inv.dryRunAccounts()
	if err != nil {
		return 0, err
	}
	transport := &recordingTransport{payload: p}
	definition, err := openDryRun(accounts, info.Type, transport)
	if err != nil {
		return 0, joinUsageErrors(err)
	}
	_, err = definition.Run(worker.WithTaskID(ctx, p.Policy().Queue+"_taskid"), p)
	requests := transport.recorded()
	if len(requests) == 0 {
		if err == nil {
			err = errors.New("the task sends no request")
		}
		return 0, &exitError{exitRefused, fmt.Errorf("no request would be sent: %w", err)}
	}
	budget := p.Policy().Budget
	if c.UsableFor != nil {
		budget = time.Duration(*c.UsableFor)
	}
	inv.printDryRun(
		dryRunReport{info.Type, p.Policy().Queue, produce.FormatDuration(budget), requests},
		c.JSON,
	)
	inv.printErr("dry run: nothing was enqueued or sent")
	return exitOK, nil
}

// openDryRun returns a task type bound to an account whose requests all go to
// transport.
func openDryRun(
	accounts config.Accounts,
	taskType string,
	transport http.RoundTripper,
) (worker.Definition, error) {
	for _, a := range accounts {
		if !slices.ContainsFunc(a.Unopened(), func(d worker.Definition) bool { return d.Type == taskType }) {
			continue
		}
		definitions, err := a.Open(account.DryRun(transport))
		if err != nil {
			return worker.Definition{}, err
		}
		for _, d := range definitions {
			if d.Type == taskType {
				return d, nil
			}
		}
	}
	return worker.Definition{}, tasks.ErrUnknownType
}

func (inv *invocation) printDryRun(r dryRunReport, asJSON bool) {
	if asJSON {
		inv.printJSON(r)
		return
	}
	inv.printPairs([][2]string{{"type", r.Type}, {"queue", r.Queue}, {"budget", r.Budget}})
	for _, req := range r.Requests {
		_, _ = fmt.Fprintf(inv.stdout, "\n%s %s\n", req.Method, terminal.Text(req.URL))
		for _, header := range slices.Sorted(maps.Keys(req.Headers)) {
			_, _ = fmt.Fprintf(inv.stdout, "%s: %s\n", header, terminal.Text(req.Headers[header]))
		}
		if req.Body != nil {
			_, _ = fmt.Fprintf(inv.stdout, "\n%s\n", terminal.Text(indentJSON(req.Body)))
		}
	}
}

// recordingTransport records requests and sends nothing. Of a handler with several
// requests it records only the first: the others depend on an answer.
type recordingTransport struct {
	payload worker.Payload

	mu       sync.Mutex
	requests []dryRunRequest
}

var errDryRun = errors.New("dry run")

// RoundTrip implements http.RoundTripper.
func (t *recordingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, fmt.Errorf("read the request: %w", err)
		}
		_ = r.Body.Close()
	}
	recorded := dryRunRequest{
		Method:  r.Method,
		URL:     t.maskURL(r.URL),
		Headers: map[string]string{},
	}
	for header := range r.Header {
		recorded.Headers[header] = maskHeader(header, r.Header.Get(header))
	}
	if len(body) > 0 {
		recorded.Body = json.RawMessage(payload.Mask(t.payload, body))
		if !json.Valid(recorded.Body) {
			recorded.Body = json.RawMessage(`"` + payload.Masked + `"`)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests = append(t.requests, recorded)
	return nil, errDryRun
}

func (t *recordingTransport) recorded() []dryRunRequest {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests
}

// clearHeaders are shown as they are; every other header may hold a secret.
var clearHeaders = []string{"Accept", "Content-Type", "User-Agent"}

func maskHeader(header, value string) string {
	if slices.Contains(clearHeaders, header) {
		return value
	}
	return secret.Redacted
}

// maskURL shows the scheme and host, and those parts of path and query that the
// payload's type marks clear.
func (t *recordingTransport) maskURL(u *url.URL) string {
	text := u.Scheme + "://" + u.Host + t.maskPath(u.EscapedPath())
	if u.RawQuery == "" {
		return text
	}
	query := u.Query()
	parts := []string{}
	for _, key := range slices.Sorted(maps.Keys(query)) {
		shown := t.mask(key, query.Get(key))
		if shown != payload.Masked {
			shown = url.QueryEscape(shown)
		}
		parts = append(parts, url.QueryEscape(key)+"="+shown)
	}
	return text + "?" + strings.Join(parts, "&")
}

// maskPath hides the path in the payload of a free call, which is the end of the
// URL's path: it may contain IDs and names of people.
func (t *recordingTransport) maskPath(path string) string {
	var given struct {
		Path string `json:"path"`
	}
	raw, err := json.Marshal(t.payload)
	if err != nil || json.Unmarshal(raw, &given) != nil {
		return "/" + payload.Masked
	}
	freePath := strings.TrimPrefix(given.Path, "/")
	if freePath == "" || t.mask("path", freePath) == freePath {
		return path
	}
	base, found := strings.CutSuffix(path, "/"+freePath)
	if !found { // the client has escaped it differently
		base = ""
	}
	return base + "/" + payload.Masked
}

// mask returns the value of a field as it may be shown.
func (t *recordingTransport) mask(field, value string) string {
	raw, err := json.Marshal(map[string]string{field: value})
	if err != nil {
		return payload.Masked
	}
	var masked map[string]string
	if json.Unmarshal([]byte(payload.Mask(t.payload, raw)), &masked) != nil {
		return payload.Masked
	}
	return masked[field]
}
