package all_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"errand.internal/internal/broker"
	"errand.internal/internal/settings"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
)

// noTransport sends nothing.
type noTransport struct{}

func (noTransport) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("nothing is sent")
}

// boundDefinition is a definition with a reconciler that finds nothing.
func boundDefinition(base broker.Policy) worker.Definition {
	return worker.Definition{
		Base: base,
		Reconcile: func(context.Context, worker.Payload) (any, bool, error) {
			return nil, false, nil
		},
	}
}

// typeName is the name of a task type and of the vendor that it belongs to.
type typeName struct {
	Vendor string
	Type   string
}

// foreignPrefixes begin variables that do not begin with their vendor's name.
// They are older than that rule, and settings keep their names.
var foreignPrefixes = map[string]string{
	"danaconnect": "OTP_",
}

// checkFolders compares the vendors' folders with the list of vendors.
func checkFolders(root fs.FS, vendors []string) []string {
	var problems []string
	for _, parent := range []struct {
		name  string
		other []string // folders that belong to no vendor
	}{
		{"tasks", []string{"all", "taskstest", "testdata"}},
		{"clients", []string{"clientstest", "sandbox"}},
	} {
		folders, err := subfolders(root, parent.name)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		for _, folder := range folders {
			if slices.Contains(parent.other, folder) || slices.Contains(vendors, folder) {
				continue
			}
			problems = append(problems, fmt.Sprintf("%s/%s/ is no listed vendor: add %s.Vendor to tasks/all/all.go",
				parent.name, folder, folder))
		}
		for _, v := range vendors {
			if !slices.Contains(folders, v) {
				problems = append(problems, fmt.Sprintf("vendor %s has no folder %s/%s/", v, parent.name, v))
			}
		}
	}
	return problems
}

