package main

import (
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
)

// wayIn is one of the ways in which a text reaches a payload.
type wayIn struct {
	name string
	// enqueue returns the exit code of a bulk row or a single task, its ID, and the
	// error.
	enqueue func(h *harness, taskType string, fields map[string]string) (code int, id, problem string)
}

var waysIn = []wayIn{
	{"JSON", func(h *harness, taskType string, fields map[string]string) (int, string, string) {
		raw, err := json.Marshal(fields)
		if err != nil {
			h.t.Fatal(err)
		}
		return h.single(taskType, "--payload", string(raw))
	}},
	{"flags", func(h *harness, taskType string, fields map[string]string) (int, string, string) {
		var args []string
		for path, value := range fields {
			args = append(args, "--set", path+"="+value)
		}
		return h.single(append([]string{taskType}, args...)...)
	}},
	{"CSV", func(h *harness, taskType string, fields map[string]string) (int, string, string) {
		var header, cells []string
		for path, value := range fields {
			header = append(header, path)
			cells = append(cells, value)
		}
		var file strings.Builder
		if err := csv.NewWriter(&file).WriteAll([][]string{header, cells}); err != nil {
			h.t.Fatal(err)
		}
		d := h.runWith(h.t.Context(), strings.NewReader(file.String()), "bulk", "-", "--type", taskType)
		line := decodeReceipt(h.t, d.stdout)[0]
		if d.code == 9 {
			d.code = 3 // refused, as singly
		}
		return d.code, line.ID, line.Error
	}},
}

// single enqueues one task; its key makes equal payloads one task.
func (h *harness) single(args ...string) (code int, id, problem string) {
	d := h.run(append(args, "--json", "--key", "k")...)
	if d.code != 0 {
		return d.code, "", strings.TrimPrefix(strings.TrimSpace(d.stderr), "enqueue: ")
	}
	return d.code, d.report(h.t).ID, ""
}

// What people paste around a text is removed, and a text that cannot be right is
// refused with the rule, the same on every way in.
func TestTextOnEveryWayIn(t *testing.T) {
	t.Parallel()
	const (
		verify     = "danaconnect:otp:verify"
		inactivate = "anna:user:inactivate"
		idRule     = "userId must not contain blanks, control or invisible characters"
		codeRule   = "otp must have only the letters A to Z and digits, without blanks"
	)
	leaver := func(id string) map[string]string { return map[string]string{"userId": id} }
	code := func(id, otp string) map[string]string { return map[string]string{"idRequest": id, "otp": otp} }
	tests := []struct {
		name, taskType string
		plain          map[string]string // the task that it must be; nil: it is refused
		given          map[string]string
		problem        string
	}{
		{"pasted passcode", verify, code("251", "004217"), code("251\n", " 004217\r\n"), ""},
		{"passcode in groups", verify, nil, code("251", "004 217"), codeRule},
		{"full-width passcode", verify, nil, code("251", "００４２１７"), codeRule},
		{"passcode of blanks", verify, nil, code("251", "  "), "otp must not be empty"},
		{
			"idRequest beyond its range", verify, nil, code("99999999999999999999", "004217"),
			"idRequest must be at most 9223372036854775807",
		},
		{"full-width idRequest", verify, nil, code("２５１", "004217"), "idRequest must be digits only"},
		{"pasted leaver", inactivate, leaver("u-1"), leaver("\u00a0u-1\u200b "), ""},
		{"leaver with a blank", inactivate, nil, leaver("u 1"), idRule},
		{"leaver with a no-break space", inactivate, nil, leaver("u\u00a01"), idRule},
		{"leaver with a control character", inactivate, nil, leaver("u\x011"), idRule},
		{"leaver of blanks", inactivate, nil, leaver(" \u00a0"), "userId must not be empty"},
	}
	for _, tt := range tests {
		for _, way := range waysIn {
			t.Run(tt.name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				if tt.plain == nil {
					if code, _, problem := way.enqueue(h, tt.taskType, tt.given); code != 3 || problem != tt.problem {
						t.Errorf("exit code %d, %q; want 3, %q", code, problem, tt.problem)
					}
					h.wantNothingStored()
					return
				}
				_, want, _ := way.enqueue(h, tt.taskType, tt.plain)
				code, id, problem := way.enqueue(h, tt.taskType, tt.given)
				if code != 0 || id == "" || id != want {
					t.Errorf("exit code %d, %q, task %q; want 0 and %q", code, problem, id, want)
				}
			})
		}
	}
}

// Blanks around a key make no second task of it.
func TestKeyIsCleaned(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	first := h.wantExit(0, pipeCall, "--payload", pipePayload, "--key", "order-1", "--json").report(t)
	again := h.wantExit(0, pipeCall, "--payload", pipePayload, "--key", " order-1\u00a0\n", "--json").report(t)
	if again.ID != first.ID || !again.Duplicate {
		t.Errorf("%+v is not the first task, %s", again, first.ID)
	}
	row := `{"type":"` + pipeCall + `","payload":` + pipePayload + `,"key":"order-1 "}`
	d := h.runWith(t.Context(), strings.NewReader(row), "bulk", "-")
	if line := decodeReceipt(t, d.stdout)[0]; line.ID != first.ID || line.Key != "order-1" {
		t.Errorf("%+v is not the first task, %s", line, first.ID)
	}
	refused := h.wantExit(3, pipeCall, "--payload", pipePayload, "--key", "order\x00-1")
	wantText(t, "stderr", refused.stderr, "the key must be one line, without control or invisible characters")
	id := h.wantExit(0, "status", " "+first.ID+"\n", "--json").report(t).ID
	if id != first.ID {
		t.Errorf("the status is of %q, want %q", id, first.ID)
	}
}
