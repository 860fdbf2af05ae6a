package danaconnecttest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"errand.internal/clients/sandbox"
)

// api is the vendor's state of API 2.0 and of the contact load. Sandbox.mu guards
// it.
type api struct {
	tokens  map[string]time.Time // when each expires
	starts  []Start
	loads   []Load
	records map[string]json.RawMessage
	nextID  int64
}

func newAPI() api {
	return api{
		tokens:  map[string]time.Time{},
		records: map[string]json.RawMessage{},
		nextID:  1,
	}
}

// Start is one started conversation.
type Start struct {
	// ID is the id of the conversation, or "ProjectID/" and the id of the project.
	ID   string            `json:"id"`
	Data map[string]string `json:"data"` // numbers and booleans keep their spelling
}

func (s *Sandbox) routeAPI() {
	s.Handle("oauth2/token", OpToken, s.token)
	s.Handle(
		"api/2.0/rest/conversation/{id}/start/data",
		OpStart,
		s.withToken(func(c *sandbox.Call) sandbox.Answer {
			return s.start(c, c.Params["id"], s.opts.Conversations)
		}),
	)
	s.Handle(
		"api/2.0/rest/conversation/ProjectID/{id}/start/data",
		OpStart,
		s.withToken(func(c *sandbox.Call) sandbox.Answer {
			return s.start(c, "ProjectID/"+c.Params["id"], s.opts.Projects)
		}),
	)
	s.Handle("api/2.0/records", OpCall, s.withToken(s.records))
	s.Handle("api/2.0/records/{id}", OpCall, s.withToken(s.record))
	s.HandleControl("GET starts", func(w http.ResponseWriter, _ *http.Request) {
		sandbox.Reply(w, http.StatusOK, s.Starts())
	})
	s.HandleControl("POST revoke", func(w http.ResponseWriter, _ *http.Request) {
		s.RevokeTokens()
		w.WriteHeader(http.StatusNoContent)
	})
}

// Starts returns the started conversations in their order.
func (s *Sandbox) Starts() []Start {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Start{}, s.api.starts...)
}

// RevokeTokens invalidates all tokens.
func (s *Sandbox) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.api.tokens)
}

// PutToken makes token valid for an hour, as if it had been issued.
func (s *Sandbox) PutToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api.tokens[token] = s.opts.Now().Add(time.Hour)
}

// Record returns one record of the small API, nil if there is none.
func (s *Sandbox) Record(id string) json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.api.records[id]
}

// PutRecord adds or replaces a record of the small API.
func (s *Sandbox) PutRecord(id string, body json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api.records[id] = bytes.Clone(body)
}

// token answers as RFC 6749 says; the vendor's page shows only the success.
func (s *Sandbox) token(c *sandbox.Call) sandbox.Answer {
	if c.Method != http.MethodPost {
		return methodNotAllowed(http.MethodPost)
	}
	req := http.Request{Header: c.Header}
	id, key, ok := req.BasicAuth()
	s.mu.Lock()
	want, known := s.opts.Clients[id]
	s.mu.Unlock()
	if !ok || !known || !equalSecret(key, want) {
		return s.tokenError("invalid_client")
	}
	media, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return s.tokenError("invalid_request")
	}
	form, err := url.ParseQuery(string(c.Body))
	if err != nil {
		return s.tokenError("invalid_request")
	}
	switch grant := form["grant_type"]; {
	case len(grant) != 1 || len(form) != 1: // the only field of the sample
		return s.tokenError("invalid_request")
	case grant[0] != "client_credentials":
		return s.tokenError("unsupported_grant_type")
	}
	token := rand.Text()
	life := s.opts.TokenLife
	answer := map[string]any{"access_token": token, "token_type": "Bearer"}
	switch seconds := int64(life / time.Second); {
	case life < 0:
		life = time.Hour
	case s.opts.LooseTypes:
		answer["expires_in"] = strconv.FormatInt(seconds, 10)
	default:
		answer["expires_in"] = seconds
	}
	s.mu.Lock()
	s.api.tokens[token] = s.opts.Now().Add(life)
	s.mu.Unlock()
	c.Effect(id)
	return sandbox.JSON(http.StatusOK, answer)
}

func (s *Sandbox) tokenError(code string) sandbox.Answer {
	status := http.StatusBadRequest
	if code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	return sandbox.JSON(status, map[string]string{
		"error":             code,
		"error_description": "asked for " + code,
	})
}

