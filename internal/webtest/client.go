// Package webtest has what tests need to speak HTTP: a client, and ports. The package is
// for tests only and never linked into a command.
package webtest

import "net/http"

// Client asks a server of a test. http.DefaultClient is not for tests that run in parallel:
// each httptest.Server that closes also closes the idle connections of the default transport,
// and a request that has just taken one of them fails.
var Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
