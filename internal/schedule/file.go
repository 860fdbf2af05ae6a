package schedule

import (
	"time"

	"errand.internal/tasks"
)

// File is a schedule file without problems.
type File struct {
	Path      string
	Schedules []*Schedule

	source *reading
}

// Schedule is one entry of the file.
type Schedule struct {
	// Name is unique in the file.
	Name string
	// Type is the type of the tasks.
	Type string
	// Spread is the time over which the tasks of one tick are spread evenly.
	Spread time.Duration

	timing   timing
	template template
	subjects *subjects // nil without forEach
	digest   string    // of all that determines the tasks
}

// When says how often the schedule runs: "every 30s", or the cron expression and
// its zone.
func (s *Schedule) When() string {
	return s.timing.String()
}

// Subjects is the number of tasks of one tick.
func (s *Schedule) Subjects() int {
	if s.subjects == nil {
		return 1
	}
	return s.subjects.len()
}

// Next is the first tick after a time, in the schedule's zone; zero if there is
// none.
func (s *Schedule) Next(after time.Time) time.Time {
	at := s.timing.next(after)
	if at.IsZero() {
		return at
	}
	return at.In(s.zone())
}

func (s *Schedule) zone() *time.Location {
	if s.timing.zone == nil {
		return time.UTC
	}
	return s.timing.zone
}

// Find returns the schedule with a name.
func (f *File) Find(name string) (*Schedule, bool) {
	for _, s := range f.Schedules {
		if s.Name == name {
			return s, true
		}
	}
	return nil, false
}

// Load reads a schedule file and the subject files that it names, and checks
// every payload. types are the vendors whose task types the file may use. The
// error is a *FileError with all problems.
func Load(path string, types tasks.Vendors) (*File, error) {
	return read(path, types).result()
}
