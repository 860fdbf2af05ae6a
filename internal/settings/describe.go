package settings

import (
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// Variable describes one variable.
type Variable struct {
	Name     string
	Default  string // "" if it has none
	Doc      string // from the doc tag
	Secret   bool   // may also come from the file that Name_FILE names
	Required bool
}

// Describe lists the variables of structs, or pointers to structs, in the order
// of the fields. It lists a variable that several fields read once, and panics if
// they disagree on its default.
func Describe(structs ...any) []Variable {
	var list []Variable
	index := map[string]int{}
	for _, s := range structs {
		t := reflect.TypeOf(s)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		for _, f := range fieldsOf(reflect.New(t).Interface()) {
			v := f.describe()
			i, known := index[v.Name]
			if !known {
				index[v.Name] = len(list)
				list = append(list, v)
				continue
			}
			list[i].merge(v)
		}
	}
	return list
}

// merge adds what another field says about the same variable.
func (v *Variable) merge(other Variable) {
	if v.Default != other.Default {
		panic(fmt.Sprintf("settings: %s has two defaults, %q and %q", v.Name, v.Default, other.Default))
	}
	if v.Doc == "" {
		v.Doc = other.Doc
	}
	v.Secret = v.Secret || other.Secret
	v.Required = v.Required || other.Required
}

// Section is one section of .env.example.
type Section struct {
	Title string
	Doc   string // may be empty
	// Variables come from Describe.
	Variables []Variable
}

// Example renders .env.example. A variable with a default is set to it; secrets
// and variables without a default are commented out. A variable appears only in
// the first section that lists it.
func Example(sections []Section) string {
	var b strings.Builder
	seen := map[string]bool{}
	for i, section := range sections {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "# --- %s ---\n", section.Title)
		comment(&b, section.Doc)
		for _, v := range section.Variables {
			if seen[v.Name] {
				continue
			}
			seen[v.Name] = true
			b.WriteString("\n")
			v.render(&b)
		}
	}
	return b.String()
}

func (v Variable) render(b *strings.Builder) {
	doc := v.Doc
	if v.Required {
		doc += " Required."
	}
	if v.Secret {
		doc += " Secret: " + v.Name + fileSuffix + " may name a file that holds it."
	}
	comment(b, strings.TrimSpace(doc))
	if v.Secret || v.Default == "" {
		fmt.Fprintf(b, "#%s=%s\n", v.Name, quoted(v.Default))
		return
	}
	fmt.Fprintf(b, "%s=%s\n", v.Name, quoted(v.Default))
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]*$`)

var doubleQuoteEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")

// quoted quotes a value such that a shell and docker compose parse it alike.
func quoted(value string) string {
	switch {
	case plain.MatchString(value):
		return value
	case !strings.Contains(value, "'"):
		return "'" + value + "'"
	default:
		return `"` + doubleQuoteEscapes.Replace(value) + `"`
	}
}

// comment writes a text as comment lines of limited length.
func comment(b *strings.Builder, text string) {
	const width = 98
	line := "#"
	for _, word := range strings.Fields(text) {
		if line != "#" && len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	if line != "#" {
		b.WriteString(line + "\n")
	}
}
