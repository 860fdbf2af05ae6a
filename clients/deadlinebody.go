package clients

import (
	"context"
	"io"
	"net/http"
	"os"
	"time"
)

// deadlineBody is a request body that cannot be read after the call's deadline.
// net/http writes on a separate goroutine and, once it has a connection, no longer
// looks at the context. Without this, a process frozen at that point would send
// the request when it wakes up, long after the task was decided without it.
type deadlineBody struct {
	io.ReadCloser
	deadline time.Time
}

// Read implements io.Reader.
func (b deadlineBody) Read(p []byte) (int, error) {
	if !time.Now().Before(b.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	return b.ReadCloser.Read(p)
}

// withBodyDeadline returns req under ctx, with a body that ends at the deadline of
// ctx. net/http sends the header together with the first part of the body, so that
// nothing at all is sent too late.
func withBodyDeadline(ctx context.Context, req *http.Request) *http.Request {
	req = req.WithContext(ctx)
	deadline, ok := ctx.Deadline()
	if !ok || req.Body == nil || req.Body == http.NoBody {
		return req
	}
	req.Body = deadlineBody{req.Body, deadline}
	// net/http rewinds the body if a connection closes before anything is written.
	if rewind := req.GetBody; rewind != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := rewind()
			return deadlineBody{body, deadline}, err
		}
	}
	return req
}
