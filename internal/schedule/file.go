package schedule

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// maxFile bounds the schedule file, in bytes: YAML takes a hundred times its
// size to read. Long lists of subjects have files of their own.
const maxFile = 1 << 20

// File is a schedule file that has been read and found right.
type File struct {
	Path      string
	Schedules []*Schedule

	from *reading
}

// Schedule is one entry of the file.
type Schedule struct {
	// Name is unique in the file.
	Name string
	// Type of the tasks.
	Type string
	// Spread is the time over which the tasks of one tick are spread evenly.
	Spread time.Duration

	timing   timing
	template template
	subjects *subjects // nil without forEach
	digest   string    // of all that the tasks are made from
}

// When says how often, as "every 30s" or as the cron expression and its zone.
func (s *Schedule) When() string {
	return s.timing.String()
}

// Subjects is how many tasks one tick has.
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

// Load reads a schedule file and the files of subjects that it names, and
// checks every payload. What is wrong comes as a *FileError with all of it.
func Load(path string) (*File, error) {
	return read(path).result()
}

// reading is one look at a schedule file: what it holds or what is wrong, and
// what was looked at.
type reading struct {
	path     string
	file     *File
	problems []Problem
	sources  []source
	content  hash.Hash
}

// source is a file as it was when it was read; info is nil if there was none.
type source struct {
	path string
	info fs.FileInfo
}

func read(path string) *reading {
	r := &reading{path: path, content: sha256.New()}
	raw, err := r.bytes(path)
	if err != nil {
		r.problems = append(r.problems, Problem{File: path, Text: cannotRead(err)})
		return r
	}
	r.parse(raw)
	if r.file != nil {
		r.file.from = r
	}
	return r
}

func (r *reading) result() (*File, error) {
	if len(r.problems) > 0 {
		return nil, newFileError(r.path, r.problems)
	}
	return r.file, nil
}

// sum tells readings apart by content, also wrong ones, which were perhaps not
// read to their end.
func (r *reading) sum() string {
	_, err := r.result()
	return fmt.Sprintf("%x %v", r.content.Sum(nil), err)
}

func (r *reading) open(path string) (*os.File, error) {
	at := len(r.sources)
	r.sources = append(r.sources, source{path: path})
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.sources[at].info = info
	return f, nil
}

func (r *reading) bytes(path string) ([]byte, error) {
	f, err := r.open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = f.Close()
	}()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf(
			"it has more than %d bytes; long lists belong into a file, forEach: {field: \"@file\"}",
			maxFile,
		)
	}
	r.content.Write(raw)
	return raw, err
}

// cannotRead leaves the path out of a fault, which names the file already.
func cannotRead(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return "cannot be read: " + err.Error()
}

// subjectsFrom reads a file of subjects, relative to the schedule file. It
// reports what is wrong there.
func (r *reading) subjectsFrom(name string, check func(string) error) *subjects {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(r.path), path)
	}
	fault := func(line int, text string) *subjects {
		r.problems = append(r.problems, Problem{
			File: path,
			Line: line,
			Text: text,
		})
		return nil
	}
	f, err := r.open(path)
	if err != nil {
		return fault(0, cannotRead(err))
	}
	defer func() {
		_ = f.Close()
	}()
	list, err := readSubjects(io.TeeReader(f, r.content), check)
	if wrong, ok := errors.AsType[*errLine](err); ok {
		return fault(wrong.line, wrong.text)
	}
	if errors.Is(err, errElsewhere) {
		return nil
	}
	if err != nil {
		return fault(0, cannotRead(err))
	}
	return list
}

func (r *reading) parse(raw []byte) {
	fault := func(at place, text string) {
		r.problems = append(r.problems, Problem{
			File:   r.path,
			Line:   at.line,
			Column: at.column,
			Text:   text,
		})
	}
	body := readYAML(raw, fault)
	if len(r.problems) > 0 {
		return
	}
	if body == nil {
		fault(place{}, "schedules is missing")
		return
	}
	top, ok := members(body)
	if !ok {
		fault(placeOf(body), "must begin with schedules:")
		return
	}
	r.file = &File{Path: r.path}
	found := false
	names := map[string]place{}
	for _, m := range top {
		if m.name != "schedules" {
			fault(m.key, unknown(m.name, "schedules"))
			continue
		}
		found = true
		list, ok := m.value.(*ast.SequenceNode)
		if !ok {
			fault(m.key, "schedules must be a list")
			continue
		}
		for i, entry := range list.Values {
			d := draft{
				r:     r,
				label: fmt.Sprintf("schedule %d", i+1),
				names: names,
			}
			if s := d.read(entry); s != nil {
				r.file.Schedules = append(r.file.Schedules, s)
			}
		}
	}
	if !found {
		fault(placeOf(body), "schedules is missing")
	}
}
