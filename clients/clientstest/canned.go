package clientstest

import (
	"io"
	"net/http"
	"strings"
)

// Canned is a transport that gives every request the same answer, without a network.
type Canned struct {
	Status int
	Header http.Header
	Body   string
}

// RoundTrip implements http.RoundTripper.
func (c Canned) RoundTrip(r *http.Request) (*http.Response, error) {
	header := c.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: c.Status,
		Header:     header,
		Body:       io.NopCloser(strings.NewReader(c.Body)),
		Request:    r,
	}, nil
}
