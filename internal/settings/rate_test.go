package settings

import (
	"strings"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want Rate
		form string // "" if it equals text
	}{
		{text: "95/1m", want: Rate{95, time.Minute}},
		{text: "5/s", want: Rate{5, time.Second}, form: "5/1s"},
		{text: "5/ms", want: Rate{5, time.Millisecond}, form: "5/1ms"},
		{text: "100/h", want: Rate{100, time.Hour}, form: "100/1h"},
		{text: "1/1h30m", want: Rate{1, 90 * time.Minute}},
		{text: "1/10m", want: Rate{1, 10 * time.Minute}},
		{text: "1/20h", want: Rate{1, 20 * time.Hour}},
		{text: "1/10m10s", want: Rate{1, 610 * time.Second}},
		{text: "3/1.5s", want: Rate{3, 1500 * time.Millisecond}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			t.Parallel()
			var r, reparsed Rate
			if err := r.UnmarshalText([]byte(tt.text)); err != nil || r != tt.want {
				t.Fatalf("parsed as %+v, %v", r, err)
			}
			form := tt.form
			if form == "" {
				form = tt.text
			}
			if r.String() != form {
				t.Errorf("String() = %q, want %q", r.String(), form)
			}
			if err := reparsed.UnmarshalText([]byte(r.String())); err != nil || reparsed != r {
				t.Errorf("%q parses as %+v, %v", r.String(), reparsed, err)
			}
		})
	}
}

func TestRateRefusesInvalidText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "5", "/1m", "5/", "x/1m", "5/x", "5/1", "0/1m", "-1/1m", "5/0s", "5/-1m", "1.5/1m", "5/1m/2", " 5/1m", "None",
	} {
		var r Rate
		err := r.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), "N/duration") || !r.IsZero() {
			t.Errorf("%q parsed as %+v, %v", text, r, err)
		}
	}
	r := Rate{N: 1, Per: time.Second}
	if err := r.UnmarshalText([]byte("none")); err != nil || !r.IsZero() {
		t.Errorf("none is parsed as %+v, %v", r, err)
	}
	if text, err := (Rate{}).MarshalText(); err != nil || len(text) != 0 {
		t.Errorf("the zero Rate is written as %q, %v", text, err)
	}
}

func TestCount(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Count{"1": 1, "40": 40, "none": 0} {
		c := Count(7)
		if err := c.UnmarshalText([]byte(text)); err != nil || c != want {
			t.Errorf("%q parsed as %d, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "1.5", "x", " 1", "1000001"} {
		c := Count(7)
		if err := c.UnmarshalText([]byte(text)); err == nil || c != 7 {
			t.Errorf("%q parsed as %d, %v", text, c, err)
		}
	}
}
