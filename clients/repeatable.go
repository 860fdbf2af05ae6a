package clients

import (
	"context"
	"io"
	"net/http"
)

type repeatableKey struct{}

// WithRepeatable returns a context that says whether the calls made under it may
// happen twice. Without it they may not, so a client that says nothing is safe.
// The wrapper of every task's handler sets it from the task's Policy; see package
// tasks.
func WithRepeatable(ctx context.Context, repeatable bool) context.Context {
	return context.WithValue(ctx, repeatableKey{}, repeatable)
}

func isRepeatable(ctx context.Context) bool {
	repeatable, _ := ctx.Value(repeatableKey{}).(bool)
	return repeatable
}

// sentOnce returns a request that net/http does not resend. If a reused connection
// breaks, net/http resends a request that it takes for safe by its method, or for
// idempotent by its header; some vendors' are not. A body that cannot be rewound
// prevents the resend. In place of a missing body it is empty, so nothing of it is
// sent. Any other request is never resent once a byte of it has left.
func sentOnce(req *http.Request) *http.Request {
	if !isResent(req) {
		return req
	}
	once := *req
	once.GetBody = nil
	if req.Body == nil || req.Body == http.NoBody {
		once.Body = unrewindableBody{}
	}
	return &once
}

// isResent reports whether net/http resends such a request, as the documentation of
// http.Transport says.
func isResent(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return req.Header["Idempotency-Key"] != nil || req.Header["X-Idempotency-Key"] != nil
}

// unrewindableBody is an empty body that net/http does not recognize as empty.
type unrewindableBody struct{}

// Read implements io.Reader.
func (unrewindableBody) Read([]byte) (int, error) {
	return 0, io.EOF
}

// Close implements io.Closer.
func (unrewindableBody) Close() error {
	return nil
}
