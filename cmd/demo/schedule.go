package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// schedules is what the demo's worker runs by itself.
const schedules = `schedules:
  - name: demo-alerts
    every: 2s
    type: anna:messenger:alerts
    forEach: {userId: [` + staying + `]}
`

// scheduleFile writes the schedule into a directory that remove takes away.
func scheduleFile() (path string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "errand-demo")
	if err != nil {
		return "", nil, fmt.Errorf("make a place for the schedule: %w", err)
	}
	remove = func() {
		_ = os.RemoveAll(dir)
	}
	path = filepath.Join(dir, "schedules.yaml")
	if err := os.WriteFile(path, []byte(schedules), 0o600); err != nil {
		remove()
		return "", nil, fmt.Errorf("write the schedule: %w", err)
	}
	return path, remove, nil
}
