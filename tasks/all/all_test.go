package all_test

import (
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"errand.internal/internal/account"
	"errand.internal/internal/events/deliver"
	"errand.internal/internal/sandboxes"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// repository is the folder of the module.
func repository() fs.FS {
	return os.DirFS("../..")
}

// report fails the test with each problem.
func report(t *testing.T, problems []string) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

func vendorNames() []string {
	var names []string
	for _, v := range all.Vendors {
		names = append(names, v.Name)
	}
	return names
}

// names returns the names of all task types, Errand's own included.
func names() []typeName {
	list := []typeName{{Vendor: "event", Type: deliver.Definition(nil).Type}}
	for _, info := range all.Vendors.Types() {
		list = append(list, typeName{Vendor: info.Vendor, Type: info.Type})
	}
	return list
}

// boundDefinitions returns the task types as a worker with accounts of all vendors
// runs them, but with a transport of the test.
func boundDefinitions(t *testing.T, transport http.RoundTripper) []worker.Definition {
	t.Helper()
	var list []worker.Definition
	for _, v := range all.Vendors {
		for _, a := range v.Accounts {
			s := a.Settings()
			if err := settings.Load(s, nil); err != nil {
				t.Fatal(err)
			}
			s.UsePlaceholders()
			bound, err := v.Open(a, s, account.DryRun(transport))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, bound...)
		}
	}
	return list
}

func TestEveryFolderIsAListedVendor(t *testing.T) {
	t.Parallel()
	report(t, checkFolders(repository(), vendorNames()))
}

func TestEveryVendorHasASandbox(t *testing.T) {
	t.Parallel()
	var paths []string
	for _, s := range sandboxes.New("") {
		paths = append(paths, s.Path())
	}
	report(t, checkSandboxes(vendorNames(), paths))
}

func TestEveryVendorHasAPage(t *testing.T) {
	t.Parallel()
	report(t, checkPages(repository(), vendorNames()))
}

// Its name must not begin with TestGolden: make golden runs those tests, at the same
// time as the ones that write the files of a new type.
func TestEveryTypeHasItsFilesAndAGuide(t *testing.T) {
	t.Parallel()
	for _, info := range all.Vendors.Types() {
		report(t, checkFiles(repository(), typeName{Vendor: info.Vendor, Type: info.Type}))
	}
}

