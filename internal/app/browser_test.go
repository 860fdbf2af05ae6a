//go:build browser

package app_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// browserCanary is personal data in every payload, and may be on no page.
const browserCanary = "canary-ana@example.com"

// pages is a browser before the web UI of a running worker.
type pages struct {
	t    *testing.T
	ctx  context.Context
	base string
	w    *apptest.Worker
	f    *fixture
}

func openPages(t *testing.T) *pages {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("Chromium is not installed; install it with `.ci/need chromium`")
	}
	f := newFixture(t)
	f.Only("danaconnect", "dinero")
	f.Environ["MONITORING_READ_ONLY"] = "false"
	f.Environ["WORKER_QUEUES"] = "otp=5,danaconnect=5,dinero=5,events=1"
	w := f.Start(t)
	alloc, cancel := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	t.Cleanup(cancel)
	browser, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	ctx, cancel := context.WithTimeout(browser, 5*time.Minute)
	t.Cleanup(cancel)
	return &pages{t: t, ctx: ctx, base: "http://" + w.Admin, w: w, f: f}
}

// eval runs a script on the page.
func (p *pages) eval(script string) string {
	p.t.Helper()
	got, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](script))
	if err != nil {
		p.t.Fatalf("%s: %v", script, err)
	}
	return got
}

// wait waits until an expression of the page is true.
func (p *pages) wait(what, expression string) {
	p.t.Helper()
	_, err := chromedp.Run(p.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(30*time.Second)))
	if err != nil {
		p.t.Fatalf("%s: %v; the page shows: %s", what, err, p.eval("document.body.innerText"))
	}
}

// open opens a page that must show a text, and no canary.
func (p *pages) open(path, shows string) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, chromedp.Navigate(p.base+"/monitoring"+path)); err != nil {
		p.t.Fatal(err)
	}
	p.wait(path+" shows "+shows, fmt.Sprintf("document.body.innerText.includes(%q)", shows))
	if text := p.eval("document.documentElement.outerHTML"); strings.Contains(text, browserCanary) {
		p.t.Errorf("%s shows personal data", path)
	}
}

// passcode is a task whose payload is personal.
func (p *pages) passcode(opts ...tasks.Option) string {
	p.t.Helper()
	ticket, err := tasks.Enqueue(p.t.Context(), p.w.Client, otpFor(browserCanary), opts...)
	if err != nil {
		p.t.Fatal(err)
	}
	return ticket.ID
}

// prepare brings a task into a state of asynq's and returns its queue and ID.
func (p *pages) prepare(state string) (queue, id string) {
	p.t.Helper()
	p.f.danaconnect.Clear("")
	p.f.dinero.Clear("")
	ctx := p.t.Context()
	switch state {
	case "pending":
		if err := p.f.Redis.Client().Set(ctx, "asynq:{otp}:paused", 1, 0).Err(); err != nil {
			p.t.Fatal(err)
		}
		id = p.passcode()
	case "scheduled":
		id = p.passcode(tasks.In(time.Hour))
	case "retry":
		p.f.dinero.Inject(sandbox.Fault{Op: dinerotest.OpContactFind, Status: 503, RetryAfter: "600"})
		ticket, err := tasks.Enqueue(ctx, p.w.Client, listContacts)
		if err != nil {
			p.t.Fatal(err)
		}
		queue, id = "dinero", ticket.ID
	case "archived":
		p.f.danaconnect.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Status: 500})
		id = p.passcode()
	case "completed":
		id = p.passcode()
	case "active":
		p.f.danaconnect.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Delay: 8 * time.Second})
		id = p.passcode()
	}
	if queue == "" {
		queue = "otp"
	}
	testwait.Eventually(p.t, time.Minute, "the task is "+state, func() bool {
		return p.f.Redis.Client().HGet(ctx, "asynq:{"+queue+"}:t:"+id, "state").Val() == state
	})
	return queue, id
}

// press presses a button of the task's row.
func (p *pages) press(id, button string) {
	p.t.Helper()
	row := fmt.Sprintf(`[...document.querySelectorAll("tbody tr")].find(r => r.innerText.includes(%q))`, id)
	p.wait("the task is listed", row+" !== undefined")
	find := row + fmt.Sprintf(`.querySelector('button[title="%[1]s"], button[aria-label="%[1]s"], [title="%[1]s"] button, [aria-label="%[1]s"] button')`, button)
	p.eval(row + `.lastElementChild.querySelector("button").click(), ""`) // shows the row's buttons
	p.wait("the row has the button "+button, find+" !== null")
	p.eval(find + `.click(), ""`)
}

// Every button on every state, in a real browser: what the page says is what has become
// of the task.
func TestBrowserButtons(t *testing.T) {
	p := openPages(t)
	for _, tc := range []struct {
		state, button string
		// refusal is what the page shows then, "" if the task is where outcome says.
		refusal string
		outcome tasks.Outcome
	}{
		{state: "pending", button: "Delete", outcome: tasks.Cancelled},
		{state: "pending", button: "Archive", refusal: "was never attempted"},
		{state: "scheduled", button: "Delete", outcome: tasks.Cancelled},
		{state: "scheduled", button: "Archive", refusal: "was never attempted"},
		{state: "scheduled", button: "Run", outcome: tasks.Done},
		{state: "retry", button: "Delete", outcome: tasks.Failed},
		{state: "retry", button: "Archive", outcome: tasks.Failed},
		{state: "retry", button: "Run", outcome: tasks.Done},
		{state: "archived", button: "Delete", outcome: tasks.Unknown},
		{state: "archived", button: "Run", refusal: "has ended unknown"},
		{state: "completed", button: "Delete", outcome: tasks.Done},
		{state: "active", button: "Cancel", refusal: "cannot be taken back"},
	} {
		queue, id := p.prepare(tc.state)
		before, err := p.w.Client.Status(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		p.open("/queues/"+queue+"?status="+tc.state, id)
		if tc.state == "retry" && tc.button == "Run" {
			p.f.dinero.Clear("")
		}
		p.press(id, tc.button)
		if tc.refusal != "" {
			p.wait(tc.state+", "+tc.button, fmt.Sprintf(
				`(document.querySelector("#errand-refusal") || {innerText: ""}).innerText.includes(%q)`, tc.refusal))
			after, err := p.w.Client.Status(t.Context(), id)
			if err != nil || after.State != before.State || after.Outcome != before.Outcome {
				t.Errorf("%s, %s was refused, and changed %+v to %+v (%v)", tc.state, tc.button, before, after, err)
			}
		} else {
			var after *tasks.Status
			ended := testwait.Poll(20*time.Second, func() bool {
				after, err = p.w.Client.Status(t.Context(), id)
				return err == nil && after.Outcome == tc.outcome
			})
			if !ended {
				t.Errorf("%s, %s: %+v (%v), want it to end %s; the page shows %s",
					tc.state, tc.button, after, err, tc.outcome, p.eval("document.body.innerText"))
			}
		}
		if tc.state == "pending" {
			p.f.Redis.Client().Del(t.Context(), "asynq:{otp}:paused")
		}
	}
	for path, shows := range map[string]string{
		"/":           "otp",
		"/servers":    "dinero",
		"/schedulers": "Scheduler",
		"/redis":      "Redis",
		"/q/metrics":  "errand_workers",
	} {
		p.open(path, shows)
	}
}
