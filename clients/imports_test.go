package clients_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// No vendor imports another, not even in its tests. A rule of the linter would have
// to list the vendors; this test finds them. A vendor may consist of several
// packages below its folder.
func TestNoVendorImportsAnother(t *testing.T) {
	t.Parallel()
	vendors := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		own := vendorOf(filepath.ToSlash(filepath.Dir(path)))
		if own == "" {
			return nil
		}
		vendors[own] = true
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			folder, inClients := strings.CutPrefix(imported, "errand.internal/clients/")
			if !inClients {
				continue
			}
			if other := vendorOf(folder); other != "" && other != own {
				t.Errorf("%s imports %s", path, imported)
			}
		}
		return nil
	})
	if err != nil || len(vendors) < 2 {
		t.Errorf("checked the vendors %v, %v", vendors, err)
	}
}

// vendorOf returns the vendor that a folder below clients belongs to: its first
// path element, or "" for the kit's own packages.
func vendorOf(folder string) string {
	first, _, _ := strings.Cut(folder, "/")
	if slices.Contains([]string{".", "sandbox", "clientstest"}, first) {
		return ""
	}
	return first
}
