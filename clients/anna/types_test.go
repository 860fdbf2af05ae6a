package anna_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"errand.internal/clients/anna"
)

func TestAccessDataIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const canary = "canary-hash-78"
	access := anna.AccessData{
		Hash:        canary,
		ChatURL:     "https://c/" + canary,
		EmbeddedURL: "https://e/" + canary,
		Expires:     "20310203040506",
	}
	holder := struct {
		Access  anna.AccessData
		Pointer *anna.AccessData
	}{access, &access}

	var seen bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{access, &access, holder, []anna.AccessData{access}, fmt.Errorf("got %v", access)} {
			fmt.Fprintf(&seen, verb+"\n", v)
		}
	}
	log := zerolog.New(&seen)
	log.Info().Interface("access", access).Any("pointer", &access).Object("object", access).Msgf("got %v", access)
	slog.New(slog.NewJSONHandler(&seen, nil)).Info("got", "access", access, "pointer", &access)
	slog.New(slog.NewTextHandler(&seen, nil)).Info("got", "access", access, "pointer", &access)
	link := anna.Link{MessengerLink: "https://l/" + canary}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, v := range []any{link, &link, []anna.Link{link}, struct{ L anna.Link }{link}} {
			fmt.Fprintf(&seen, verb+"\n", v)
		}
	}
	log.Info().Interface("link", link).Any("pointer", &link).Object("object", link).Msgf("got %v", link)
	slog.New(slog.NewJSONHandler(&seen, nil)).Info("got", "link", link, "pointer", &link)
	if strings.Contains(seen.String(), canary) || strings.Contains(seen.String(), fmt.Sprintf("%x", canary)) {
		t.Errorf("the hash shows:\n%s", &seen)
	}
	if !strings.Contains(seen.String(), "[redacted]") {
		t.Errorf("nothing says that something was redacted:\n%s", &seen)
	}
}

// The result itself must hold everything, under the vendor's names only.
func TestAccessDataAsAResult(t *testing.T) {
	t.Parallel()
	access := anna.AccessData{
		Hash:        "h",
		ChatURL:     "c",
		EmbeddedURL: "e",
		Expires:     "x",
	}
	encoded, err := json.Marshal(access)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"Hash":"h","ChatURL":"c","EmbeddedURL":"e","Expires":"x"}`; string(encoded) != want {
		t.Errorf("result %s, want %s", encoded, want)
	}
	var back anna.AccessData
	if err := json.Unmarshal(encoded, &back); err != nil || back != access {
		t.Errorf("the result does not come back whole: %v", err)
	}
}
