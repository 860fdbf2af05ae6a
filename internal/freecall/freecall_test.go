package freecall

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"errand.internal/internal/broker"
)

func TestQueryValues(t *testing.T) {
	t.Parallel()
	q := Query{
		"text":   "a b",
		"int":    7,
		"number": json.Number("1.50"),
		"bool":   true,
		"list":   []any{"x", json.Number("2"), false},
		"typed":  []string{"x", "y"},
		"empty":  []string{},
	}
	if problems := q.Check("query"); len(problems) != 0 {
		t.Errorf("problems %v, want none", problems)
	}
	want := url.Values{
		"text":   {"a b"},
		"int":    {"7"},
		"number": {"1.50"},
		"bool":   {"true"},
		"list":   {"x", "2", "false"},
		"typed":  {"x", "y"},
		"empty":  {},
	}
	if got := q.Values(); !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("values %v, want %v", got, want)
	}
}

func TestQueryCheckNamesTheField(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		query Query
		field string
	}{
		{"null", Query{"a": nil}, "query.a"},
		{"object", Query{"a": map[string]any{"b": 1}}, "query.a"},
		{"list in a list", Query{"a": []any{[]any{1}}}, "query.a"},
		{"null in a list", Query{"a": []any{nil}}, "query.a"},
		{"value that JSON cannot express", Query{"a": func() {}}, "query.a"},
		{"no name", Query{"": "x"}, "query."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			problems := tt.query.Check("query")
			if len(problems) != 1 || problems[0].Field != tt.field || problems[0].Rule == "" {
				t.Errorf("problems %+v, want one of %s", problems, tt.field)
			}
		})
	}
}

func TestRedelivery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name       string
		idempotent *bool
		method     string
		want       broker.Redelivery
	}{
		{"GET", nil, http.MethodGet, broker.AtLeastOnce},
		{"HEAD", nil, http.MethodHead, broker.AtLeastOnce},
		{"POST", nil, http.MethodPost, broker.AtMostOnce},
		{"PUT", nil, http.MethodPut, broker.AtMostOnce},
		{"DELETE", nil, http.MethodDelete, broker.AtMostOnce},
		{"idempotent POST", new(true), http.MethodPost, broker.AtLeastOnce},
		{"GET that is not idempotent", new(false), http.MethodGet, broker.AtMostOnce},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Redelivery(tt.idempotent, tt.method); got != tt.want {
				t.Errorf("redelivery %v, want %v", got, tt.want)
			}
		})
	}
}

func TestBodyOfAReadIsRefused(t *testing.T) {
	t.Parallel()
	for method, refused := range map[string]bool{
		http.MethodGet:    true,
		http.MethodHead:   true,
		http.MethodPost:   false,
		http.MethodDelete: false,
	} {
		if got := len(CheckBody(method, map[string]any{})) > 0; got != refused {
			t.Errorf("a body of %s is refused: %v, want %v", method, got, refused)
		}
		if problems := CheckBody(method, nil); len(problems) != 0 {
			t.Errorf("%s without a body: %v", method, problems)
		}
	}
}

func TestBodyJSONKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	if raw, err := BodyJSON(nil); raw != nil || err != nil {
		t.Errorf("no body is sent as %q, %v", raw, err)
	}
	raw, err := BodyJSON(map[string]any{"price": json.Number("1.50"), "text": "<a&b>"})
	if want := `{"price":1.50,"text":"<a&b>"}`; err != nil || string(raw) != want {
		t.Errorf("sent %q, %v, want %q", raw, err, want)
	}
}
