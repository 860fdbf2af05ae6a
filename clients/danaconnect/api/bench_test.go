package api_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"errand.internal/clients"
	"errand.internal/clients/danaconnect"
	"errand.internal/clients/danaconnect/api"
)

// replies is a transport that answers each request at once, without a connection.
type replies string

// RoundTrip implements http.RoundTripper.
func (body replies) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		ProtoMajor: 1,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader([]byte(body))),
		Request:    req,
	}, nil
}

// BenchmarkCall measures what a client does for a call beside the network.
func BenchmarkCall(b *testing.B) {
	caller := clients.NewCaller(danaconnect.Vendor, clients.Timeouts{}, replies(`{"id":4711}`), nil)
	client, err := api.New(config("https://vendor.example/"), &twoTokens{}, caller)
	if err != nil {
		b.Fatal(err)
	}
	request := api.Request{
		Method: http.MethodPost,
		Path:   "records",
		Body:   []byte(`{"mail":"somebody@example.com","name":"somebody","row":7}`),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Call(b.Context(), request); err != nil {
			b.Fatal(err)
		}
	}
}
