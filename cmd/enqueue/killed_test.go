package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/bulk"
	"errand.internal/internal/proctest"
	"errand.internal/internal/testwait"
)

// commandMark in the environment makes the test binary the command.
const commandMark = "ENQUEUE_COMMAND"

// A bulk that is killed has stored what its receipt says, row by row from the first on, and
// running it again enqueues what is missing.
func TestABulkThatIsKilledCanBeRunAgain(t *testing.T) {
	t.Parallel()
	const rows = 1500
	for _, after := range []int{1, 100, 700} {
		t.Run(fmt.Sprint("after ", after), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			receipt := filepath.Join(t.TempDir(), "receipt")
			known := map[int]string{}
			for _, line := range h.killBulk(pipeRows(1, rows), receipt, after) {
				if line.Row != len(known)+1 || line.ID == "" || line.Error != "" {
					t.Fatalf("receipt %d is %+v", len(known)+1, line)
				}
				if n, err := h.redis.Client().Exists(t.Context(), "errand:{dckap}:task:"+line.ID, "asynq:{dckap}:t:"+line.ID).Result(); n != 2 || err != nil {
					t.Errorf("row %d is not stored as %s: %v", line.Row, line.ID, err)
				}
				known[line.Row] = line.ID
			}
			stored := h.pending(t)
			if len(known) < after || stored < len(known) {
				t.Fatalf("%d receipts and %d tasks, want %d receipts at least", len(known), stored, after)
			}
			d := h.runWith(t.Context(), strings.NewReader(pipeRows(1, rows)), "bulk", "-")
			wantText(t, "stderr", d.stderr, fmt.Sprintf("%d rows: %d enqueued, %d duplicates, 0 refused", rows, rows-stored, stored))
			for _, line := range decodeReceipt(t, d.stdout) {
				if id := known[line.Row]; id != "" && (line.ID != id || !line.Duplicate) {
					t.Errorf("row %d was %s: %+v", line.Row, id, line)
				}
			}
			if n := h.pending(t); n != rows {
				t.Errorf("%d tasks wait, want %d", n, rows)
			}
		})
	}
}

func (h *harness) pending(t *testing.T) int {
	t.Helper()
	n, err := h.redis.Client().LLen(t.Context(), "asynq:{dckap}:pending").Result()
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// killBulk runs the command until it has written some receipts, kills it while more rows are
// to come, and returns the whole lines of its receipt.
func (h *harness) killBulk(rows, receipt string, after int) []bulk.Receipt {
	h.t.Helper()
	binary, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.CommandContext(h.t.Context(), binary, "bulk", "-", "--receipt", receipt)
	cmd.Env = []string{commandMark + "=1", "REDIS_URL=" + h.environ["REDIS_URL"]}
	in, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := proctest.Start(cmd)
	if err != nil {
		h.t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(in, rows) }() // it stays open: the command waits for more
	var text string
	testwait.Eventually(h.t, time.Minute, "the receipts are written", func() bool {
		raw, _ := os.ReadFile(receipt)
		text = string(raw)
		return strings.Count(text, "\n") >= after
	})
	if err := p.Kill(); err != nil {
		h.t.Fatal(err)
	}
	raw, err := os.ReadFile(receipt)
	if err != nil {
		h.t.Fatal(err)
	}
	text = string(raw)
	return decodeReceipt(h.t, text[:strings.LastIndexByte(text, '\n')+1])
}
