package sandbox

import (
	"maps"
	"net/http"
)

// Vendor is the sandbox of one vendor, as the demo and the tests of whole workers
// use it.
type Vendor interface {
	http.Handler
	// Path is the base path of the vendor: "/dinero/".
	Path() string
	// Environ returns the settings that lead a worker to the sandbox, with every
	// login that the sandbox knows. base is the address that serves Path, without a
	// slash at its end.
	Environ(base string) map[string]string
}

// Vendors are the sandboxes of several vendors, one base path each.
type Vendors []Vendor

// Handler serves all of them.
func (vs Vendors) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, v := range vs {
		Mount(mux, v.Path(), v)
	}
	return mux
}

// Environ returns the settings that lead a worker to the sandboxes at base.
func (vs Vendors) Environ(base string) map[string]string {
	environ := map[string]string{}
	for _, v := range vs {
		maps.Copy(environ, v.Environ(base))
	}
	return environ
}

// Find returns the sandbox of one vendor, such as Find[*dinerotest.Sandbox]. It
// panics if there is none.
func Find[T Vendor](vs Vendors) T {
	for _, v := range vs {
		if found, ok := v.(T); ok {
			return found
		}
	}
	panic("sandbox: no such vendor")
}
