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

// No vendor knows another, not even in its tests. This holds for whatever vendor
// there is, which a list of vendors in the linter's rules would not.
func TestNoVendorKnowsAnother(t *testing.T) {
	t.Parallel()
	// vendorOf is the folder below clients, if a vendor's.
	vendorOf := func(path string) string {
		first, _, below := strings.Cut(path, "/")
		if !below || slices.Contains([]string{"sandbox", "clientstest"}, first) {
			return ""
		}
		return first
	}
	vendors := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		own := vendorOf(filepath.ToSlash(path))
		if err != nil || own == "" || filepath.Ext(path) != ".go" {
			return err
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
			below, ours := strings.CutPrefix(imported, "errand.internal/clients/")
			if other := vendorOf(below + "/"); ours && other != "" && other != own {
				t.Errorf("%s imports %s", path, imported)
			}
		}
		return nil
	})
	if err != nil || len(vendors) < 4 {
		t.Errorf("looked at %v, %v", vendors, err)
	}
}