func subfolders(root fs.FS, parent string) ([]string, error) {
	entries, err := fs.ReadDir(root, parent)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// checkSandboxes compares the base paths of the sandboxes with the vendors.
func checkSandboxes(vendors, paths []string) []string {
	const list = "internal/sandboxes/sandboxes.go"
	var problems []string
	for _, v := range vendors {
		if !slices.Contains(paths, "/"+v+"/") {
			problems = append(problems,
				fmt.Sprintf("vendor %s has no sandbox at /%s/: add %sdemo.Vendor to %s", v, v, v, list))
		}
	}
	for i, path := range paths {
		switch {
		case slices.Contains(paths[:i], path):
			problems = append(problems, fmt.Sprintf("two sandboxes are at %s: remove one from %s", path, list))
		case !slices.Contains(vendors, strings.Trim(path, "/")):
			problems = append(problems, fmt.Sprintf("the sandbox at %s belongs to no vendor: remove it from %s, "+
				"or add the vendor to tasks/all/all.go", path, list))
		}
	}
	return problems
}

// checkPages names the vendors without a guide.
func checkPages(root fs.FS, vendors []string) []string {
	var problems []string
	for _, v := range vendors {
		if page := pageOf(v); !exists(root, page) {
			problems = append(problems, fmt.Sprintf("vendor %s has no page: write %s", v, page))
		}
	}
	return problems
}

func pageOf(vendor string) string {
	return "docs/vendors/" + vendor + ".md"
}

func exists(root fs.FS, name string) bool {
	_, err := fs.Stat(root, name)
	return err == nil
}

// checkFiles names what is missing of a type's golden files and guide.
func checkFiles(root fs.FS, name typeName) []string {
	var problems []string
	_, short, _ := strings.Cut(name.Type, ":")
	short = strings.ReplaceAll(short, ":", "_")
	folder := "tasks/" + name.Vendor
	for _, golden := range []struct{ what, file, check string }{
		{"payload", folder + "/testdata/" + short + ".json", "CheckGoldenPayloads"},
		{"request", folder + "/testdata/requests/" + short + ".txt", "CheckGoldenRequest"},
	} {
		if !exists(root, golden.file) {
			problems = append(problems, fmt.Sprintf(
				"%s has no golden %s: %s is missing (make golden writes it if a test of %s calls apptest.%s)",
				name.Type, golden.what, golden.file, folder, golden.check))
		}
	}
	page, err := fs.ReadFile(root, pageOf(name.Vendor))
	line := regexp.MustCompile(`(?m)\benqueue ` + regexp.QuoteMeta(name.Type) + `(\s|$)`)
	if err != nil || !line.Match(page) {
		problems = append(problems, fmt.Sprintf("%s is not in the guide: add a line with `enqueue %s` to %s",
			name.Type, name.Type, pageOf(name.Vendor)))
	}
	if !strings.Contains(string(page), "`"+name.Type+"`") {
		problems = append(problems, fmt.Sprintf("the guide does not say what %s does: add its row to %s",
			name.Type, pageOf(name.Vendor)))
	}
	return problems
}

// checkQueues names queues that share a name.
func checkQueues(queues []tasks.Queue) []string {
	var problems []string
	for i, q := range queues {
		same := func(other tasks.Queue) bool { return other.Name == q.Name }
		if slices.ContainsFunc(queues[:i], same) {
			problems = append(problems,
				fmt.Sprintf("two queues are called %s: rename one in the vendor.go of its vendor", q.Name))
		}
	}
	return problems
}

// checkQueueOf names a type whose queue is not among its vendor's.
func checkQueueOf(v tasks.Vendor, taskType, queueName string) []string {
	if slices.ContainsFunc(v.Queues, func(q tasks.Queue) bool { return q.Name == queueName }) {
		return nil
	}
	return []string{fmt.Sprintf("%s is in the queue %s, which tasks/%s/vendor.go does not name",
		taskType, queueName, v.Name)}
}

// checkTypes names types that share a name, that begin another's (asynq matches
// types by prefix), or that do not begin with their vendor's.
func checkTypes(list []typeName) []string {
	var problems []string
	for i, name := range list {
		if !strings.HasPrefix(name.Type, name.Vendor+":") {
			problems = append(problems, fmt.Sprintf("%s does not begin with %q", name.Type, name.Vendor+":"))
		}
		for j, other := range list {
			switch {
			case name.Type == other.Type:
				if j < i {
					problems = append(problems, "two task types are called "+name.Type)
				}
			case strings.HasPrefix(other.Type, name.Type):
				problems = append(problems, fmt.Sprintf("%s is the beginning of %s: the worker would take one for the other",
					name.Type, other.Type))
			}
		}
	}
	return problems
}

// checkVariables names variables that do not begin with their vendor's name.
func checkVariables(v tasks.Vendor, variables []settings.Variable) []string {
	var problems []string
	foreign := foreignPrefixes[v.Name]
	for _, variable := range variables {
		if strings.HasPrefix(variable.Name, v.Prefix()) ||
			foreign != "" && strings.HasPrefix(variable.Name, foreign) {
			continue
		}
		problems = append(problems, fmt.Sprintf("the variable %s of %s does not begin with %s",
			variable.Name, v.Name, v.Prefix()))
	}
	return problems
}

// checkReconcilers names definitions, bound to an account, whose redelivery and
// reconciler do not fit.
func checkReconcilers(definitions []worker.Definition) []string {
	var problems []string
	for _, d := range definitions {
		reconciled := d.Base.Redelivery == broker.Reconciled
		switch {
		case reconciled && d.Reconcile == nil:
			problems = append(problems,
				d.Type+" is Reconciled without a reconciler: define it with tasks.DefineReconciled")
		case !reconciled && d.Reconcile != nil:
			problems = append(problems, d.Type+" has a reconciler but is not Reconciled")
		}
	}
	return problems
}

// checkLinked names packages, among those that a vendor's tasks link, that belong
// to another vendor or to the list of all.
func checkLinked(vendor string, vendors, linked []string) []string {
	var problems []string
	for _, pkg := range linked {
		path, inModule := strings.CutPrefix(pkg, "errand.internal/")
		if !inModule {
			continue
		}
		parts := strings.Split(path, "/")
		if len(parts) < 2 || parts[0] != "tasks" && parts[0] != "clients" || parts[1] == vendor {
			continue
		}
		if slices.Contains(vendors, parts[1]) || parts[1] == "all" {
			problems = append(problems, pkg+" is linked")
		}
	}
	return problems
}

// checkLists names the lists whose entries have rules that the validator does not reach,
// because the list's own tag does not say dive.
func checkLists(t reflect.Type, path string) []string {
	t = pointee(t)
	if t.Kind() != reflect.Struct {
		return nil
	}
	var problems []string
	for field := range t.Fields() {
		at := path + "." + field.Name
		of := pointee(field.Type)
		rules := field.Tag.Get("validate")
		switch of.Kind() {
		case reflect.Slice, reflect.Array, reflect.Map:
			entry := pointee(of.Elem())
			if hasRules(entry) && !slices.Contains(strings.Split(rules, ","), "dive") {
				problems = append(problems, at+": the rules of its entries are ignored without dive")
			}
			problems = append(problems, checkLists(entry, at+"[]")...)
		default:
			problems = append(problems, checkLists(of, at)...)
		}
	}
	return problems
}

// hasRules reports whether any field of a struct, or of one within it, has a rule.
func hasRules(t reflect.Type) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	for field := range t.Fields() {
		if field.Tag.Get("validate") != "" || hasRules(pointee(field.Type)) {
			return true
		}
	}
	return false
}

func pointee(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}
