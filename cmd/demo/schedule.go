package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"errand.internal/internal/demo"
)

// scheduleList returns the vendors' schedules as a YAML list, "" if there are
// none.
func scheduleList(vendors []demo.Vendor) string {
	var list strings.Builder
	for _, v := range vendors {
		list.WriteString(v.Schedules)
	}
	return list.String()
}

// writeSchedules writes a schedule file into a directory of its own, which remove
// deletes.
func writeSchedules(list string) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "errand-demo")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the schedule file: %w", err)
	}
	remove = func() {
		_ = os.RemoveAll(dir)
	}
	path = filepath.Join(dir, "schedules.yaml")
	if err := os.WriteFile(path, []byte("schedules:\n"+list), 0o600); err != nil {
		remove()
		return "", nil, fmt.Errorf("write the schedule file: %w", err)
	}
	return path, remove, nil
}
