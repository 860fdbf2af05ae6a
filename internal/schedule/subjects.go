package schedule

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"unicode/utf8"
)

// Limits of a list of subjects.
const (
	maxSubjects     = 1_000_000
	maxSubjectBytes = 1024
	maxListBytes    = 64 << 20
)

// subjects holds texts one after another in one block of memory: a list of
// 100,000 costs little more than its file.
type subjects struct {
	text []byte
	ends []uint32
}

func (s *subjects) len() int {
	return len(s.ends)
}

func (s *subjects) at(i int) string {
	start := uint32(0)
	if i > 0 {
		start = s.ends[i-1]
	}
	return string(s.text[start:s.ends[i]])
}

// subjectList builds a list of subjects. Its index of duplicates is needed only
// while reading.
type subjectList struct {
	*subjects

	lines   []int32 // where each subject was read
	seed    maphash.Seed
	indices map[uint64][]int32 // by hash
}

func newSubjectList() *subjectList {
	return &subjectList{
		subjects: &subjects{},
		seed:     maphash.MakeSeed(),
		indices:  map[uint64][]int32{},
	}
}

// check says which rule a subject breaks as the next one of the list; "" if none.
func (l *subjectList) check(subject []byte) string {
	switch {
	case len(subject) == 0:
		return "must not be empty"
	case len(subject) > maxSubjectBytes:
		return fmt.Sprintf("must have at most %d bytes", maxSubjectBytes)
	case !utf8.Valid(subject):
		return "is not UTF-8"
	case l.len() == maxSubjects:
		return fmt.Sprintf("exceeds the limit of %d subjects", maxSubjects)
	case len(l.text)+len(subject) > maxListBytes:
		return fmt.Sprintf("exceeds the limit of %d bytes for all subjects together", maxListBytes)
	}
	for _, i := range l.indices[maphash.Bytes(l.seed, subject)] {
		if l.at(int(i)) == string(subject) {
			return fmt.Sprintf("is already in line %d", l.lines[i])
		}
	}
	return ""
}

func (l *subjectList) add(subject []byte, line int) {
	h := maphash.Bytes(l.seed, subject)
	l.indices[h] = append(l.indices[h], int32(l.len()))
	l.lines = append(l.lines, int32(line))
	l.text = append(l.text, subject...)
	l.ends = append(l.ends, uint32(len(l.text)))
}

// lineError is a problem in one line of a subject file; line 0 is the whole file.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string {
	return e.text
}

// readSubjects reads one subject from each line; it skips blank lines and those
// that begin with #. It stops at the first problem, a *lineError unless r or
// check fails otherwise. check checks one subject.
func readSubjects(r io.Reader, check func(subject string) error) (*subjects, error) {
	const longest = maxSubjectBytes + 256 // allows for blanks around it
	scanner := bufio.NewScanner(bufio.NewReaderSize(r, 64<<10))
	scanner.Buffer(make([]byte, 0, longest), longest)
	list := newSubjectList()
	line := 0
	for scanner.Scan() {
		line++
		subject := scanner.Bytes()
		if line == 1 {
			subject = bytes.TrimPrefix(subject, []byte("\xef\xbb\xbf"))
		}
		subject = bytes.TrimSpace(subject)
		if len(subject) == 0 || subject[0] == '#' {
			continue
		}
		if rule := list.check(subject); rule != "" {
			return nil, &lineError{line, "the subject " + rule}
		}
		if err := check(string(subject)); err != nil {
			return nil, atLine(line, err)
		}
		list.add(subject, line)
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		text := fmt.Sprintf("the line is too long: a subject has at most %d bytes", maxSubjectBytes)
		return nil, &lineError{line + 1, text}
	} else if err != nil {
		return nil, err
	}
	if list.len() == 0 {
		return nil, &lineError{0, "has no subjects"}
	}
	list.text = bytes.Clone(list.text) // drops the spare capacity
	return list.subjects, nil
}

func atLine(line int, err error) error {
	if errors.Is(err, errReported) {
		return err
	}
	return &lineError{line, err.Error()}
}
