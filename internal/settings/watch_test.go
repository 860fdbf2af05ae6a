package settings_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"errand.internal/internal/settings"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// changed lists the variables that a look reports, with ! before those whose file cannot be
// read.
func changed(w *settings.SecretFiles, atOnce bool) string {
	var names []string
	for _, c := range w.Changed(atOnce) {
		if c.Err != nil {
			names = append(names, "!"+c.Variable)
			continue
		}
		names = append(names, c.Variable)
	}
	return strings.Join(names, " ")
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: changed %q, want %q", what, got, want)
	}
}

func watched(t *testing.T) (w *settings.SecretFiles, a, b string) {
	t.Helper()
	dir := t.TempDir()
	a, b = filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, a, "one\n")
	write(t, b, "one")
	w = settings.WatchSecrets(map[string]string{
		"A_FILE":     a,
		"B_FILE":     b,
		"PLAIN_FILE": a,
		"PIPE_FILE":  os.DevNull,
	}, []settings.Variable{
		{Name: "A", Secret: true},
		{Name: "B", Secret: true},
		{Name: "PLAIN"},
		{Name: "PIPE", Secret: true},
		{Name: "UNSET", Secret: true},
	})
	return w, a, b
}

// A file may be written in place, renamed over the old one, or reached through a link that
// leads elsewhere from now on. Each counts when two looks find the same.
func TestSecretFilesAreNoticedHoweverTheyChange(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, path string){
		"in place": func(t *testing.T, path string) { write(t, path, "two") },
		"renamed over": func(t *testing.T, path string) {
			write(t, path+".new", "two")
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		},
		"by a link": func(t *testing.T, path string) {
			write(t, path+".two", "two")
			if err := os.Symlink(path+".two", path+".link"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(path+".link", path); err != nil {
				t.Fatal(err)
			}
		},
		"same size and time": func(t *testing.T, path string) {
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, "two\n")
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, a, _ := watched(t)
			expect(t, "before", changed(w, false), "")
			change(t, a)
			expect(t, "first look", changed(w, false), "")
			expect(t, "second look", changed(w, false), "A")
			expect(t, "third look", changed(w, false), "")
		})
	}
}

func TestAFileThatIsBeingWrittenIsNotRead(t *testing.T) {
	t.Parallel()
	w, a, b := watched(t)
	for _, part := range []string{"t", "tw", "two"} {
		write(t, a, part)
		expect(t, part, changed(w, false), "")
	}
	write(t, b, "two") // those of one change belong together
	expect(t, "b", changed(w, false), "")
	expect(t, "both", changed(w, false), "A B")
	write(t, a, "three")
	expect(t, "at once", changed(w, true), "A")
	write(t, a, "four")
	write(t, a, "three")
	expect(t, "taken back", changed(w, false)+changed(w, false), "")
}

func TestAFileThatCannotBeReadIsReportedOnce(t *testing.T) {
	t.Parallel()
	w, a, _ := watched(t)
	for name, spoil := range map[string]func(){
		"empty":     func() { write(t, a, "\n") },
		"too large": func() { write(t, a, strings.Repeat("x", 64<<10+1)) },
		"gone":      func() { _ = os.Remove(a) },
	} {
		spoil()
		looks := []string{changed(w, false), changed(w, false), changed(w, false)}
		if !slices.Equal(looks, []string{"", "!A", ""}) {
			t.Errorf("%s: the looks report %q", name, looks)
		}
	}
	write(t, a, "one")
	expect(t, "as at the start", changed(w, false)+changed(w, false), "A")
}
