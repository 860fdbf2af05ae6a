package clients

import (
	"io"
	"net/http"
)

// Once marks a GET or HEAD that must not be repeated. net/http sends a request
// without a body again by itself if a connection that was used before breaks
// off, because such methods should do no harm; one that says it does must not
// be. A body that cannot be rewound stops that; being empty, it is not sent.
func Once(req *http.Request) {
	if req.Body == nil || req.Body == http.NoBody {
		req.Body, req.GetBody = spent{}, nil
	}
}

// spent is an empty body that net/http does not recognize as one.
type spent struct{}

func (spent) Read([]byte) (int, error) {
	return 0, io.EOF
}

func (spent) Close() error {
	return nil
}
