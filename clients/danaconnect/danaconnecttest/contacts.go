package danaconnecttest

import (
	"bytes"
	"crypto/subtle"
	"encoding/csv"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"

	"errand.internal/clients/sandbox"
)

// Load is one contact load that was accepted.
type Load struct {
	TableCode     string     `json:"tableCode"`
	OperationType string     `json:"operationType"`
	KeyField      string     `json:"keyField,omitempty"`
	Strict        string     `json:"strict,omitempty"`
	Fields        []string   `json:"fields"`
	Rows          [][]string `json:"rows"`
}

// Loads returns the contact loads that were accepted, in their order.
func (s *Sandbox) Loads() []Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Load{}, s.api.loads...)
}

// loadFields are the parts of the form; the file is one more.
var loadFields = []string{
	"separator",
	"delimiter",
	"includeHeaders",
	"operationType",
	"encodingType",
	"keyField",
	"fieldsCode",
	"strict",
}

func (s *Sandbox) load(c *sandbox.Call) sandbox.Answer {
	req := http.Request{Header: c.Header}
	user, password, ok := req.BasicAuth()
	want, known := s.opts.Logins[user]
	if !ok || !known || subtle.ConstantTimeCompare([]byte(password), []byte(want)) != 1 {
		return sandbox.JSON(
			http.StatusUnauthorized,
			map[string]any{"status": false, "message": "unauthorized " + user},
		)
	}
	if c.Method != http.MethodPost {
		return sandbox.Answer{
			Status: http.StatusMethodNotAllowed,
			Header: http.Header{"Allow": {http.MethodPost}},
		}
	}
	media, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return sandbox.Answer{Status: http.StatusUnsupportedMediaType}
	}
	load, err := readLoad(c.Body, params["boundary"])
	if err == nil && !slices.Contains(s.opts.Tables, c.Params["code"]) {
		err = errors.New("no table " + c.Params["code"])
	}
	if err != nil {
		status := http.StatusBadRequest
		if s.opts.StatusOK {
			status = http.StatusOK
		}
		return sandbox.JSON(
			status,
			map[string]any{"status": false, "message": err.Error()},
		)
	}
	load.TableCode = c.Params["code"]
	s.mu.Lock()
	s.api.loads = append(s.api.loads, load)
	s.mu.Unlock()
	c.Effect(load.TableCode)
	return sandbox.JSON(http.StatusOK, map[string]any{
		"status":    true,
		"tableCode": load.TableCode,
		"fields":    strings.Join(load.Fields, ";"),
		"fileName":  "contacts.csv",
	})
}

// readLoad is as strict as the page's parameters: no unknown part, none twice,
// and as many cells in each row as there are field codes.
func readLoad(body []byte, boundary string) (Load, error) {
	form := multipart.NewReader(bytes.NewReader(body), boundary)
	parts := map[string]string{}
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Load{}, errors.New("the form breaks off")
		}
		content, err := io.ReadAll(part)
		name := part.FormName()
		_, twice := parts[name]
		switch {
		case err != nil, twice:
			return Load{}, errors.New("the part " + name + " breaks off or stands twice")
		case name == "file" && part.FileName() == "":
			return Load{}, errors.New("file has no name")
		case name != "file" && !slices.Contains(loadFields, name):
			return Load{}, errors.New("unknown part " + name)
		}
		parts[name] = string(content)
	}
	for _, name := range append([]string{"file"}, "separator", "delimiter", "includeHeaders", "operationType", "encodingType", "fieldsCode") {
		if parts[name] == "" {
			return Load{}, errors.New(name + " is missing")
		}
	}
	if parts["separator"] != "," || parts["delimiter"] != `"` ||
		parts["includeHeaders"] != "false" {
		return Load{}, errors.New(
			"the sandbox reads commas, double quotes and no headers only",
		)
	}
	if strict, given := parts["strict"]; given && strict != "true" && strict != "false" {
		return Load{}, errors.New("strict is neither true nor false")
	}
	fields := strings.Split(parts["fieldsCode"], ";")
	reader := csv.NewReader(strings.NewReader(parts["file"]))
	reader.FieldsPerRecord = len(fields)
	rows, err := reader.ReadAll()
	if err != nil || len(rows) == 0 {
		return Load{}, errors.New("the file does not fit the fields")
	}
	return Load{
		OperationType: parts["operationType"],
		KeyField:      parts["keyField"],
		Strict:        parts["strict"],
		Fields:        fields,
		Rows:          rows,
	}, nil
}
