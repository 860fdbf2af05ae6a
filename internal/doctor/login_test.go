package doctor_test

import (
	"strings"
	"testing"
	"time"

	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// What a login was answered with, other than a token or a refusal, stands with its status
// wherever an operator looks: in the task's status, in the log, and in the doctor's report.
func TestWhatALoginWasAnsweredWithIsSaid(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		fault sandbox.Fault
		wants []string
	}{
		{"a wrong token URL", sandbox.Fault{Status: 404, HTML: true}, []string{"HTTP 404"}},
		{"an answer that cannot be read", sandbox.Fault{HTML: true}, []string{"HTTP 200", "web page"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			tc.fault.Op = dinerotest.OpToken
			f.dinero.Inject(tc.fault)
			w := f.Start(t)
			ticket, err := tasks.Enqueue(t.Context(), w.Client, listContacts)
			if err != nil {
				t.Fatal(err)
			}
			var status *tasks.Status
			testwait.Eventually(t, time.Minute, "the task is parked", func() bool {
				status, err = w.Client.Status(t.Context(), ticket.ID)
				return err == nil && status.State == tasks.Parked
			})
			report := runDoctor(t, f.Environ)
			for _, want := range tc.wants {
				if len(status.History) != 0 || !strings.Contains(status.Message, want) {
					t.Errorf("the status has %q and %d attempts", status.Message, len(status.History))
				}
				if line := lineWith(w.Log.String(), ticket.ID); !strings.Contains(line, want) {
					t.Errorf("the log says %s", line)
				}
				report.want(t, "FAIL", "dinero credential dinero-123456", want)
			}
		})
	}
}

// lineWith is the first line of a text with some part.
func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}
