package schedule

import (
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/ast"

	"errand.internal/tasks/all"
)

// FuzzCron parses expressions in zones whose clocks change. A slot is the first one
// after a time, none is skipped, and outside of a clock change its local time is one
// that the expression names.
func FuzzCron(f *testing.F) {
	for _, text := range []string{
		"*/5 8-18 * * 1-5",
		"30 2 * * *",
		"0 0 29 2 *",
		"0 0 31 */2 7",
		"*/7 0-23 * * *",
		"59 23 31 12 ?",
		"0 0 1 JAN mon",
		"CRON_TZ=UTC 0 0 * * *",
		"0 0 30 2 *",
		"1-0 * * * *",
	} {
		f.Add(text, int64(1743300000), 0)
		f.Add(text, int64(1761440000), 2)
	}
	var zones []*time.Location
	for _, name := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			f.Fatal(err)
		}
		zones = append(zones, zone)
	}
	f.Fuzz(func(t *testing.T, text string, unix int64, zone int) {
		const years = 60 * 366 * 24 * 3600 // from 1970; the zones have no rules for times far away
		after := time.Unix((unix%years+years)%years, 0)
		where := zones[(zone%len(zones)+len(zones))%len(zones)]
		parsed, err := parseCron(text, where)
		if err != nil {
			return
		}
		slot := parsed.next(after)
		if slot.IsZero() {
			return // the day is too rare
		}
		switch second := parsed.next(slot); {
		case !slot.After(after):
			t.Errorf("%q in %s: the slot after %s is %s", text, where, after, slot)
		case !parsed.next(slot.Add(-time.Second)).Equal(slot):
			t.Errorf("%q in %s: %s is a slot, and a second before it the next is another", text, where, slot)
		case !second.IsZero() && !second.After(slot):
			t.Errorf("%q in %s: the slot after %s is %s", text, where, slot, second)
		case slot.Second() != 0:
			t.Errorf("%q in %s: the slot %s is not a whole minute", text, where, slot)
		}
		if steady(slot, where) {
			if got := parsed.cron.Next(wallClock(slot.In(where)).Add(-time.Second)); !got.Equal(wallClock(slot.In(where))) {
				t.Errorf("%q in %s: %s does not match", text, where, slot.In(where))
			}
		}
		if steady(after, where) && steady(slot, where) {
			for at := after.Truncate(time.Minute).Add(time.Minute); at.Before(slot) && at.Sub(after) < time.Hour; at = at.Add(time.Minute) {
				local := wallClock(at.In(where))
				if local.Second() == 0 && parsed.cron.Next(local.Add(-time.Second)).Equal(local) {
					t.Errorf("%q in %s: %s matches and is skipped", text, where, at.In(where))
				}
			}
		}
	})
}

// steady says that the clocks of a zone do not change within two days of a time.
func steady(at time.Time, zone *time.Location) bool {
	_, before := at.Add(-48 * time.Hour).In(zone).Zone()
	_, now := at.In(zone).Zone()
	_, later := at.Add(48 * time.Hour).In(zone).Zone()
	return before == now && now == later
}

// FuzzEvery parses periods. Slots are that far apart, and aligned whatever the start.
func FuzzEvery(f *testing.F) {
	for _, text := range []string{"30s", "5m", "24h", "8784h", "1.5s", "0", "-1s", "1h0m0.0s", "9999999999h"} {
		f.Add(text, int64(1743300000))
		f.Add(text, int64(-1))
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		parsed, err := parseEvery(text)
		if err != nil {
			return
		}
		period, err := time.ParseDuration(text)
		if err != nil || period != parsed.shortest() || period < time.Second {
			t.Fatalf("%q is every %s, %v", text, parsed.shortest(), err)
		}
		const years = 1 << 36
		after := time.Unix(unix%years, 0)
		slot := parsed.next(after)
		if !slot.After(after) || slot.Sub(after) > period || slot.Unix()%int64(period/time.Second) != 0 ||
			parsed.period(slot) != period {
			t.Errorf("every %s: the slot after %d is %d", period, after.Unix(), slot.Unix())
		}
	})
}

