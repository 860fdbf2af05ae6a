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
	Doc      string // of the doc tag
	Secret   bool   // Name_FILE works too
	Required bool
}

// Describe lists the variables of structs, or pointers to structs, in the order
// of the fields. A variable that several fields read is listed once; Describe
// panics if they disagree on its default.
func Describe(structs ...any) []Variable {
	var list []Variable
	at := map[string]int{}
	for _, s := range structs {
		t := reflect.TypeOf(s)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		for _, f := range fieldsOf(reflect.New(t).Interface()) {
			v := Variable{
				Name:     f.name,
				Default:  f.Tag.Get("envDefault"),
				Doc:      f.Tag.Get("doc"),
				Secret:   f.secret,
				Required: f.required(),
			}
			i, known := at[v.Name]
			if !known {
				at[v.Name] = len(list)
				list = append(list, v)
				continue
			}
			if list[i].Default != v.Default {
				panic(
					fmt.Sprintf(
						"settings: %s has two defaults, %q and %q",
						v.Name,
						list[i].Default,
						v.Default,
					),
				)
			}
			if list[i].Doc == "" {
				list[i].Doc = v.Doc
			}
			list[i].Secret = list[i].Secret || v.Secret
			list[i].Required = list[i].Required || v.Required
		}
	}
	return list
}

// Section is a part of .env.example.
type Section struct {
	Title string
	Doc   string // may be empty
	// Variables come from Describe.
	Variables []Variable
}

// Example renders .env.example. A variable with a default is a line that sets
// it to that; secrets and variables without a default are comments. A variable
// stands in the first section that has it.
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
		doc += " Needed."
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

// quoted is the form that a shell and docker compose read alike.
func quoted(value string) string {
	switch {
	case plain.MatchString(value):
		return value
	case !strings.Contains(value, "'"):
		return "'" + value + "'"
	default:
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").
			Replace(value) +
			`"`
	}
}

// comment writes a text as comment lines of readable length.
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
