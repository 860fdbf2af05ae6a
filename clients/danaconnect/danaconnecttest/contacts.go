package danaconnecttest

import (
	"bytes"
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

// Load is one accepted contact load.
type Load struct {
	TableCode     string     `json:"tableCode"`
	OperationType string     `json:"operationType"`
	KeyField      string     `json:"keyField,omitempty"`
	Strict        string     `json:"strict,omitempty"`
	Fields        []string   `json:"fields"`
	Rows          [][]string `json:"rows"`
}

// Loads returns the accepted contact loads in their order.
func (s *Sandbox) Loads() []Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Load{}, s.api.loads...)
}

func (s *Sandbox) routeContacts() {
	s.Handle("api/contacts/rest/webdb/table/{code}", OpLoad, s.load)
	s.HandleControl("GET loads", func(w http.ResponseWriter, _ *http.Request) {
		sandbox.Reply(w, http.StatusOK, s.Loads())
	})
}

func (s *Sandbox) load(c *sandbox.Call) sandbox.Answer {
	user, ok := s.login(c)
	if !ok {
		return refusedLoad(http.StatusUnauthorized, "unauthorized "+user)
	}
	if c.Method != http.MethodPost {
		return methodNotAllowed(http.MethodPost)
	}
	media, params, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return sandbox.Answer{Status: http.StatusUnsupportedMediaType}
	}
	load, err := readLoad(c.Body, params["boundary"])
	if err != nil {
		return refusedLoad(s.failureStatus(), err.Error())
	}
	load.TableCode = c.Params["code"]
	if !slices.Contains(s.opts.Tables, load.TableCode) {
		return refusedLoad(s.failureStatus(), "no table "+load.TableCode)
	}
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

func refusedLoad(status int, message string) sandbox.Answer {
	return sandbox.JSON(status, map[string]any{
		"status":  false,
		"message": message,
	})
}

// readLoad reads a form as strictly as the page describes its parameters.
func readLoad(body []byte, boundary string) (Load, error) {
	parts, err := readParts(body, boundary)
	if err != nil {
		return Load{}, err
	}
	if err := checkParts(parts); err != nil {
		return Load{}, err
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

// readParts returns the content of each part of the form; unknown and duplicate
// parts are refused.
func readParts(body []byte, boundary string) (map[string]string, error) {
	form := multipart.NewReader(bytes.NewReader(body), boundary)
	parts := map[string]string{}
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts, nil
		}
		if err != nil {
			return nil, errors.New("the form is cut off")
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, errors.New("the form is cut off")
		}
		name := part.FormName()
		_, duplicate := parts[name]
		switch {
		case duplicate:
			return nil, errors.New("duplicate part " + name)
		case name == "file" && part.FileName() == "":
			return nil, errors.New("file has no name")
		case !slices.Contains(requiredParts, name) && !slices.Contains(optionalParts, name):
			return nil, errors.New("unknown part " + name)
		}
		parts[name] = string(content)
	}
}

// The parts of the form.
var (
	requiredParts = []string{
		"file",
		"separator",
		"delimiter",
		"includeHeaders",
		"operationType",
		"encodingType",
		"fieldsCode",
	}
	optionalParts = []string{"keyField", "strict"}
)

func checkParts(parts map[string]string) error {
	for _, name := range requiredParts {
		if parts[name] == "" {
			return errors.New(name + " is missing")
		}
	}
	if parts["separator"] != "," || parts["delimiter"] != `"` || parts["includeHeaders"] != "false" {
		return errors.New("the sandbox reads commas, double quotes and no headers only")
	}
	if strict, ok := parts["strict"]; ok && strict != "true" && strict != "false" {
		return errors.New("strict is neither true nor false")
	}
	return nil
}
