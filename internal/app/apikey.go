package app

import (
	"encoding/json"
	"fmt"
	"io"

	"errand.internal/internal/httpapi"
)

// MakeAPIKey makes a key of the HTTP interface, and prints it with its line for
// API_KEYS. It is kept nowhere.
func MakeAPIKey(out io.Writer, name string, types []string, read, asJSON bool) error {
	made, err := httpapi.MakeKey(name, types, read)
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(out).Encode(made)
	}
	_, err = fmt.Fprintf(
		out,
		"key, for %s only, shown this once:\n%s\n\nentry, for API_KEYS of every worker that serves the HTTP interface:\n%s\n",
		name,
		made.Key,
		made.Entry,
	)
	return err
}
