package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"errand.internal/internal/bulk"
	"errand.internal/internal/produce"
	"errand.internal/tasks"
)

// receiptCount counts the tasks of a bulk run.
type receiptCount struct {
	Rows int `json:"rows"`
	// Refused counts the rows that were not enqueued.
	Refused int `json:"refused"`
	// Tasks counts the enqueued ones by outcome, or by state before the end. forgotten are
	// those whose record is no longer kept.
	Tasks map[string]int `json:"tasks"`
}

// open counts the tasks that have not ended.
func (c receiptCount) open() int {
	n := 0
	for _, s := range []tasks.State{tasks.Pending, tasks.Scheduled, tasks.Running, tasks.Retrying, tasks.Parked} {
		n += c.Tasks[string(s)]
	}
	return n
}

// String is the count in one line.
func (c receiptCount) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c.Tasks)) {
		parts = append(parts, fmt.Sprintf("%d %s", c.Tasks[name], name))
	}
	if c.Refused > 0 {
		parts = append(parts, fmt.Sprintf("%d refused", c.Refused))
	}
	return fmt.Sprintf("%d rows: %s", c.Rows, strings.Join(parts, ", "))
}

// countReceipt counts the tasks of a receipt, with --watch until all have ended.
func (c *statusCommand) countReceipt(ctx context.Context, inv *invocation, client *tasks.Client) (int, error) {
	ids, count, err := readReceipt(c.Receipt)
	if err != nil {
		return 0, err
	}
	ended := map[string]string{} // outcomes, which do not change
	for shown := ""; ; {
		if count.Tasks, err = countTasks(ctx, client, ids, ended); err != nil {
			return 0, err
		}
		if !c.Watch || count.open() == 0 {
			break
		}
		if text := count.String(); text != shown {
			shown = text
			inv.printErr(text)
		}
		select {
		case <-time.After(watchStep):
		case <-ctx.Done():
			return 0, &exitError{exitInterrupted, errors.New("interrupted; the tasks go on")}
		}
	}
	if c.JSON {
		inv.printJSON(count)
		return exitOK, nil
	}
	pairs := [][2]string{{"rows", fmt.Sprint(count.Rows)}, {"refused", nonZero(count.Refused)}}
	for _, name := range slices.Sorted(maps.Keys(count.Tasks)) {
		pairs = append(pairs, [2]string{name, fmt.Sprint(count.Tasks[name])})
	}
	inv.printPairs(pairs)
	return exitOK, nil
}

// readReceipt returns the tasks that a receipt names, each once.
func readReceipt(name string) (ids []string, count receiptCount, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, count, refusedf("cannot read the receipt: %w", err)
	}
	defer func() { _ = file.Close() }()
	known := map[string]bool{}
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxReceiptLine)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var line bulk.Receipt
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.ID == "" && line.Error == "" {
			return nil, count, refusedf("line %d of %s is not a line of a receipt", n, name)
		}
		count.Rows++
		switch {
		case line.ID == "":
			count.Refused++
		case !known[line.ID]:
			known[line.ID] = true
			ids = append(ids, line.ID)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, count, refusedf("cannot read the receipt: %w", err)
	}
	return ids, count, nil
}

const (
	// maxReceiptLine bounds a line: a refused row has an error with every field at fault.
	maxReceiptLine = 1 << 20
	// statusConcurrency is how many tasks are read at once; they share pipelines.
	statusConcurrency = 64
)

// countTasks counts tasks by outcome or state, and adds to ended those that have ended.
func countTasks(
	ctx context.Context,
	client *tasks.Client,
	ids []string,
	ended map[string]string,
) (map[string]int, error) {
	counts := map[string]int{}
	var mu sync.Mutex
	var all errgroup.Group
	all.SetLimit(statusConcurrency)
	for _, id := range ids {
		mu.Lock()
		outcome := ended[id]
		if outcome != "" {
			counts[outcome]++
		}
		mu.Unlock()
		if outcome != "" {
			continue
		}
		all.Go(func() error {
			status, err := client.Status(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case status != nil && status.State == tasks.Ended:
				ended[id] = string(status.Outcome)
				counts[ended[id]]++
			case status != nil:
				counts[string(status.State)]++
			case errors.Is(err, tasks.ErrNotFound):
				ended[id] = produce.StateForgotten
				counts[produce.StateForgotten]++
			default:
				return err
			}
			return nil
		})
	}
	return counts, all.Wait()
}
