package anna_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

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
		t.Errorf("the hash is printed:\n%s", &seen)
	}
	if !strings.Contains(seen.String(), "[redacted]") {
		t.Errorf("[redacted] is missing:\n%s", &seen)
	}
}

// The JSON form holds every field under the vendor's name.
func TestAccessDataAsJSON(t *testing.T) {
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
		t.Errorf("encoded as %s, want %s", encoded, want)
	}
	var back anna.AccessData
	if err := json.Unmarshal(encoded, &back); err != nil || back != access {
		t.Errorf("decoded to something else: %v", err)
	}
}

func TestResolveDate(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/Sao_Paulo")
	if err != nil {
		t.Fatal(err)
	}
	// 01:30 UTC on 1 March is still 28 February in São Paulo.
	now := time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC).In(zone)
	for _, tc := range []struct {
		name string
		text string
		want string
		bad  bool
	}{
		{name: "empty", text: "", want: ""},
		{name: "absolute", text: "31/12/2024", want: "31/12/2024"},
		{name: "today", text: "today", want: "28/02/2026"},
		{name: "a week ago", text: "today-7d", want: "21/02/2026"},
		{name: "across the end of the year", text: "today-60d", want: "30/12/2025"},
		{name: "month first", text: "12/31/2024", bad: true},
		{name: "no such day", text: "30/02/2026", bad: true},
		{name: "ISO", text: "2024-12-31", bad: true},
		{name: "one digit", text: "1/2/2024", bad: true},
		{name: "future", text: "today+7d", bad: true},
		{name: "words", text: "yesterday", bad: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, ok := anna.ResolveDate(tc.text, now)
			if ok == tc.bad {
				t.Fatalf("ResolveDate(%q) = %q, %v", tc.text, got, ok)
			}
			if !tc.bad && got != tc.want {
				t.Errorf("ResolveDate(%q) = %q, want %q", tc.text, got, tc.want)
			}
			for field, filters := range map[string]anna.Filters{
				"f.dataIni": {DataIni: tc.text},
				"f.dataFim": {DataFim: tc.text},
			} {
				problems := filters.Problems("f.")
				if bad := len(problems) == 1 && problems[0].Field == field; bad != tc.bad || len(problems) > 1 {
					t.Errorf("%+v has the problems %v", filters, problems)
				}
			}
		})
	}
}
