package schedule

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"errand.internal/tasks/all"
)

// write writes files into a temporary directory; it returns the path of "s.yaml",
// the schedule file.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "s.yaml")
}

func mustLoad(t *testing.T, path string) *File {
	t.Helper()
	f, err := Load(path, catalogue)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// loadOne loads a schedule file with one schedule of the given lines.
func loadOne(t *testing.T, lines ...string) *File {
	t.Helper()
	return mustLoad(t, write(t, map[string]string{"s.yaml": oneSchedule(lines...)}))
}

// oneSchedule is a schedule file with one schedule of the given lines.
func oneSchedule(lines ...string) string {
	return "schedules:\n  - " + strings.Join(lines, "\n    ") + "\n"
}

func TestLoad(t *testing.T) {
	t.Parallel()
	path := write(t, map[string]string{
		"s.yaml": `# every field once
schedules:
  - name: stock                     # unique
    every: 30s
    timeZone: America/Sao_Paulo
    type: shop:stock:read
    payload: {filters: {status: A, since: 2026-01-01, until: 2026-01-31}}
    forEach: {itemId: [u1, 0042, "3"]}
    spread: 20s
  - name: nightly
    cron: "30 2 * * *"
    timeZone: Europe/Copenhagen
    type: shop:stock:read
    forEach: {itemId: "@items.txt"}
  - name: one
    cron: "*/5 8-18 * * 1-5"
    type: shop:item:close
    payload:
      itemId: u-9
`,
		"items.txt": "\xef\xbb\xbfana\r\n\r\n# a comment\n  bo  \nte\"st\n",
	})
	f := mustLoad(t, path)
	var got []string
	for _, s := range f.Schedules {
		got = append(got, fmt.Sprintf("%s|%s|%s|%d|%s", s.Name, s.Type, s.When(), s.Subjects(), s.Spread))
	}
	want := []string{
		"stock|shop:stock:read|every 30s|3|20s",
		"nightly|shop:stock:read|30 2 * * * Europe/Copenhagen|3|0s",
		"one|shop:item:close|*/5 8-18 * * 1-5 UTC|1|0s",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	payloads := []struct {
		name    string
		payload []byte
		want    string
	}{
		{
			"a number is text where the field is text",
			f.Schedules[0].payload(1),
			`{"filters":{"since":"2026-01-01","status":"A","until":"2026-01-31"},"itemId":"0042"}`,
		},
		{"from a file", f.Schedules[1].payload(2), `{"itemId":"te\"st"}`},
		{"without forEach", f.Schedules[2].payload(0), `{"itemId":"u-9"}`},
	}
	for _, p := range payloads {
		if string(p.payload) != p.want {
			t.Errorf("%s: %s, want %s", p.name, p.payload, p.want)
		}
	}
}

func TestLoadAcceptsAnEmptyList(t *testing.T) {
	t.Parallel()
	if f := mustLoad(t, write(t, map[string]string{"s.yaml": "schedules: []\n"})); len(f.Schedules) != 0 {
		t.Errorf("schedules = %v", f.Schedules)
	}
}

// TestLoadReportsAllProblems compares the exact texts, because users correct their
// files by them.
func TestLoadReportsAllProblems(t *testing.T) {
	t.Parallel()
	const stock = "type: shop:stock:read"
	tests := []struct {
		name  string
		file  string
		items string
		want  []string
	}{
		{"empty", "", "", []string{"s.yaml: schedules is missing"}},
		{
			"not YAML",
			"schedules:\n  - name: a\n   every: 3\n",
			"",
			[]string{"s.yaml:3:4: not YAML: value is not allowed in this context"},
		},
		{
			"a field twice",
			oneSchedule("name: a", "every: 1s", "every: 2s", stock),
			"",
			[]string{`s.yaml:4:5: not YAML: mapping key "every" already defined at [3:5]`},
		},
		{"not UTF-8", "schedules:\n  - name: \xff\n", "", []string{"s.yaml:2: is not UTF-8"}},
		{
			"two documents",
			"schedules: []\n---\nschedules: []\n",
			"",
			[]string{"s.yaml:3:1: a second document; only one is allowed"},
		},
		{"no mapping", "- a\n", "", []string{"s.yaml:1:1: must begin with schedules:"}},
		{
			"another field at the top",
			"schedule: []\n",
			"",
			[]string{"s.yaml:1:1: schedule is unknown; there are schedules", "s.yaml:1:1: schedules is missing"},
		},
		{"no list", "schedules: {a: b}\n", "", []string{"s.yaml:1:1: schedules must be a list"}},
		{
			"no fields",
			"schedules:\n  - a\n",
			"",
			[]string{
				"s.yaml:2:5: schedule 1: must have fields: name, every, cron, timeZone, type, payload, forEach, spread",
			},
		},
		{
			"unquoted star",
			oneSchedule("name: a", "cron: *abc", stock),
			"",
			[]string{"s.yaml:3:11: anchors and aliases are not supported; a text that begins with & or * needs quotes"},
		},
		{
			"tag",
			oneSchedule("name: !!str a", "every: 1s", stock),
			"",
			[]string{"s.yaml:2:11: tags are not supported; a text that begins with ! needs quotes"},
		},
		{
			"merge key",
			oneSchedule("name: a", "<<: {every: 1s}", stock),
			"",
			[]string{"s.yaml:3:5: merge keys are not supported"},
		},
		{"schedules without a value", "schedules:\n", "", []string{"s.yaml:1:1: schedules has no value"}},
		{
			"schedule without a value",
			"schedules:\n  -\n",
			"",
			[]string{
				"s.yaml:2:5: schedule 1: must have fields: name, every, cron, timeZone, type, payload, forEach, spread",
			},
		},
		{
			"several unknown fields",
			oneSchedule("name: a", "evry: 1s", "Every: 1s", "every: 1s", "1: x", stock, "payload: {itemId: u1}"),
			"",
			[]string{
				"s.yaml:3:5: a: evry is unknown; there are name, every, cron, timeZone, type, payload, forEach, spread",
				"s.yaml:4:5: a: Every is unknown; did you mean every?",
				"s.yaml:6:5: a: 1 is unknown; there are name, every, cron, timeZone, type, payload, forEach, spread",
			},
		},
		{
			"fields without a value",
			oneSchedule("name: a", "every: 1s", "spread:", stock, "payload: ~", "forEach: {itemId: [u1]}"),
			"",
			[]string{"s.yaml:4:5: a: spread has no value", "s.yaml:6:5: a: payload has no value"},
		},
		{
			"several fields of a wrong type",
			oneSchedule("name: 42", "every: [1s]", "type: true", "spread: {}"),
			"",
			[]string{
				"s.yaml:2:11: schedule 1: name must be a text",
				"s.yaml:3:12: schedule 1: every must be a duration such as 30s, 5m or 24h",
				"s.yaml:4:11: schedule 1: type must be a task type; `enqueue types` lists them",
				"s.yaml:5:13: schedule 1: spread must be a duration such as 20s",
			},
		},
		{"everything missing", oneSchedule("payload: {itemId: u1}"), "", []string{
			"s.yaml:2:5: schedule 1: name is missing", "s.yaml:2:5: schedule 1: every or cron is missing", "s.yaml:2:5: schedule 1: type is missing",
		}},
		{"all at once", "schedules:\n" +
			"  - name: a b\n    every: 10ms\n    type: shop:stock\n    foreach: {itemId: [u1]}\n" +
			"  - name: b\n    every: 10s\n    cron: \"* * * * *\"\n    timeZone: Europe/Kopenhagen\n    type: shop:stock:read\n    payload: {itemId: u1}\n" +
			"  - name: b\n    every: 10s\n    spread: 11s\n    type: shop:stock:read\n    payload: {itemId: u1}\n", "", []string{
			"s.yaml:2:11: schedule 1: name must have 1 to 64 letters, digits, dots, dashes or underscores, and begin with a letter or digit",
			"s.yaml:3:12: schedule 1: every must be at least 1s",
			"s.yaml:4:11: schedule 1: type is unknown; `enqueue types` lists them",
			"s.yaml:5:5: schedule 1: foreach is unknown; did you mean forEach?",
			"s.yaml:8:5: b: every and cron exclude each other",
			"s.yaml:9:15: b: timeZone is unknown; it must be the name of a zone such as America/Sao_Paulo",
			"s.yaml:12:11: b: the name is already used in line 6",
			"s.yaml:14:13: b: spread is longer than the time between two ticks, 10s",
		}},
		{
			"every without a unit",
			oneSchedule("name: a", "every: 30", stock, "payload: {itemId: u1}"),
			"",
			[]string{"s.yaml:3:12: a: every must be a duration such as 30s, 5m or 24h"},
		},
		{
			"every with part of a second",
			oneSchedule("name: a", "every: 1500ms", stock, "payload: {itemId: u1}"),
			"",
			[]string{"s.yaml:3:12: a: every must be whole seconds"},
		},
		{
			"every too long",
			oneSchedule("name: a", "every: 10000h", stock, "payload: {itemId: u1}"),
			"",
			[]string{"s.yaml:3:12: a: every must be at most 8784h (366 days)"},
		},
		{
			"cron with seconds",
			oneSchedule("name: a", `cron: "0 * * * * *"`, stock, "payload: {itemId: u1}"),
			"",
			[]string{
				"s.yaml:3:11: a: cron must have 5 fields (minute, hour, day of month, month, day of week); it has 6",
			},
		},
		{
			"cron out of range",
			oneSchedule("name: a", `cron: "0 24 * * *"`, stock, "payload: {itemId: u1}"),
			"",
			[]string{"s.yaml:3:11: a: cron cannot be read: end of range (24) above maximum (23): 24"},
		},
		{
			"cron of a day that does not exist",
			oneSchedule("name: a", `cron: "0 0 30 2 *"`, stock, "payload: {itemId: u1}"),
			"",
			[]string{"s.yaml:3:11: a: cron never matches: there is no such day"},
		},
		{
			"cron with a zone",
			oneSchedule("name: a", `cron: "TZ=UTC 0 0 * * *"`, stock, "payload: {itemId: u1}"),
			"",
			[]string{"s.yaml:3:11: a: cron must not name a time zone; timeZone does"},
		},
		{
			"cron by word",
			oneSchedule("name: a", `cron: "@daily"`, stock, "payload: {itemId: u1}"),
			"",
			[]string{
				"s.yaml:3:11: a: cron must have 5 fields (minute, hour, day of month, month, day of week); it has 1",
			},
		},
		{
			"spread and cron",
			oneSchedule("name: a", `cron: "0,10 8 * * *"`, "spread: 11m", stock, "payload: {itemId: u1}"),
			"",
			[]string{"s.yaml:4:13: a: spread is longer than the time between two ticks, 10m0s"},
		},
		{
			"spread negative",
			oneSchedule("name: a", "every: 10s", "spread: -1s", stock, "payload: {itemId: u1}"),
			"",
			[]string{"s.yaml:4:13: a: spread must not be negative"},
		},
		{
			"payload is no object",
			oneSchedule("name: a", "every: 10s", stock, "payload: u1"),
			"",
			[]string{"s.yaml:5:14: a: payload must be an object"},
		},
		{
			"payload breaks rules",
			oneSchedule(
				"name: a",
				"every: 10s",
				stock,
				"payload:",
				"  itemID: u1",
				"  filters:",
				"    status: X",
				"    since: tomorrow",
			),
			"",
			[]string{
				"s.yaml:5:5: a: payload: itemId is required, or both of catalog and number",
				"s.yaml:6:7: a: payload: itemID is unknown; did you mean itemId?",
				"s.yaml:8:9: a: payload: filters.status must be one of A, E",
				"s.yaml:9:9: a: payload: filters.since must be YYYY-MM-DD",
			},
		},
		{
			"payload has a number that is not decimal",
			oneSchedule("name: a", "every: 10s", "type: shop:code:send", "payload: {orderId: 0x1F, code: 004217}"),
			"",
			[]string{
				"s.yaml:5:24: a: payload: a number must be plain decimal; a text that looks like one needs quotes",
				"s.yaml:5:36: a: payload: a number must be plain decimal; a text that looks like one needs quotes",
			},
		},
		{
			"forEach with two fields",
			oneSchedule("name: a", "every: 10s", stock, "forEach: {itemId: [u1], catalog: [x]}"),
			"",
			[]string{"s.yaml:5:15: a: forEach must have exactly one field, as in {userId: [u1, u2]}"},
		},
		{
			"forEach without a field",
			oneSchedule("name: a", "every: 10s", stock, "forEach: {}"),
			"",
			[]string{"s.yaml:5:14: a: forEach must have exactly one field, as in {userId: [u1, u2]}"},
		},
		{
			"forEach empty",
			oneSchedule("name: a", "every: 10s", stock, "forEach: {itemId: []}"),
			"",
			[]string{"s.yaml:5:23: a: forEach: the list is empty"},
		},
		{
			"forEach of a text",
			oneSchedule("name: a", "every: 10s", stock, "forEach: {itemId: items.txt}"),
			"",
			[]string{`s.yaml:5:23: a: forEach: itemId must be a list, or "@file"`},
		},
		{
			"forEach sets what payload sets",
			oneSchedule("name: a", "every: 10s", stock, "payload: {itemId: u1}", "forEach: {itemId: [u1]}"),
			"",
			[]string{"s.yaml:6:15: a: forEach: payload gives itemId too"},
		},
		{
			"forEach below a text",
			oneSchedule("name: a", "every: 10s", stock, "payload: {itemId: u1}", "forEach: {itemId.x: [u1]}"),
			"",
			[]string{"s.yaml:6:15: a: forEach: payload.itemId is not an object"},
		},
		{"forEach of an unknown field", oneSchedule("name: a", "every: 10s", stock, "forEach: {itemid: [u1]}"), "", []string{
			"s.yaml:5:5: a: payload: itemId is required, or both of catalog and number",
			"s.yaml:5:24: a: forEach: itemid is unknown; did you mean itemId?",
		}},
		{
			"forEach breaks the payload's rules",
			oneSchedule(
				"name: a",
				"every: 10s",
				stock,
				"payload: {catalog: cpf}",
				"forEach: {number: [x, y, z]}",
				"filters: {}",
			),
			"",
			[]string{
				"s.yaml:7:5: a: filters is unknown; there are name, every, cron, timeZone, type, payload, forEach, spread",
			},
		},
		{
			"subjects",
			oneSchedule(
				"name: a",
				"every: 10s",
				stock,
				"forEach:",
				"  itemId:",
				"    - u1",
				"    - u2",
				"    - u1",
				"    - [x]",
				"    -",
				"    - \"\"",
				"    - "+strings.Repeat("x", 257),
			),
			"",
			[]string{
				"s.yaml:9:11: a: forEach: the subject is already in line 7",
				"s.yaml:10:11: a: forEach: a subject must be a text or a number",
				"s.yaml:11:10: a: forEach: a subject must be a text or a number",
				"s.yaml:12:11: a: forEach: the subject must not be empty",
				"s.yaml:13:11: a: forEach: itemId must have at most 256 characters",
			},
		},
		{
			"file of subjects is missing",
			oneSchedule("name: a", "every: 10s", stock, `forEach: {itemId: "@none.txt"}`),
			"",
			[]string{"none.txt: cannot be read: no such file or directory"},
		},
		{
			"file of subjects is empty",
			oneSchedule("name: a", "every: 10s", stock, `forEach: {itemId: "@items.txt"}`),
			"# none\n\n",
			[]string{"items.txt: has no subjects"},
		},
		{
			"subject twice in a file",
			oneSchedule("name: a", "every: 10s", stock, `forEach: {itemId: "@items.txt"}`),
			"\nu1\n# c\nu2\nu1\nu2\n",
			[]string{"items.txt:5: the subject is already in line 2"},
		},
		{
			"subject in a file breaks a rule",
			oneSchedule("name: a", "every: 10s", stock, `forEach: {itemId: "@items.txt"}`),
			"u1\n" + strings.Repeat("é", 257) + "\n",
			[]string{"items.txt:2: itemId must have at most 256 characters"},
		},
		{
			"line in a file is too long",
			oneSchedule("name: a", "every: 10s", stock, `forEach: {itemId: "@items.txt"}`),
			"u1\nu2\n" + strings.Repeat("x", 5000) + "\n",
			[]string{"items.txt:3: the line is too long: a subject has at most 1024 bytes"},
		},
		{
			"subject in a file is not UTF-8",
			oneSchedule("name: a", "every: 10s", stock, `forEach: {itemId: "@items.txt"}`),
			"u1\n\xff\n",
			[]string{"items.txt:2: the subject is not UTF-8"},
		},
		{
			"payload with a file",
			oneSchedule(
				"name: a",
				"every: 10s",
				stock,
				"payload: {filters: {status: X}}",
				`forEach: {itemId: "@items.txt"}`,
			),
			"u1\nu2\n",
			[]string{"s.yaml:5:25: a: payload: filters.status must be one of A, E"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, map[string]string{"s.yaml": test.file, "items.txt": test.items})
			_, err := Load(path, catalogue)
			if err == nil {
				t.Fatal("the file was accepted")
			}
			if _, ok := errors.AsType[*FileError](err); !ok {
				t.Errorf("%T, want *FileError", err)
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(path)+string(filepath.Separator), "")
			if want := strings.Join(test.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestLoadOfMissingFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.yaml")
	if _, err := Load(path, catalogue); err == nil || err.Error() != path+": cannot be read: no such file or directory" {
		t.Errorf("err = %v", err)
	}
}

func TestLoadOfTooLargeFile(t *testing.T) {
	t.Parallel()
	path := write(t, map[string]string{"s.yaml": "schedules: []\n" + strings.Repeat("#\n", maxFileBytes/2)})
	if _, err := Load(path, catalogue); err == nil || !strings.Contains(err.Error(), "move long lists to files of their own") {
		t.Errorf("err = %v", err)
	}
}

// TestForEachFillsField covers the kinds of fields that forEach can fill.
func TestForEachFillsField(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, file, want string }{
		{
			"nested text", oneSchedule("name: a", "every: 10s", "type: shop:stock:read", "payload: {itemId: u1, filters: {status: A}}", "forEach: {filters.warehouse: [7]}"),
			`{"filters":{"status":"A","warehouse":"7"},"itemId":"u1"}`,
		},
		{
			"number", oneSchedule("name: a", "every: 10s", "type: shop:code:send", "payload: {values: {email: a@example.com}, length: 6}", "forEach: {orderId: [824541]}"),
			`{"length":6,"orderId":824541,"values":{"email":"a@example.com"}}`,
		},
		{
			"member of an open object", oneSchedule("name: a", "every: 10s", "type: shop:code:send", "payload: {orderId: 1, values: {name: Ana}, length: 6}", "forEach: {values.phone: [0414]}"),
			`{"length":6,"orderId":1,"values":{"name":"Ana","phone":"0414"}}`,
		},
		{
			"object that the payload lacks", oneSchedule("name: a", "every: 10s", "type: shop:code:send", "payload: {orderId: 1, length: 6}", "forEach: {values.phone: [0414]}"),
			`{"length":6,"orderId":1,"values":{"phone":"0414"}}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := mustLoad(t, write(t, map[string]string{"s.yaml": test.file}))
			if got := string(f.Schedules[0].payload(0)); got != test.want {
				t.Errorf("payload = %s, want %s", got, test.want)
			}
		})
	}
}

// What changes the tasks of a tick changes the digest; nothing else does.
func TestDigestCoversTheTasks(t *testing.T) {
	t.Parallel()
	digest := func(file string) string {
		return mustLoad(t, write(t, map[string]string{"s.yaml": file})).Schedules[0].digest
	}
	base := digest(oneSchedule("name: a", "every: 10s", "type: shop:stock:read", "forEach: {itemId: [ab, c]}"))
	same := digest(
		"# comment\n" + oneSchedule(
			"type: shop:stock:read",
			"every: 20s",
			"name: b",
			"forEach:",
			"  itemId: [\"ab\", c]",
		),
	)
	if base != same {
		t.Error("comment, order, name or period change the digest")
	}
	for _, other := range []string{
		"forEach: {itemId: [a, bc]}", "forEach: {itemId: [ab, c, d]}", "forEach: {number: [ab, c]}\n    payload: {catalog: x}",
		"forEach: {itemId: [ab, c]}\n    spread: 1s", "forEach: {itemId: [ab, c]}\n    payload: {filters: {status: A}}",
	} {
		if digest(oneSchedule("name: a", "every: 10s", "type: shop:stock:read", other)) == base {
			t.Errorf("%s does not change the digest", other)
		}
	}
}

func TestExampleOfTheDocsLoads(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/schedules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(page), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	path := write(t, map[string]string{"s.yaml": example, "organizations.txt": "1001\n"})
	f, err := Load(path, all.Vendors)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Schedules) != 2 {
		t.Errorf("the example has %d schedules", len(f.Schedules))
	}
}
