package clients_test

import (
	"math"
	"testing"

	"errand.internal/clients"
)

func TestEncodeJSONEscapesNoHTML(t *testing.T) {
	t.Parallel()
	got, err := clients.EncodeJSON(map[string]any{"name": "Tom & Co <ñ>\u2028"})
	if want := `{"name":"Tom & Co <ñ>\u2028"}`; err != nil || string(got) != want {
		t.Errorf("encoded %s, %v, want %s", got, err, want)
	}
	if got, err := clients.EncodeJSON(math.NaN()); err == nil {
		t.Errorf("encoded NaN as %s", got)
	}
}
