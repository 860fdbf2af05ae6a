package doctor_test

import (
	"context"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/internal/app"
	"errand.internal/internal/redistest"
)

// clinic is what the doctor looks at: a Redis and the vendors' sandboxes, but
// no worker.
type clinic struct {
	redis   *redistest.Server
	anna    *annatest.Sandbox
	environ map[string]string
}

const (
	keyOne = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	keyTwo = "k2:ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

func newClinic(t *testing.T, opts ...redistest.Option) *clinic {
	t.Helper()
	c := &clinic{redis: redistest.New(t, opts...), anna: annatest.New(annatest.Options{})}
	anna, otp := httptest.NewServer(c.anna), httptest.NewServer(danaconnecttest.New(danaconnecttest.Options{}))
	t.Cleanup(anna.Close)
	t.Cleanup(otp.Close)
	c.environ = map[string]string{
		"REDIS_URL":                c.redis.URL(),
		"ENCRYPTION_KEYS":          keyOne,
		"DANACONNECT_OTP_URL":      otp.URL + "/otp/1.0",
		"DANACONNECT_CONTACTS_URL": otp.URL + "/api/contacts",
		"DANACONNECT_USERNAME":     danaconnecttest.Username,
		"DANACONNECT_COMPANY":      danaconnecttest.Company,
		"DANACONNECT_PASSWORD":     danaconnecttest.Password,
		"ANNA_URL":                 anna.URL,
		"ANNA_COMPANY_HASH":        "sandbox-company",
		"ANNA_USER":                "sandbox-user",
		"ANNA_PASSWORD":            "sandbox-password",
	}
	return c
}

// with is the settings with some changed.
func (c *clinic) with(change map[string]string) map[string]string {
	environ := maps.Clone(c.environ)
	maps.Copy(environ, change)
	return environ
}

// work runs a worker until the test ends, and tells where its admin HTTP is.
func (c *clinic) work(t *testing.T) (adminAddr string, log *eventLog) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log = &eventLog{wrote: make(chan struct{}, 1)}
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- app.Worker{Environ: c.environ, Stderr: log, Ready: func(addr string) { ready <- addr }}.Run(ctx)
	}()
	select {
	case adminAddr = <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return adminAddr, log
}

// eventLog is a log that a test waits for.
type eventLog struct {
	syncBuffer
	wrote chan struct{}
}

func (l *eventLog) Write(p []byte) (int, error) {
	n, err := l.syncBuffer.Write(p)
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return n, err
}

// wait returns when the log holds text.
func (l *eventLog) wait(ctx context.Context, text string) error {
	for !strings.Contains(l.String(), text) {
		select {
		case <-l.wrote:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (c *clinic) logins() int { return c.anna.Calls(annatest.OpToken) }

// report is a doctor's text.
type report struct {
	ok   bool
	text string
}

func examine(t *testing.T, environ map[string]string) report {
	t.Helper()
	d := app.Doctor(t.Context(), environ)
	var b strings.Builder
	if err := d.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return report{d.OK(), b.String()}
}

// wants looks for a line: its level, its name and a part of the rest. A want
// that begins with "fix: " is looked for in the line below.
func (r report) wants(t *testing.T, level, name, text string, fix ...string) {
	t.Helper()
	all := strings.Split(r.text, "\n")
	for i, line := range all {
		fields := strings.SplitN(line, "  ", 2)
		if strings.TrimSpace(fields[0]) != level || len(fields) < 2 {
			continue
		}
		got, seen, _ := strings.Cut(strings.TrimLeft(fields[1], " "), "  ")
		if got != name || !strings.Contains(seen, text) {
			continue
		}
		for _, f := range fix {
			if !strings.Contains(all[i+1], "fix: "+f) {
				t.Errorf("%s: fix %q, want %q", name, strings.TrimSpace(all[i+1]), f)
			}
		}
		return
	}
	t.Errorf("no line %s %s with %q in\n%s", level, name, text, r.text)
}
