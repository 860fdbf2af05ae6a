package vendors

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"errand.internal/internal/settings"
	"errand.internal/tasks"
)

// What stands in Config but not among the sites would be neither checked nor
// described: this names it.
func TestEveryAccountIsASite(t *testing.T) {
	t.Parallel()
	var c Config
	if err := settings.Load(&c, nil); err != nil {
		t.Fatal(err)
	}
	c = c.AllowInsecureHTTP(true)
	fields, names := map[string]int{}, map[string]bool{}
	for _, s := range c.Sites() {
		if s.Vendor == "" || s.Title == "" || s.Name == "" || names[s.Name] {
			t.Errorf("%s %q: vendor, title, or a name of its own is missing", s.Vendor, s.Name)
		}
		names[s.Name] = true
		alone := reflect.ValueOf(s.Alone)
		for i := range alone.NumField() {
			if field := alone.Type().Field(i); isAccount(field) && !alone.Field(i).IsZero() {
				fields[field.Name]++
				if !reflect.DeepEqual(alone.Field(i).Interface(), s.Settings) ||
					field.Tag.Get("envPrefix") != s.Prefix() {
					t.Errorf("%s: its settings are not those of %s", s.Name, field.Name)
				}
			}
		}
		var urls []string
		for _, v := range settings.Describe(s.Settings) {
			if strings.HasSuffix(v.Name, "URL") {
				urls = append(urls, s.Prefix()+v.Name+"="+v.Default)
			}
		}
		for _, a := range s.Addresses {
			if i := slices.Index(urls, a.Variable+"="+a.URL); i >= 0 {
				urls = slices.Delete(urls, i, i+1)
			} else {
				t.Errorf("%s: %s=%s is no base URL of its settings", s.Name, a.Variable, a.URL)
			}
		}
		if len(urls) != 0 {
			t.Errorf("%s: %s: not among the addresses", s.Name, urls)
		}
		if len(s.Login) == 0 {
			t.Errorf("%s: no variable of a credential", s.Name)
		}
		for _, variable := range s.Login {
			if !slices.ContainsFunc(
				settings.Describe(s.Settings),
				func(v settings.Variable) bool { return s.Prefix()+v.Name == variable },
			) {
				t.Errorf("%s: there is no %s", s.Name, variable)
			}
		}
	}
	all := reflect.ValueOf(c)
	for i := range all.NumField() {
		name := all.Type().Field(i).Name
		if !isAccount(all.Type().Field(i)) {
			continue
		}
		if fields[name] != 1 {
			t.Errorf("%s is %d sites, want 1", name, fields[name])
		}
		if insecure := all.Field(i).FieldByName("AllowInsecureHTTP"); !insecure.IsValid() || !insecure.Bool() {
			t.Errorf("%s knows nothing of ALLOW_INSECURE_HTTP", name)
		}
	}
}

// isAccount tells the accounts from settings that are of no single one.
func isAccount(f reflect.StructField) bool { return f.Type.Implements(reflect.TypeFor[Settings]()) }

// The catalogue names vendors as the accounts do, or an attempt would have no
// time.
func TestEveryVendorOfTheCatalogueHasABound(t *testing.T) {
	t.Parallel()
	bounds := Config{}.Timeouts()
	for _, info := range tasks.Types() {
		if bounds[info.Vendor] <= 0 {
			t.Errorf("%s: no account is of the vendor %q", info.Type, info.Vendor)
		}
	}
}
