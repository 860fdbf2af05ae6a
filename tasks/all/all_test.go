package all_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"errand.internal/internal/sandboxes"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// root is the repository, seen from this folder.
const root = "../.."

// missing names what a vendor lacks, and the file to touch. folders are those of
// clients/ and tasks/ that belong to vendors, paths the base paths of the
// sandboxes; exists tells which files there are.
func missing(vendors tasks.Vendors, folders, paths []string, exists func(path string) bool) []string {
	var found []string
	names := map[string]bool{}
	queues := map[string]bool{}
	for _, v := range vendors {
		names[v.Name] = true
		if !slices.Contains(paths, "/"+v.Name+"/") {
			found = append(found, v.Name+" has no sandbox: add its line to internal/sandboxes/sandboxes.go")
		}
		if page := "docs/vendors/" + v.Name + ".md"; !exists(page) {
			found = append(found, v.Name+" has no guide: write "+page)
		}
		for _, folder := range []string{"clients/" + v.Name, "tasks/" + v.Name} {
			if !slices.Contains(folders, folder) {
				found = append(found, v.Name+" has no folder "+folder)
			}
		}
		for _, q := range v.Queues {
			if queues[q.Name] {
				found = append(found, "the queue "+q.Name+" is named twice: see tasks/"+v.Name+"/vendor.go")
			}
			queues[q.Name] = true
		}
		for _, info := range v.Types() {
			if !slices.ContainsFunc(v.Queues, func(q tasks.Queue) bool { return q.Name == info.Example.Policy().Queue }) {
				found = append(found, info.Type+" is in a queue that tasks/"+v.Name+"/vendor.go does not name")
			}
		}
	}
	for _, path := range paths {
		if !names[strings.Trim(path, "/")] {
			found = append(found, "the sandbox "+path+" has no vendor: add it to tasks/all/all.go")
		}
	}
	for _, folder := range folders {
		if !names[filepath.Base(folder)] {
			found = append(found, folder+" is no vendor of the list: add it to tasks/all/all.go")
		}
	}
	return found
}

func vendorFolders(t *testing.T) []string {
	t.Helper()
	var folders []string
	for _, parent := range []string{"clients", "tasks"} {
		entries, err := os.ReadDir(filepath.Join(root, parent))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && !slices.Contains([]string{"all", "clientstest", "sandbox", "testdata"}, e.Name()) {
				folders = append(folders, parent+"/"+e.Name())
			}
		}
	}
	return folders
}

func sandboxPaths() []string {
	var paths []string
	for _, v := range sandboxes.New("") {
		paths = append(paths, v.Path())
	}
	return paths
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Join(root, path))
	return err == nil
}

func TestNothingIsMissingOfAnyVendor(t *testing.T) {
	t.Parallel()
	for _, text := range missing(all.Vendors, vendorFolders(t), sandboxPaths(), exists) {
		t.Error(text)
	}
}

// Each thing that can be forgotten is named.
func TestMissingThingsAreNamed(t *testing.T) {
	t.Parallel()
	folders := vendorFolders(t)
	paths := sandboxPaths()
	first := all.Vendors[0]
	for name, tt := range map[string]struct {
		found []string
		want  string
	}{
		"vendor that is not listed": {
			missing(all.Vendors[1:], folders, paths[1:], exists),
			"tasks/" + first.Name + " is no vendor of the list",
		},
		"sandbox without a vendor": {
			missing(all.Vendors[1:], folders, paths, exists),
			"the sandbox /" + first.Name + "/ has no vendor",
		},
		"vendor without a sandbox": {
			missing(all.Vendors, folders, paths[1:], exists),
			first.Name + " has no sandbox",
		},
		"vendor without a guide": {
			missing(all.Vendors, folders, paths, func(string) bool { return false }),
			first.Name + " has no guide: write docs/vendors/" + first.Name + ".md",
		},
		"queue of two vendors": {
			missing(append(slices.Clone(all.Vendors), tasks.Vendor{Name: "x", Queues: first.Queues}), folders, paths, exists),
			"is named twice",
		},
	} {
		if !slices.ContainsFunc(tt.found, func(text string) bool { return strings.Contains(text, tt.want) }) {
			t.Errorf("%s: %q lacks %q", name, tt.found, tt.want)
		}
	}
}
