package app_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"errand.internal/internal/apptest"
)

const rulesFolder = "../../deploy/prometheus"

// promtool runs promtool and returns what it prints.
func promtool(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is not installed; install it with `.ci/need promtool`, or put it into the PATH")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = rulesFolder
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func readRules(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(rulesFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// alerts are the names of the alert rules.
func alerts(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range regexp.MustCompile(`(?m)- alert: (\w+)$`).FindAllStringSubmatch(readRules(t, "errand.rules.yml"), -1) {
		names = append(names, m[1])
	}
	if len(names) < 10 {
		t.Fatalf("there are only the alerts %q", names)
	}
	return names
}

// Every alert rings at its fault and is silent without it: its test has an evaluation
// that expects it, and one that does not.
func TestAlertRules(t *testing.T) {
	t.Parallel()
	promtool(t, "", "check", "rules", "errand.rules.yml")
	promtool(t, "", "test", "rules", "errand.rules.test.yml")
	tests := readRules(t, "errand.rules.test.yml")
	for _, name := range alerts(t) {
		if !regexp.MustCompile(`\{eval_time: \w+, alertname: ` + name + `\}`).MatchString(tests) {
			t.Errorf("no test says when %s is silent", name)
		}
		if !regexp.MustCompile(`(?m)^        alertname: ` + name + `\n        exp_alerts:\n`).MatchString(tests) {
			t.Errorf("no test has %s ring", name)
		}
	}
}

// Whoever is woken by an alert finds its section under its name.
func TestEveryAlertHasASection(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, part := range strings.Split(string(raw), "\n## ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		sections[title] = text
	}
	for _, name := range alerts(t) {
		text, found := sections[name]
		if !found {
			t.Errorf("docs/operations.md has no section %s", name)
			continue
		}
		for _, part := range []string{"**Means.** ", "**Run.** ", "**Do.** "} {
			if !strings.Contains(text, part) {
				t.Errorf("the section %s of docs/operations.md lacks %s", name, part)
			}
		}
		delete(sections, name)
	}
	for title := range sections {
		t.Errorf("the section %s of docs/operations.md belongs to no alert", title)
	}
}

// dashboardQueries are the queries of the dashboard.
func dashboardQueries(t *testing.T) []string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readRules(t, "errand.dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var queries []string
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	if len(queries) < 10 {
		t.Fatalf("the dashboard has only %d queries", len(queries))
	}
	return queries
}

func TestDashboardQueriesAreValid(t *testing.T) {
	t.Parallel()
	var file bytes.Buffer
	file.WriteString("groups:\n- name: dashboard\n  rules:\n")
	for _, q := range dashboardQueries(t) {
		quoted, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		file.WriteString("  - {record: dashboard, expr: " + string(quoted) + "}\n")
	}
	path := filepath.Join(t.TempDir(), "queries.yml")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", "--lint=none", path)
}

// selector is a metric's name and its matchers.
var selector = regexp.MustCompile(`\b(errand_\w+)(?:\{([^}]*)\})?`)

// matcher is one of the matchers of a selector.
var matcher = regexp.MustCompile(`(\w+)(=~|!=|=)"([^"]*)"`)

// seen reports whether one of the series has the metric's name and fits its matchers. A
// matcher of several values must find each of them.
func seen(have map[string]string, name, matchers string) bool {
	wanted := []string{""}
	for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
		if m[2] == "!=" {
			continue // any series will do
		}
		var longer []string
		for _, w := range wanted {
			for value := range strings.SplitSeq(m[3], "|") {
				longer = append(longer, w+"\x00"+m[1]+`="`+value+`"`)
			}
		}
		wanted = longer
	}
	for _, w := range wanted {
		found := false
		for series := range have {
			rest, named := strings.CutPrefix(series, name)
			fits := named && (rest == "" || rest[0] == '{')
			for pair := range strings.SplitSeq(w, "\x00") {
				fits = fits && strings.Contains(rest, pair)
			}
			found = found || fits
		}
		if !found {
			return false
		}
	}
	return true
}

// A rule about a series that nobody writes never rings. Every series that a rule or the
// dashboard names is there when a worker has just started.
func TestAFreshWorkerHasEverySeriesOfTheRules(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.Receive(apptest.NewReceiver(t, 200))
	f.Environ["DCKAP_TOKEN_EXPIRES_ON"] = "2031-01-31"
	f.Environ["DANACONNECT_RATE"] = "100/1s"
	f.Environ["OTP_RECIPIENT_LIMIT"] = "5/10m"
	f.Environ["OTP_ACCOUNT_LIMIT"] = "100/1h"
	f.Environ["SCHEDULE_FILE"] = filepath.Join(t.TempDir(), "schedule.yaml")
	schedule := `schedules:
  - name: structure
    every: 24h
    type: anna:messenger:structure
    payload: {}
`
	if err := os.WriteFile(f.Environ["SCHEDULE_FILE"], []byte(schedule), 0o600); err != nil {
		t.Fatal(err)
	}
	w := f.Start(t)
	have := series(t, w)
	queries := dashboardQueries(t)
	for line := range strings.Lines(readRules(t, "errand.rules.yml")) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			queries = append(queries, line)
		}
	}
	named := map[string]bool{}
	for _, q := range queries {
		for _, s := range selector.FindAllStringSubmatch(q, -1) {
			named[s[1]] = true
			if !seen(have, s[1], s[2]) {
				t.Errorf("a fresh worker has not every series of %s, which %s names", s[0], strings.TrimSpace(q))
			}
		}
	}
	if len(named) < 15 {
		t.Errorf("the rules name only %d metrics", len(named))
	}
	if seen(have, "errand_tasks_finished_total", `outcome=~"unknown|nonsense"`) {
		t.Error("a series that there is not was found")
	}

	_, body := w.Get(t, "/metrics")
	if out := promtool(t, body, "check", "metrics"); strings.TrimSpace(out) != "" {
		t.Errorf("promtool check metrics: %s", out)
	}
}
