// Package publicapi has the tests of what other modules see of this one: the exported
// API of tasks and clients as a golden file, and a module of an application's own, which
// is compiled and tested with the public packages alone.
package publicapi
