package main

import (
	"fmt"
	"io"
	"strings"

	"errand.internal/internal/sandboxes"
)

// instructions has the Redis URL, the vendors' command lines, the address and the key
// of the HTTP interface, the address of the admin HTTP twice, and the URL of the
// sandboxes.
const instructions = `The demo keeps running. To try it, open another terminal in this folder:

  export REDIS_URL=%s

%s  # list the task types
  go run ./cmd/enqueue types

  # enqueue over HTTP, as an application in any language does (docs/producing.md)
  curl -sS 'http://%s/v1/tasks/danaconnect:otp:send?wait=20s' -H 'Authorization: Bearer %s' \
    -d '{"idConversation":824541,"values":{"COD1_EMAIL":"you@example.com"},"type":1,"length":6}'

  web UI    http://%s/monitoring/
  metrics   http://%s/metrics
  events    are printed here as they arrive; --notify has one sent when a task ends (docs/events.md)
  faults    POST %s/VENDOR/_sandbox/faults makes any sandbox fail on demand

Ctrl-C stops the demo.
`

// printInstructions prints what to try next.
func (s *system) printInstructions(out io.Writer) {
	var commands strings.Builder
	for i, v := range sandboxes.Vendors {
		if v.Commands == nil {
			continue
		}
		for _, c := range v.Commands(s.sandboxesURL + s.sandboxes[i].Path()) {
			_, _ = fmt.Fprintf(&commands, "  # %s\n  %s\n", c.Purpose, c.Line)
		}
		_, _ = fmt.Fprintln(&commands)
	}
	_, _ = fmt.Fprintf(
		out,
		instructions,
		s.redisURL,
		commands.String(),
		s.apiAddr,
		apiKey,
		s.adminAddr,
		s.adminAddr,
		s.sandboxesURL,
	)
}
