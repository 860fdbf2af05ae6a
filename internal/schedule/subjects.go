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
	maxSubjects    = 1_000_000
	maxSubjectLen  = 1024     // bytes
	maxSubjectText = 64 << 20 // bytes, all together
)

// subjects are texts, one after another in one block of memory: a list of
// 100,000 costs little more than its file.
type subjects struct {
	text []byte
	ends []uint32
}

func (s *subjects) add(subject []byte) {
	s.text = append(s.text, subject...)
	s.ends = append(s.ends, uint32(len(s.text)))
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

// seen finds a subject that comes twice. It is needed while reading only.
type seen struct {
	seed  maphash.Seed
	first map[uint64][]int32 // hash -> indices
}

func newSeen() *seen {
	return &seen{maphash.MakeSeed(), map[uint64][]int32{}}
}

// before is the index at which a subject stands in the list already, or -1.
func (s *seen) before(list *subjects, subject []byte) int {
	for _, i := range s.first[maphash.Bytes(s.seed, subject)] {
		if list.at(int(i)) == string(subject) {
			return int(i)
		}
	}
	return -1
}

// add adds a subject to the list, and notes it.
func (s *seen) add(list *subjects, subject []byte) {
	h := maphash.Bytes(s.seed, subject)
	s.first[h] = append(s.first[h], int32(list.len()))
	list.add(subject)
}

// subjectRule says what is wrong with a subject, "" if nothing is.
func subjectRule(subject []byte) string {
	switch {
	case len(subject) == 0:
		return "must not be empty"
	case len(subject) > maxSubjectLen:
		return fmt.Sprintf("must have at most %d bytes", maxSubjectLen)
	case !utf8.Valid(subject):
		return "is not UTF-8"
	}
	return ""
}

// errLine is a fault in one line of a file of subjects.
type errLine struct {
	line int
	text string
}

func (e *errLine) Error() string {
	return e.text
}

// readSubjects reads one subject from each line; blank lines and those that
// begin with # are left out. It stops at the first fault, an *errLine unless r
// fails. check looks at each subject.
func readSubjects(r io.Reader, check func(subject string) error) (*subjects, error) {
	lines := bufio.NewScanner(bufio.NewReaderSize(r, 64<<10))
	const longest = maxSubjectLen + 256 // some blanks around it
	lines.Buffer(make([]byte, 0, longest), longest)
	list := &subjects{}
	known := newSeen()
	at := []int32{}
	n := 0
	for lines.Scan() {
		n++
		subject := lines.Bytes()
		if n == 1 {
			subject = bytes.TrimPrefix(subject, []byte("\xef\xbb\xbf"))
		}
		subject = bytes.TrimSpace(subject)
		if len(subject) == 0 || subject[0] == '#' {
			continue
		}
		rule := subjectRule(subject)
		if rule == "" && list.len() == maxSubjects {
			rule = fmt.Sprintf("is one too many: at most %d are allowed", maxSubjects)
		}
		if rule == "" && len(list.text)+len(subject) > maxSubjectText {
			rule = fmt.Sprintf(
				"is one too many: all together may have at most %d bytes",
				maxSubjectText,
			)
		}
		if rule == "" {
			if i := known.before(list, subject); i >= 0 {
				rule = fmt.Sprintf("stands in line %d already", at[i])
			}
		}
		if rule != "" {
			return nil, &errLine{n, "the subject " + rule}
		}
		if err := check(string(subject)); errors.Is(err, errElsewhere) {
			return nil, err
		} else if err != nil {
			return nil, &errLine{n, err.Error()}
		}
		known.add(list, subject)
		at = append(at, int32(n))
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, &errLine{
			n + 1,
			fmt.Sprintf(
				"the line is too long: a subject has at most %d bytes",
				maxSubjectLen,
			),
		}
	} else if err != nil {
		return nil, err
	}
	if list.len() == 0 {
		return nil, &errLine{0, "holds no subject"}
	}
	list.text = bytes.Clone(list.text) // without what append has kept in reserve
	return list, nil
}
