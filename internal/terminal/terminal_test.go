package terminal_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"errand.internal/internal/terminal"
)

func TestNoControlCharacterReachesTheTerminal(t *testing.T) {
	const hostile = "a\x1b[31mb\r\x00c\u009bd\ne"
	if got, want := terminal.Text(hostile), "a·[31mb··c·d\ne"; got != want {
		t.Errorf("Text: %q, want %q", got, want)
	}
	if got, want := terminal.Line(hostile), "a·[31mb··c·d e"; got != want {
		t.Errorf("Line: %q, want %q", got, want)
	}
	var out bytes.Buffer
	table := terminal.NewTable(&out, "name", "text")
	_ = table.Row("", "one\ntwo\tthree")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "name  text\n-     one two·three\n"; got != want {
		t.Errorf("table:\n%q, want\n%q", got, want)
	}
}

// TestALongTableIsPrintedWhileItIsRead holds that its memory is bounded, and that a closed
// pipe ends it.
func TestALongTableIsPrintedWhileItIsRead(t *testing.T) {
	var out bytes.Buffer
	table := terminal.NewTable(&out, "n")
	for i := range 1000 {
		if err := table.Row(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 1001 {
		t.Errorf("%d of 1001 lines are printed before Flush", n)
	}
	closed := terminal.NewTable(closedPipe{}, "n")
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = closed.Row("x")
	}
	if !errors.Is(err, errClosed) {
		t.Errorf("the error of a closed pipe is %v", err)
	}
}

var errClosed = errors.New("closed")

type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, errClosed }