// FuzzFile reads schedule files. A file has schedules or problems, and each problem
// names the line. Of a payload nothing is lost, and it is one that can be enqueued.
func FuzzFile(f *testing.F) {
	const head = "schedules:\n  - name: a\n    every: 30s\n    type: anna:messenger:alerts\n"
	for _, text := range []string{
		head + "    payload: {userId: u1, messengerFilters: {status: A, dataIni: today-7d}}\n    spread: 20s\n",
		head + "    forEach: {userId: [u1, 0042, true]}\n",
		head + "    forEach: {userId: \"@users.txt\"}\n",
		head + "    payload: {1: a, \"1\": b}\n",
		"schedules:\n  - name: p\n    cron: \"*/5 8-18 * * 1-5\"\n    timeZone: America/Sao_Paulo\n    type: dckap:dynamic:call\n" +
			"    payload: {listener: l, body: {1: a, \"1\": b, n: 1.50}}\n",
		"schedules:\n  - name: p\n    every: 1m\n    type: dckap:dynamic:call\n    payload:\n      listener: l\n" +
			"      body:\n        null: a\n        t: |-\n          x\n        l: [1, {a: b}, 0x1f]\n",
		"schedules: [{name: a}, {name: a}]\n",
		"schedules: []\n---\nschedules: []\n",
		"\xef\xbb\xbfschedules:\r\n- &x name: *x\r\n",
		"schedules: {<<: {}}\n",
		"a: \xff\n",
		"",
		"? [a]\n: b\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := &reading{
			path:    t.TempDir() + "/schedules.yaml",
			types:   all.Vendors,
			content: sha256.New(),
		}
		r.parse([]byte(text))
		file, err := r.result()
		if (file == nil) != (err != nil) {
			t.Fatalf("a file %v beside %v", file, err)
		}
		for _, p := range r.problems {
			if p.File == r.path && (p.Line < 0 || p.Line > strings.Count(text, "\n")+strings.Count(text, "\r")+1) || p.Text == "" {
				t.Errorf("the problem %q is in no line", p)
			}
			if p.File == r.path && p.Line == 0 && p.Text != "schedules is missing" {
				t.Errorf("the problem %q names no line", p)
			}
		}
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, s := range file.Schedules {
			if names[s.Name] || !validName.MatchString(s.Name) || s.timing.shortest() < time.Second {
				t.Errorf("the schedule %q with %s", s.Name, s.timing)
			}
			names[s.Name] = true
			for i := range max(s.Subjects(), 1) {
				if _, err := s.template.info.Decode(s.payload(i)); err != nil {
					t.Errorf("%s: the payload %s is refused: %v", s.Name, s.payload(i), err)
				}
			}
		}
		keepsPayloads(t, text, file)
	})
}

// keepsPayloads compares the number of members in the payloads with that in the file.
func keepsPayloads(t *testing.T, text string, file *File) {
	t.Helper()
	body, _ := parseDocument([]byte(text))
	list, ok := lookup(body, "schedules").Value.(*ast.SequenceNode)
	if !ok || len(list.Values) != len(file.Schedules) {
		t.Fatalf("%d schedules of %T", len(file.Schedules), lookup(body, "schedules").Value)
	}
	for i, s := range file.Schedules {
		var written int
		if member := lookup(list.Values[i], "payload"); member != nil {
			ast.Walk((*memberCount)(&written), member.Value)
		}
		if s.template.path != "" {
			written += strings.Count(s.template.path, ".") + 1 // at the most: its objects may be there
		}
		var kept any
		if err := json.Unmarshal(s.payload(0), &kept); err != nil {
			t.Fatal(err)
		}
		if got := members(kept); got != written && s.template.path == "" || got > written {
			t.Errorf("%s: the file has %d members, the payload %s", s.Name, written, s.payload(0))
		}
	}
}

type memberCount int

// Visit implements ast.Visitor.
func (c *memberCount) Visit(n ast.Node) ast.Visitor {
	if m, ok := n.(*ast.MappingNode); ok {
		*c += memberCount(len(m.Values))
	}
	return c
}

func members(value any) int {
	n := 0
	switch value := value.(type) {
	case map[string]any:
		for _, v := range value {
			n += 1 + members(v)
		}
	case []any:
		for _, v := range value {
			n += members(v)
		}
	}
	return n
}

// FuzzSubjects reads subject files. Each line that says something is one subject,
// unchanged but for its ends, or the file is refused with the line.
func FuzzSubjects(f *testing.F) {
	for _, text := range []string{
		"u1\nu2\n", "\xef\xbb\xbfu1\r\n# comment\r\n\r\n u2 ", "u1\nu1\n", "\xff\n", "#\n", "", "a\rb\n",
		strings.Repeat("x", maxSubjectBytes) + "\n" + strings.Repeat("y", maxSubjectBytes+1),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := readSubjects(strings.NewReader(text), func(string) error { return nil })
		lines := strings.Split(strings.TrimPrefix(text, "\xef\xbb\xbf"), "\n")
		if err != nil {
			wrong, ok := err.(*lineError) //nolint:errorlint // this and nothing that wraps it
			if !ok || list != nil || wrong.line > len(lines) || wrong.line == 0 && wrong.text != "has no subjects" {
				t.Errorf("%#v beside %v", err, list)
			}
			return
		}
		var want []string
		for _, line := range lines {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				want = append(want, line)
			}
		}
		if list.len() != len(want) {
			t.Fatalf("%d subjects, want %q", list.len(), want)
		}
		for i := range want {
			if list.at(i) != want[i] {
				t.Errorf("subject %d is %q, want %q", i, list.at(i), want[i])
			}
		}
	})
}
