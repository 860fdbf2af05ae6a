package publicapi

import (
	"bytes"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"errand.internal/clients/clientstest"
)

const (
	root   = "../.."
	module = "errand.internal/"
)

// TestGoldenAPI has a change of the exported API seen in review: what an application uses
// must not change but by adding.
func TestGoldenAPI(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for _, p := range publicPackages(t) {
		text.WriteString(p.text)
	}
	clientstest.GoldenText(t, "testdata/api.txt", text.String())
}

// unnamed are the types of internal packages that an application need not name. Only the
// packages of vendors use them, which live in this module; and a broker.Job is what the
// functions of tasks that return an Option change.
var unnamed = []string{
	"account.Account",
	"account.Settings",
	"broker.Job",
	"worker.Definition",
}

// TestExportedSignaturesCanBeNamed holds that an application can write down each type
// that it gets or gives: an internal one has an alias in a public package.
func TestExportedSignaturesCanBeNamed(t *testing.T) {
	t.Parallel()
	aliases := map[string]bool{}
	uses := map[string]string{}
	for _, p := range publicPackages(t) {
		maps.Copy(aliases, p.aliases)
		maps.Copy(uses, p.internal)
	}
	for _, name := range unnamed {
		if uses[name] == "" {
			t.Errorf("%s is no longer in a signature: remove it from the list", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		if !aliases[name] && !slices.Contains(unnamed, name) {
			t.Errorf("%s has %s in its signature, which has no public name", uses[name], name)
		}
	}
}

// publicPackage is what other modules see of a package.
type publicPackage struct {
	text string // its exported declarations
	// aliases are the types of internal packages that it names, such as "record.Outcome";
	// internal are those in its declarations, with one of these.
	aliases  map[string]bool
	internal map[string]string
}

// publicPackages returns the packages of tasks and clients, but for the parts of the demo
// and of the fault suite.
func publicPackages(t *testing.T) []*publicPackage {
	t.Helper()
	var list []*publicPackage
	for _, top := range []string{"clients", "tasks"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case !d.IsDir():
				return nil
			case d.Name() == "testdata", d.Name() == "faults", strings.HasSuffix(d.Name(), "demo"):
				return fs.SkipDir
			}
			p, err := load(path)
			if p != nil {
				list = append(list, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(list) < 10 {
		t.Fatalf("only %d packages", len(list))
	}
	return list
}

// load returns the package in a folder, nil if there is none.
func load(dir string) (*publicPackage, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	imports := map[string]bool{} // names of internal packages
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return nil, err
			}
			if name, ok := strings.CutPrefix(imported, module+"internal/"); ok {
				imports[name[strings.LastIndexByte(name, '/')+1:]] = true
			}
		}
	}
	if len(files) == 0 {
		return nil, nil
	}
	folder, err := filepath.Rel(root, dir)
	if err != nil {
		return nil, err
	}
	described, err := doc.NewFromFiles(fset, files, module+filepath.ToSlash(folder))
	if err != nil {
		return nil, err
	}
	p := &publicPackage{
		aliases:  map[string]bool{},
		internal: map[string]string{},
	}
	return p, p.add(fset, described, imports)
}

// add adds the exported declarations of a package.
func (p *publicPackage) add(fset *token.FileSet, d *doc.Package, imports map[string]bool) error {
	var text bytes.Buffer
	text.WriteString("package " + d.Name + " // import \"" + d.ImportPath + "\"\n\n")
	for _, decl := range declarations(d) {
		strip(decl)
		p.collect(d.Name, decl, imports)
		if err := printer.Fprint(&text, fset, decl); err != nil {
			return err
		}
		text.WriteString("\n\n")
	}
	p.text = text.String()
	return nil
}

func declarations(d *doc.Package) []ast.Decl {
	var list []ast.Decl
	values := func(all []*doc.Value) {
		for _, v := range all {
			list = append(list, v.Decl)
		}
	}
	funcs := func(all []*doc.Func) {
		for _, f := range all {
			list = append(list, f.Decl)
		}
	}
	values(d.Consts)
	values(d.Vars)
	funcs(d.Funcs)
	for _, t := range d.Types {
		list = append(list, t.Decl)
		values(t.Consts)
		values(t.Vars)
		funcs(t.Funcs)
		funcs(t.Methods)
	}
	return list
}

// strip removes comments, bodies and the values of variables.
func strip(decl ast.Decl) {
	ast.Inspect(decl, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			n.Doc = nil
		case *ast.FuncDecl:
			n.Doc = nil
			n.Body = nil
		case *ast.Field:
			n.Doc = nil
			n.Comment = nil
		case *ast.TypeSpec:
			n.Doc = nil
			n.Comment = nil
		case *ast.ValueSpec:
			n.Doc = nil
			n.Comment = nil
		}
		return true
	})
	gen, ok := decl.(*ast.GenDecl)
	if !ok || gen.Tok != token.VAR {
		return
	}
	for _, spec := range gen.Specs {
		spec.(*ast.ValueSpec).Values = nil
	}
}

// collect notes the types of internal packages in a declaration.
func (p *publicPackage) collect(where string, decl ast.Decl, imports map[string]bool) {
	if gen, ok := decl.(*ast.GenDecl); ok {
		for _, spec := range gen.Specs {
			alias, ok := spec.(*ast.TypeSpec)
			if !ok || !alias.Assign.IsValid() {
				continue
			}
			if name := internalType(alias.Type, imports); name != "" {
				p.aliases[name] = true
			}
		}
		if gen.Tok == token.CONST || gen.Tok == token.VAR {
			return // their values, whose types have names elsewhere
		}
	}
	name := declName(decl)
	ast.Inspect(decl, func(n ast.Node) bool {
		if used := internalType(n, imports); used != "" {
			p.internal[used] = where + "." + name
		}
		return true
	})
}

func internalType(n ast.Node, imports map[string]bool) string {
	selector, ok := n.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	from, ok := selector.X.(*ast.Ident)
	if !ok || !imports[from.Name] {
		return ""
	}
	return from.Name + "." + selector.Sel.Name
}

func declName(decl ast.Decl) string {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		return d.Name.Name
	case *ast.GenDecl:
		if spec, ok := d.Specs[0].(*ast.TypeSpec); ok {
			return spec.Name.Name
		}
	}
	return "a value"
}
