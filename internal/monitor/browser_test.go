//go:build browser

package monitor_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"errand.internal/internal/monitor"
)

// chromium returns the path of the browser, which has different names on Debian,
// Alpine, other distributions and macOS.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{
		"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "headless-shell",
		"/Applications/Chromium.app/Contents/MacOS/Chromium",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
	} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("Chromium is not installed; install it with `apt-get install chromium` or `brew install chromium`")
	return ""
}

// findings collects what the browser reports.
type findings struct {
	mu         sync.Mutex
	exceptions []string
	errors     []string // from the console and the content policy
	responses  []string // URLs
}

func (f *findings) add(event any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		f.exceptions = append(f.exceptions, text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			f.errors = append(f.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	case *network.EventResponseReceived:
		f.responses = append(f.responses, e.Response.URL)
	}
}

func (f *findings) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("exceptions %q, errors %q", f.exceptions, f.errors)
}

// TestBrowserShowsTheQueues loads the web UI in a real browser: only a browser
// enforces the content policy.
func TestBrowserShowsTheQueues(t *testing.T) {
	base, _ := start(t, monitor.Config{ReadOnly: true}, nil)
	alloc, cancel := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(chromium(t)),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.WSURLReadTimeout(time.Minute),
	)
	defer cancel()
	seen := &findings{}
	browser, cancel := chromedp.NewContext(alloc, chromedp.WithListener(seen.add))
	defer cancel()
	if err := chromedp.Do(browser); err != nil { // its context bounds the browser's lifetime
		t.Fatalf("start Chromium: %v", err)
	}
	ctx, cancel := context.WithTimeout(browser, 2*time.Minute)
	defer cancel()

	// Poll and Evaluate are not subject to the page's content policy.
	pageText := chromedp.Evaluate[string](`document.body.innerText`)
	shows := func(path string, want ...string) {
		t.Helper()
		var conditions []string
		for _, w := range want {
			conditions = append(conditions, fmt.Sprintf(`document.body.innerText.includes(%q)`, w))
		}
		err := chromedp.Do(ctx, chromedp.Navigate(base+path))
		if err == nil {
			_, err = chromedp.Run(
				ctx,
				chromedp.Poll[bool](strings.Join(conditions, " && "), chromedp.WithPollingTimeout(40*time.Second)),
			)
		}
		text, textErr := chromedp.Run(ctx, pageText)
		if err := errors.Join(err, textErr); err != nil {
			t.Fatalf("%s does not show %q: %v\nit shows: %s\nthe browser says: %s", path, want, err, text, seen)
		}
		if strings.Contains(text, canary) {
			t.Errorf("%s shows the payload: %s", path, text)
		}
	}
	shows("/monitoring/", "Queues", "otp")
	shows("/monitoring/queues/otp?status=pending", "danaconnect:otp:send", "masked")
	shows("/monitoring/queues/otp/tasks/otp-1", "otp-1", "danaconnect:otp:send masked")
	shows("/monitoring/redis", "Redis")

	seen.mu.Lock()
	defer seen.mu.Unlock()
	if len(seen.exceptions) > 0 {
		t.Errorf("scripts failed: %q", seen.exceptions)
	}
	for _, text := range seen.errors {
		// asynqmon requests these fonts and the policy blocks them.
		if !strings.Contains(text, "https://fonts.googleapis.com/") {
			t.Errorf("the browser reports an error: %s", text)
		}
	}
	own, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	if len(seen.responses) == 0 {
		t.Error("the browser received no responses")
	}
	for _, response := range seen.responses {
		if u, err := url.Parse(response); err != nil || u.Scheme != "data" && u.Host != own.Host {
			t.Errorf("the page fetched from another host: %s", response)
		}
	}
}
