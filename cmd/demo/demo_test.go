package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTheStoryComesOutRight(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"-once"}, &out, &errs); err != nil {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	if strings.Contains(out.String(), "WRONG") || strings.Count(out.String(), "  ok  ") < 8 {
		t.Errorf("story:\n%s", out.String())
	}
}

func TestBadFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-nosuch"}, {"extra"}, {"-vendors-only", "-addr", "nowhere"}} {
		var out, errs bytes.Buffer
		if err := run(t.Context(), args, &out, &errs); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}