// The validator looks into a list only if the list's tag says dive.
func TestRulesOfListEntriesAreChecked(t *testing.T) {
	t.Parallel()
	for _, info := range all.Vendors.Types() {
		report(t, checkLists(reflect.TypeOf(info.Example), info.Type))
	}
	type entry struct {
		Name string `json:"name" validate:"required"`
	}
	type wrong struct {
		Lists []struct {
			Entries []*entry `json:"entries" validate:"min=1"`
		} `json:"lists"`
		ByName  map[string]entry `json:"byName" validate:"required,dive"`
		Numbers []int            `json:"numbers" validate:"min=1"`
	}
	got := checkLists(reflect.TypeFor[wrong](), "wrong")
	want := []string{
		"wrong.Lists: the rules of its entries are ignored without dive",
		"wrong.Lists[].Entries: the rules of its entries are ignored without dive",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestNamesOfQueues(t *testing.T) {
	t.Parallel()
	report(t, checkQueues(append(all.Vendors.Queues(), deliver.Queue)))
	for _, v := range all.Vendors {
		for _, info := range v.Types() {
			report(t, checkQueueOf(v, info.Type, info.Example.Policy().Queue))
		}
	}
}

func TestNamesOfTypes(t *testing.T) {
	t.Parallel()
	report(t, checkTypes(names()))
}

func TestNamesOfVariables(t *testing.T) {
	t.Parallel()
	for _, v := range all.Vendors {
		for _, a := range v.Accounts {
			report(t, checkVariables(v, settings.Describe(a.Settings())))
		}
	}
}

func TestReconciledTypesHaveAReconciler(t *testing.T) {
	t.Parallel()
	definitions := boundDefinitions(t, noTransport{})
	if got, want := len(definitions), len(all.Vendors.Types()); got != want {
		t.Errorf("%d task types can run, want %d", got, want)
	}
	report(t, checkReconcilers(definitions))
}

// An application that imports one vendor's tasks links no other vendor.
func TestAVendorLinksNoOther(t *testing.T) {
	t.Parallel()
	for _, v := range all.Vendors {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			linked := dependencies(t, "errand.internal/tasks", "errand.internal/tasks/"+v.Name)
			report(t, checkLinked(v.Name, vendorNames(), linked))
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		report(t, checkLinked("", vendorNames(), dependencies(t, "errand.internal/tasks")))
	})
}

// dependencies lists what the packages link, themselves included.
func dependencies(t *testing.T, packages ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, packages...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	for _, p := range packages {
		if !slices.Contains(linked, p) {
			t.Fatalf("go list does not name %s", p)
		}
	}
	return linked
}

// acmeGuide shows acme:a:b and not acme:c:d.
const acmeGuide = "$ enqueue acme:a:b --wait 1s\n$ enqueue acme:c:dd\n| `acme:a:b` | does |\n| `acme:c:dd` | does |\n"

// Each check names the problem of a broken input, and nothing else.
func TestChecksNameWhatIsBroken(t *testing.T) {
	t.Parallel()
	root := fstest.MapFS{
		"tasks/task.go":                        {},
		"tasks/all/all.go":                     {},
		"tasks/testdata/x":                     {},
		"tasks/acme/vendor.go":                 {},
		"tasks/acme/testdata/a_b.json":         {},
		"tasks/acme/testdata/requests/a_b.txt": {},
		"tasks/other/vendor.go":                {},
		"clients/call.go":                      {},
		"clients/sandbox/vendor.go":            {},
		"clients/clientstest/x.go":             {},
		"clients/acme/client.go":               {},
		"clients/third/client.go":              {},
		"docs/vendors/acme.md":                 {Data: []byte(acmeGuide)},
	}
	vendor := tasks.Vendor{Name: "acme", Queues: []tasks.Queue{{Name: "acme"}}}
	reconciled := tasks.Policy{Redelivery: tasks.Reconciled}
	reconcile := boundDefinition(reconciled).Reconcile
	for _, tt := range []struct {
		name string
		got  []string
		want []string
	}{
		{
			"unlisted folders", checkFolders(root, []string{"acme"}),
			[]string{
				"tasks/other/ is no listed vendor: add other.Vendor to tasks/all/all.go",
				"clients/third/ is no listed vendor: add third.Vendor to tasks/all/all.go",
			},
		},
		{
			"listed vendor without folders", checkFolders(root, []string{"acme", "other", "third", "ghost"}),
			[]string{
				"vendor third has no folder tasks/third/",
				"vendor ghost has no folder tasks/ghost/",
				"vendor other has no folder clients/other/",
				"vendor ghost has no folder clients/ghost/",
			},
		},
		{
			"sandboxes", checkSandboxes([]string{"acme", "other"}, []string{"/acme/", "/acme/", "/third/"}),
			[]string{
				"vendor other has no sandbox at /other/: add otherdemo.Vendor to internal/sandboxes/sandboxes.go",
				"two sandboxes are at /acme/: remove one from internal/sandboxes/sandboxes.go",
				"the sandbox at /third/ belongs to no vendor: remove it from internal/sandboxes/sandboxes.go, " +
					"or add the vendor to tasks/all/all.go",
			},
		},
		{
			"page", checkPages(root, []string{"acme", "other"}),
			[]string{"vendor other has no page: write docs/vendors/other.md"},
		},
		{"complete type", checkFiles(root, typeName{"acme", "acme:a:b"}), nil},
		{
			"type without files", checkFiles(root, typeName{"acme", "acme:c:d"}),
			[]string{
				"acme:c:d has no golden payload: tasks/acme/testdata/c_d.json is missing (" +
					"make golden writes it if a test of tasks/acme calls apptest.CheckGoldenPayloads)",
				"acme:c:d has no golden request: tasks/acme/testdata/requests/c_d.txt is missing (" +
					"make golden writes it if a test of tasks/acme calls apptest.CheckGoldenRequest)",
				"acme:c:d is not in the guide: add a line with `enqueue acme:c:d` to docs/vendors/acme.md",
				"the guide does not say what acme:c:d does: add its row to docs/vendors/acme.md",
			},
		},
		{
			"type of a vendor without a page", checkFiles(root, typeName{"other", "other:a:b"})[2:],
			[]string{
				"other:a:b is not in the guide: add a line with `enqueue other:a:b` to docs/vendors/other.md",
				"the guide does not say what other:a:b does: add its row to docs/vendors/other.md",
			},
		},
		{
			"queues", checkQueues([]tasks.Queue{{Name: "a"}, {Name: "b"}, {Name: "a"}}),
			[]string{"two queues are called a: rename one in the vendor.go of its vendor"},
		},
		{
			"queue of another vendor", checkQueueOf(vendor, "acme:a:b", "others"),
			[]string{"acme:a:b is in the queue others, which tasks/acme/vendor.go does not name"},
		},
		{"queue of the vendor", checkQueueOf(vendor, "acme:a:b", "acme"), nil},
		{
			"types", checkTypes([]typeName{
				{"acme", "acme:a:b"},
				{"acme", "acme:a:bc"},
				{"acme", "acmes:x:y"},
				{"acme", "acme:q:q"},
				{"acme", "acme:q:q"},
			}),
			[]string{
				`acme:a:b is the beginning of acme:a:bc: the worker would take one for the other`,
				`acmes:x:y does not begin with "acme:"`,
				`two task types are called acme:q:q`,
			},
		},
		{
			"variables", checkVariables(vendor, []settings.Variable{
				{Name: "ACME_A"},
				{Name: "ACMEX"},
				{Name: "OTP_RECIPIENT_A"},
			}),
			[]string{
				`the variable ACMEX of acme does not begin with ACME_`,
				`the variable OTP_RECIPIENT_A of acme does not begin with ACME_`,
			},
		},
		{
			"reconcilers", checkReconcilers([]worker.Definition{
				{Type: "complete", Base: reconciled, Reconcile: reconcile},
				{Type: "without", Base: reconciled},
				{Type: "needless", Reconcile: reconcile},
			}),
			[]string{
				"without is Reconciled without a reconciler: define it with tasks.DefineReconciled",
				"needless has a reconciler but is not Reconciled",
			},
		},
		{
			"linked", checkLinked("acme", []string{"acme", "other"}, []string{
				"errand.internal/tasks",
				"errand.internal/tasks/acme",
				"errand.internal/tasks/other",
				"errand.internal/clients/other/api",
				"errand.internal/clients/otherwise",
				"errand.internal/tasks/all",
			}),
			[]string{
				"errand.internal/tasks/other is linked",
				"errand.internal/clients/other/api is linked",
				"errand.internal/tasks/all is linked",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if !slices.Equal(tt.got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(tt.got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}
