package clients

import (
	"context"
	"io"
	"net/http"
	"os"
	"time"
)

// timely is a request's body that is not read after its time. net/http writes on
// a goroutine of its own, and does not look at the context any more once it has a
// connection: a process that was frozen just then would send when it wakes up,
// long after others have ruled on the call.
type timely struct {
	io.ReadCloser
	until time.Time
}

// Read implements io.Reader.
func (b timely) Read(p []byte) (int, error) {
	if !time.Now().Before(b.until) {
		return 0, os.ErrDeadlineExceeded
	}
	return b.ReadCloser.Read(p)
}

// inTime returns req with a context, and has its body end with that. Headers leave
// together with the first part of the body, so that nothing leaves too late.
func inTime(ctx context.Context, req *http.Request) *http.Request {
	req = req.WithContext(ctx)
	until, ends := ctx.Deadline()
	if !ends || req.Body == nil || req.Body == http.NoBody {
		return req
	}
	req.Body = timely{req.Body, until}
	if again := req.GetBody; again != nil { // for a connection that was closed before anything left
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			return timely{body, until}, err
		}
	}
	return req
}
