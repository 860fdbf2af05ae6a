package main

import (
	"strings"
	"testing"
)

// A CSV row is the same task as the payload that its header describes: lists are
// lists, and all cells of a column have one type, whatever one of them looks like.
func TestCSVRowIsThePayload(t *testing.T) {
	t.Parallel()
	const (
		create = "dinero:contact:create"
		start  = "danaconnect:conversation:start"
	)
	tests := []struct {
		name, taskType, file string
		want                 string // the payload
	}{
		{
			"list", "dinero:invoice:create",
			"organizationId,body.ProductLines[1].Quantity:number,body.ProductLines[0].Quantity:number," +
				"body.ProductLines[0].Description\n123456,2,1.50,Consulting\n",
			`{"organizationId":"123456","body":{"ProductLines":[
				{"Quantity":1.50,"Description":"Consulting"},{"Quantity":2}]}}`,
		},
		{
			"list without its last entry", "dinero:invoice:create",
			"organizationId,body.Lines[0].Text,body.Lines[1].Text\n123456,a,\n",
			`{"organizationId":"123456","body":{"Lines":[{"Text":"a"}]}}`,
		},
		{
			"free body is text", create,
			"organizationId,body.Name,body.ZipCode,body.VatNumber,body.Vip,body.ExternalReference\n" +
				"123456,null,1050,12345678,true,4711\n",
			`{"organizationId":"123456","body":{"Name":"null","ZipCode":"1050","VatNumber":"12345678",
				"Vip":"true","ExternalReference":"4711"}}`,
		},
		{
			"types of the header", create,
			"organizationId,body.ZipCode:text,body.Days:number,body.Vip:bool,body.No:bool,body.Tags:json,body.Gone:number\n" +
				"123456,1050, 8 ,TRUE,false,\"[1,\"\"a\"\"]\", \n",
			`{"organizationId":"123456","body":{"ZipCode":"1050","Days":8,"Vip":true,"No":false,"Tags":[1,"a"]}}`,
		},
		{
			"open fields of a contact", start,
			"idProject,data.PHONE,data.AGE:number\n4711,0052155,42\n",
			`{"idProject":"4711","data":{"PHONE":"0052155","AGE":42}}`,
		},
		{
			"list of the payload", "danaconnect:otp:send",
			"idConversation,type,length,values[0].key,values[0].value\n824541,1,6,COD1_EMAIL,ana@example.com\n",
			`{"idConversation":824541,"type":1,"length":6,"values":[{"key":"COD1_EMAIL","value":"ana@example.com"}]}`,
		},
		{
			"the whole body", pipeCall,
			"listener,body\norders,\"{\"\"order\"\":1}\"\n",
			`{"listener":"orders","body":{"order":1}}`,
		},
		{"carriage returns only", pipeCall, "listener,body.a\rorders,\"x\ny\"\r", `{"listener":"orders","body":{"a":"x\ny"}}`},
		{"sep=", pipeCall, "sep=;\r\nlistener;body.a\r\norders;x,y\r\n", `{"listener":"orders","body":{"a":"x,y"}}`},
		{"sep=|, quoted", pipeCall, "\"SEP=|\"\nlistener|body.a\norders|x\n", `{"listener":"orders","body":{"a":"x"}}`},
		{
			"rows of separators", pipeCall,
			",,\n\nlistener,body.a,body.b\n,,\norders,x,y\n , ,\n\"\",\"\",\"\"\n",
			`{"listener":"orders","body":{"a":"x","b":"y"}}`,
		},
		{"pasted header", pipeCall, "\u00a0listener ,body.a\u200b\norders,x\n", `{"listener":"orders","body":{"a":"x"}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			d := h.runWith(t.Context(), strings.NewReader(tt.file), "bulk", "-", "--type", tt.taskType)
			lines := decodeReceipt(t, d.stdout)
			if d.code != 0 || len(lines) != 1 {
				t.Fatalf("exit code %d, %d rows: %s%s", d.code, len(lines), d.stdout, d.stderr)
			}
			row := `{"payload":` + strings.Join(strings.Fields(tt.want), "") + `}`
			same := h.runWith(t.Context(), strings.NewReader(row), "bulk", "-", "--type", tt.taskType)
			if line := decodeReceipt(t, same.stdout)[0]; !line.Duplicate || line.ID != lines[0].ID {
				t.Errorf("the row is another task than %s: %+v", row, line)
			}
		})
	}
}

func TestCSVCellsOfAnotherType(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	file := "organizationId,body.Days:number,body.Vip:bool,body.Tags:json,body.L[0],body.L[1]\n" +
		"123456,\"1,5\",,,a,b\n123456,,yes,,a,b\n123456,,,[1,a,b\n123456,1,,,,b\n123456,0x1,1,x,a,b\n"
	d := h.runWith(t.Context(), strings.NewReader(file), "bulk", "-", "--type", "dinero:contact:create")
	want := []string{
		"body.Days must be a number, such as 1.5",
		"body.Vip must be true or false",
		"body.Tags must be JSON",
		"body.L[0] is missing",
		"body.Days must be a number, such as 1.5; body.Tags must be JSON; body.Vip must be true or false",
	}
	lines := decodeReceipt(t, d.stdout)
	if d.code != 9 || len(lines) != len(want) {
		t.Fatalf("exit code %d, %d rows: %s", d.code, len(lines), d.stderr)
	}
	for i, line := range lines {
		if line.Error != want[i] || line.ID != "" {
			t.Errorf("row %d: %+v, want %q", line.Row, line, want[i])
		}
	}
}

// A file or a header of which every row would be wrong is refused as a whole, with
// what to do.
func TestBulkRefusesWholeFile(t *testing.T) {
	t.Parallel()
	const perLine = "; JSONL has one object per line, as written by jq -c "
	tests := []struct{ name, file, want string }{
		{"workbook", "PK\x03\x04\x14\x00", "the file is an Excel workbook, or another archive; save the sheet as CSV UTF-8"},
		{"old workbook", "\xd0\xcf\x11\xe0\xa1", "the file is an Excel workbook; save the sheet as CSV UTF-8"},
		{"UTF-16", "\xff\xfel\x00i\x00", "the file is UTF-16; save it as CSV UTF-8"},
		{"UTF-16, the other way", "\xfe\xff\x00l\x00i", "the file is UTF-16; save it as CSV UTF-8"},
		{"gzip", "\x1f\x8b\x08", "the file is compressed; unpack it first"},
		{"array", "\n [\n{\"payload\":{}}]", "the file is a JSON array" + perLine + "'.[]' FILE"},
		{"indented object", "{\n  \"payload\": {}\n}\n", "the file has an object over several lines" + perLine + ". FILE"},
		{
			"indented object, other braces", "{\"payload\": {\n\"listener\": \"x\"}}\n",
			"the file has an object over several lines" + perLine + ". FILE",
		},
		{"nothing", "", "the file is empty"},
		{"blank lines", " \r\n\n", "the file is empty"},
		{"header only", "listener\n,\n", "the file has a header and no rows"},
		{
			"a header in other words", "listener,Número de cliente,\n",
			"the header row: column 2 (Número de cliente) is not a field of dckap:dynamic:call; column 3 has no name",
		},
		{
			"no header", "Ana García,12\n",
			"the header row: column 1 is not a field of dckap:dynamic:call; column 2 is not a field of dckap:dynamic:call",
		},
		{"sep= of another kind", "sep=:\nlistener\n", "the line sep= names no separator; it must be a comma, semicolon, tab or |"},
		{
			"lists that are none", "listener[0],body[,body.a[x],body.a]0[,method.x\n",
			"the header row: column 1 (listener[0]) is not a field of dckap:dynamic:call; " +
				"column 2 (body[) an entry of a list must be written name[0]; " +
				"column 3 (body.a[x]) an entry of a list must be written name[0]; " +
				"column 4 (body.a]0[) an entry of a list must be written name[0]; " +
				"column 5 (method.x) is not a field of dckap:dynamic:call",
		},
		{"list with a hole", "listener,body.a[1]\n", "the header row: column 2 (body.a[1]) body.a[0] is missing"},
		{
			"columns that overlap", "listener,body.a,body.a.b,body.a:number\n",
			"the header row: column 3 (body.a.b) is set by column 2 (body.a) too; column 4 (body.a:number) appears twice",
		},
		{
			"types that cannot be", "listener:number,body.a:date,idempotent:text\n",
			"the header row: column 1 (listener:number) has another type than the field, text; " +
				"column 2 (body.a:date) has an unknown type; it must be text, number, bool or json; " +
				"column 3 (idempotent:text) has another type than the field, true or false",
		},
	}
	h := newHarness(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := h.runWith(t.Context(), strings.NewReader(tt.file), "bulk", "-", "--type", pipeCall)
			if d.code != 3 || d.stdout != "" {
				t.Errorf("exit code %d, want 3; stdout %q", d.code, d.stdout)
			}
			wantText(t, "stderr", d.stderr, "enqueue: "+tt.want+"\n")
			h.wantNothingStored()
		})
	}
}

// An indented object is told from a row that is broken or cut off.
func TestBrokenFirstRowIsOneRow(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	for _, first := range []string{"{x}", `{"payload":{"listener":"u`, `{"payload"`} {
		d := h.runWith(t.Context(), strings.NewReader(first+"\n"+pipeRows(1, 1)), "bulk", "-")
		lines := decodeReceipt(t, d.stdout)
		if d.code != 9 || len(lines) != 2 || lines[0].Error != "the row is not JSON" || lines[1].ID == "" {
			t.Errorf("%s: exit code %d, %s", first, d.code, d.stdout)
		}
	}
}

// --set follows the rule of a CSV column: in a free body a value is text unless its path
// names another type, whatever it looks like.
func TestSetIsTheColumnOfACSVFile(t *testing.T) {
	t.Parallel()
	for header, cell := range map[string]string{
		"body.ZipCode":       "1050",
		"body.Vip":           "true",
		"body.Name":          "null",
		"body.Days:number":   "1.50",
		"body.Vip:bool":      "true",
		"body.Tags:json":     `[1,"a"]`,
		"body.Quantity:text": "2",
	} {
		t.Run(header, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			file := "listener," + header + "\norders,\"" + strings.ReplaceAll(cell, `"`, `""`) + "\"\n"
			d := h.runWith(t.Context(), strings.NewReader(file), "bulk", "-", "--type", pipeCall)
			row := decodeReceipt(t, d.stdout)[0]
			args := []string{pipeCall, "--set", "listener=orders", "--set", header + "=" + cell}
			single := h.wantExit(0, append(args, "--key", row.Key, "--json")...).report(t)
			if single.ID != row.ID || !single.Duplicate { // another payload would be refused
				t.Errorf("%+v is not the row's task, %s", single, row.ID)
			}
		})
	}
	h := newHarness(t)
	bad := h.wantExit(3, pipeCall, "--set", "listener=orders", "--set", "body.Days:number=canary")
	wantText(t, "stderr", bad.stderr, "--set body.Days must be a number, such as 1.5")
}

// --set makes lists, too, and knows the text members of an open body.
func TestSetOfLists(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	const create = "dinero:invoice:create"
	args := []string{create, "--set", "organizationId=123456", "--set", "body.ExternalReference=1001"}
	first := h.wantExit(0, append(args, "--set", "body.Lines[0].Text=a", "--set", "body.Lines[1].N:number=2", "--json")...)
	raw := `{"organizationId":"123456","body":{"ExternalReference":"1001","Lines":[{"Text":"a"},{"N":2}]}}`
	again := h.wantExit(0, create, "--payload", raw, "--json").report(t)
	if again.ID != first.report(t).ID || !again.Duplicate {
		t.Errorf("--set made another payload than %s", raw)
	}
	hole := h.wantExit(3, append(args, "--set", "body.Lines[1].Text=a")...)
	wantText(t, "stderr", hole.stderr, "--set body.Lines[1].Text: body.Lines[0] is missing")
	bad := h.wantExit(3, append(args, "--set", "body.Lines[x]=a")...)
	wantText(t, "stderr", bad.stderr, "--set body.Lines[x]: an entry of a list must be written name[0]")
	none := h.wantExit(3, append(args, "--set", "body.Lines=a", "--set", "body.Lines[0]=a")...)
	wantText(t, "stderr", none.stderr, "--set body.Lines[0]: body.Lines is not a list")
}
