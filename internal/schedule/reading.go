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

	"github.com/goccy/go-yaml/ast"

	"errand.internal/tasks"
)

// maxFileBytes bounds the schedule file: parsing YAML takes a hundred times its
// size in memory. Long lists of subjects have files of their own.
const maxFileBytes = 1 << 20

// reading is the result of reading a schedule file once: the file or its
// problems, and what was read to get there.
type reading struct {
	path     string
	types    tasks.Vendors
	file     *File
	problems []Problem
	sources  []source
	content  hash.Hash // of all files read
}

// source is a file as it was when it was read; info is nil if it could not be
// opened.
type source struct {
	path string
	info fs.FileInfo
}

func read(path string, types tasks.Vendors) *reading {
	r := &reading{
		path:    path,
		types:   types,
		content: sha256.New(),
	}
	raw, err := r.readAll(path)
	if err != nil {
		r.report(path, position{}, cannotRead(err))
		return r
	}
	r.parse(raw)
	if r.file != nil {
		r.file.source = r
	}
	return r
}

func (r *reading) report(file string, at position, text string) {
	r.problems = append(r.problems, Problem{
		File:   file,
		Line:   at.line,
		Column: at.column,
		Text:   text,
	})
}

func (r *reading) result() (*File, error) {
	if len(r.problems) > 0 {
		return nil, newFileError(r.path, r.problems)
	}
	return r.file, nil
}

// fingerprint tells readings apart. It includes the problems, because a reading
// with problems may have stopped before the end of a file.
func (r *reading) fingerprint() string {
	_, err := r.result()
	return fmt.Sprintf("%x %v", r.content.Sum(nil), err)
}

func (r *reading) open(path string) (*os.File, error) {
	i := len(r.sources)
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
	r.sources[i].info = info
	return f, nil
}

func (r *reading) readAll(path string) ([]byte, error) {
	f, err := r.open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = f.Close()
	}()
	raw, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(raw) > maxFileBytes {
		err = fmt.Errorf(
			"it has more than %d bytes; move long lists to files of their own, forEach: {field: \"@file\"}",
			maxFileBytes,
		)
	}
	r.content.Write(raw)
	return raw, err
}

// cannotRead leaves the path out of an error: the problem names the file already.
func cannotRead(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return "cannot be read: " + err.Error()
}

// readSubjectFile reads a subject file, whose name is relative to the schedule
// file. It reports the problem and returns nil if there is one.
func (r *reading) readSubjectFile(name string, check func(subject string) error) *subjects {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(r.path), path)
	}
	f, err := r.open(path)
	if err != nil {
		r.report(path, position{}, cannotRead(err))
		return nil
	}
	defer func() {
		_ = f.Close()
	}()
	list, err := readSubjects(io.TeeReader(f, r.content), check)
	if err == nil {
		return list
	}
	if wrong, ok := errors.AsType[*lineError](err); ok {
		r.report(path, position{line: wrong.line}, wrong.text)
	} else if !errors.Is(err, errReported) {
		r.report(path, position{}, cannotRead(err))
	}
	return nil
}

func (r *reading) parse(raw []byte) {
	body, faults := parseDocument(raw)
	for _, f := range faults {
		r.report(r.path, f.at, f.text)
	}
	if len(faults) > 0 {
		return
	}
	if body == nil {
		r.report(r.path, position{}, "schedules is missing")
		return
	}
	top, ok := body.(*ast.MappingNode)
	if !ok {
		r.report(r.path, positionOf(body), "must begin with schedules:")
		return
	}
	var doc document
	for _, f := range decode(top, &doc) {
		r.report(r.path, f.at, f.text)
	}
	list, isList := doc.Schedules.(*ast.SequenceNode)
	switch at := keyPosition(top, "schedules", position{}); {
	case at == position{}:
		r.report(r.path, positionOf(top), "schedules is missing")
	case doc.Schedules != nil && !isList:
		r.report(r.path, at, "schedules must be a list")
	case isList:
		r.parseEntries(list)
	}
}

func (r *reading) parseEntries(list *ast.SequenceNode) {
	r.file = &File{Path: r.path}
	names := map[string]position{}
	for i, n := range list.Values {
		p := entryParser{
			reading: r,
			label:   fmt.Sprintf("schedule %d", i+1),
			names:   names,
		}
		if s := p.parse(n); s != nil {
			r.file.Schedules = append(r.file.Schedules, s)
		}
	}
}