// withToken wraps an operation of API 2.0: it checks the token first.
func (s *Sandbox) withToken(run func(*sandbox.Call) sandbox.Answer) sandbox.Operation {
	return func(c *sandbox.Call) sandbox.Answer {
		if c.Fault.ExpireToken {
			s.RevokeTokens()
		}
		token, isBearer := strings.CutPrefix(c.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		end, known := s.api.tokens[token]
		s.mu.Unlock()
		if !isBearer || !known || !s.opts.Now().Before(end) {
			return sandbox.JSON(http.StatusUnauthorized, wsError("unauthorized user"))
		}
		return run(c)
	}
}

func wsError(description string) map[string]any {
	return map[string]any{"wsError": map[string]string{"errorDescription": description}}
}

func (s *Sandbox) wsResult(id int64, description string) map[string]any {
	result := map[string]any{"idResult": id, "resultDescription": description}
	if s.opts.LooseTypes {
		result["idResult"] = strconv.FormatInt(id, 10)
	}
	return map[string]any{"wsResult": result}
}

func (s *Sandbox) illegalArgument(detail string) sandbox.Answer {
	return sandbox.JSON(s.failureStatus(), wsError("illegal argument: "+detail))
}

func (s *Sandbox) start(c *sandbox.Call, id string, active []int64) sandbox.Answer {
	if c.Method != http.MethodPost {
		return methodNotAllowed(http.MethodPost)
	}
	if !isJSON(c) {
		return sandbox.Answer{Status: http.StatusUnsupportedMediaType}
	}
	number, err := strconv.ParseInt(strings.TrimPrefix(id, "ProjectID/"), 10, 64)
	if err != nil || !slices.Contains(active, number) {
		return s.illegalArgument("no active conversation " + id)
	}
	data, err := decodeFlat(c.Body)
	if err != nil {
		return s.illegalArgument(err.Error())
	}
	s.mu.Lock()
	s.api.starts = append(s.api.starts, Start{ID: id, Data: data})
	s.mu.Unlock()
	first := slices.Min(slices.Collect(maps.Keys(data)))
	c.Effect(data[first])
	return sandbox.JSON(http.StatusOK, s.wsResult(0, "OK"))
}

// decodeFlat decodes an object of texts, numbers and booleans.
func decodeFlat(body []byte) (map[string]string, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var in map[string]any
	if err := dec.Decode(&in); err != nil || len(in) == 0 {
		return nil, errors.New("an object with fields is expected")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	out := map[string]string{}
	for name, value := range in {
		switch value.(type) {
		case string, json.Number, bool:
			out[name] = fmt.Sprint(value)
		default:
			return nil, errors.New("the object is not flat")
		}
	}
	return out, nil
}

// records lists the records, or adds one.
func (s *Sandbox) records(c *sandbox.Call) sandbox.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c.Method {
	case http.MethodGet, http.MethodHead:
		items := []json.RawMessage{}
		for _, id := range slices.Sorted(maps.Keys(s.api.records)) {
			items = append(items, s.api.records[id])
		}
		return sandbox.JSON(http.StatusOK, map[string]any{"records": items, "query": c.Query})
	case http.MethodPost:
		if !isObject(c.Body) {
			return s.illegalArgument("an object is expected")
		}
		id := strconv.FormatInt(s.api.nextID, 10)
		s.api.nextID++
		s.api.records[id] = bytes.Clone(c.Body)
		c.Effect(id)
		return sandbox.JSON(http.StatusCreated, map[string]string{"id": id})
	}
	return methodNotAllowed("GET, HEAD, POST")
}

// record shows, replaces or removes one record.
func (s *Sandbox) record(c *sandbox.Call) sandbox.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := c.Params["id"]
	record, ok := s.api.records[id]
	if !ok {
		return sandbox.JSON(http.StatusNotFound, wsError("no record "+id))
	}
	switch c.Method {
	case http.MethodGet, http.MethodHead:
		return sandbox.JSON(http.StatusOK, record)
	case http.MethodPut, http.MethodPatch: // PATCH replaces, too
		if !isObject(c.Body) {
			return s.illegalArgument("an object is expected")
		}
		s.api.records[id] = bytes.Clone(c.Body)
		c.Effect(id)
		return sandbox.JSON(http.StatusOK, s.wsResult(0, "OK"))
	case http.MethodDelete:
		delete(s.api.records, id)
		c.Effect(id)
		return sandbox.Answer{Status: http.StatusNoContent}
	}
	return sandbox.Answer{Status: http.StatusMethodNotAllowed}
}

func isObject(body []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(body, &object) == nil && object != nil
}
