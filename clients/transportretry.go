package clients

import (
	"io"
	"net/http"
)

// DisableTransportRetry marks a GET or HEAD that net/http must not resend. If a
// reused connection breaks, net/http resends a request without a body by itself,
// on the assumption that these methods are safe; some vendors' are not. A body that
// cannot be rewound prevents the resend. It is empty, so nothing of it is sent.
func DisableTransportRetry(req *http.Request) {
	if req.Body == nil || req.Body == http.NoBody {
		req.Body = unrewindableBody{}
		req.GetBody = nil
	}
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
