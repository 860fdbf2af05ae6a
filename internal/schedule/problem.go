package schedule

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault in a schedule file, or in a file of subjects that it
// names. It quotes no payload and no subject.
type Problem struct {
	File string
	// Line and Column count from 1; 0 where there is none to name.
	Line, Column int
	Text         string
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

// FileError is all that is wrong with a schedule file.
type FileError struct{ Problems []Problem }

// Error implements error: one line for each problem, in the order of the file.
func (e *FileError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems.
func (e *FileError) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		errs[i] = p
	}
	return errs
}

// newFileError sorts the problems: those of the schedule file by their place,
// then those of each file of subjects.
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
