package settings_test

import (
	"testing"
	"time"

	"errand.internal/internal/settings"
)

func TestShare(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]settings.Share{
		"70%/30s": {Percent: 70, Within: 30 * time.Second},
		"100%/1m": {Percent: 100, Within: time.Minute},
		"off":     {},
	} {
		var got settings.Share
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want || got.String() != text {
			t.Errorf("%q is %+v (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "none", "0%/30s", "101%/30s", "70/30s", "70%", "70%/0s", "70%/2h", "x%/30s", "70%/x"} {
		var got settings.Share
		if err := got.UnmarshalText([]byte(text)); err == nil || !got.IsZero() {
			t.Errorf("%q is %+v", text, got)
		}
	}
}
