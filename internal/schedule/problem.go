package schedule

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one problem of a schedule file, or of a subject file that it names.
// It quotes no payload and no subject.
type Problem struct {
	File   string
	Line   int // from 1; 0 for the whole file
	Column int // from 1; 0 for the whole line
	Text   string
}

// Error implements error: file:line:column: text.
func (p Problem) Error() string {
	switch {
	case p.Line == 0:
		return fmt.Sprintf("%s: %s", p.File, p.Text)
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// FileError holds all problems of a schedule file.
type FileError struct{ Problems []Problem }

// Error implements error: one line per problem, in the order of the file.
func (e *FileError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems.
func (e *FileError) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		errs[i] = p
	}
	return errs
}

// newFileError sorts the problems by position, those of the schedule file first,
// then those of each subject file.
func newFileError(main string, problems []Problem) *FileError {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		if (a.File == main) != (b.File == main) {
			if a.File == main {
				return -1
			}
			return 1
		}
		if a.File != b.File {
			return strings.Compare(a.File, b.File)
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return &FileError{
		slices.CompactFunc(problems, func(a, b Problem) bool { return a == b }),
	}
}
