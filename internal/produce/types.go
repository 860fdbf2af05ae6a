package produce

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/tasks"
)

// TypeSummary is a task type in a list.
type TypeSummary struct {
	Type    string `json:"type"`
	Queue   string `json:"queue"`
	Budget  string `json:"budget"` // such as 2m or 72h
	Summary string `json:"summary"`
}

// TypeDetail describes a task type.
type TypeDetail struct {
	TypeSummary
	Vendor     string          `json:"vendor"`
	Repeatable bool            `json:"repeatable"`
	KeptFor    string          `json:"keptFor"`
	KeyFor     string          `json:"keyRememberedFor"`
	Fields     []FieldDetail   `json:"fields" nullable:"false"`
	Example    json.RawMessage `json:"example"`
}

// FieldDetail is one field of a payload.
type FieldDetail struct {
	Path     string `json:"path"`
	Kind     string `json:"kind"`
	Required bool   `json:"required"`
	Rules    string `json:"rules,omitempty"`
	Doc      string `json:"doc,omitempty"`
}

// SummarizeType describes a task type in short.
func SummarizeType(info tasks.Info) TypeSummary {
	d := info.Example.Policy()
	return TypeSummary{
		Type:    info.Type,
		Queue:   d.Queue,
		Budget:  FormatDuration(d.Budget),
		Summary: info.Summary,
	}
}

// DescribeType describes a task type.
func DescribeType(info tasks.Info) (*TypeDetail, error) {
	example, err := json.Marshal(info.Example)
	if err != nil {
		return nil, fmt.Errorf("encode the example: %w", err)
	}
	d := info.Example.Policy()
	t := &TypeDetail{
		TypeSummary: SummarizeType(info),
		Vendor:      info.Vendor,
		Repeatable:  d.Redelivery == tasks.AtLeastOnce,
		KeptFor:     FormatDuration(cmp.Or(d.Retention, broker.DefaultRetention)),
		KeyFor:      FormatDuration(cmp.Or(d.KeyTTL, broker.DefaultKeyTTL)),
		Fields:      []FieldDetail{},
		Example:     example,
	}
	for _, f := range info.Fields() {
		t.Fields = append(t.Fields, FieldDetail(f))
	}
	return t, nil
}

// FormatDuration formats a duration without trailing zero units: 2m, 72h.
func FormatDuration(d time.Duration) string {
	text := d.String()
	for _, zeros := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zeros) {
			text = text[:len(text)-2]
		}
	}
	return text
}
