package all_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"

	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// resends is a transport that sends nothing and reports whether net/http would
// resend the request after a reused connection broke (http.Request.isReplayable).
type resends chan bool

// RoundTrip implements http.RoundTripper.
func (r resends) RoundTrip(req *http.Request) (*http.Response, error) {
	safe := req.Method == http.MethodGet || req.Method == http.MethodHead
	r <- safe && (req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
	return nil, errors.New("nothing is sent")
}

// No client asks net/http to send twice what its task must not do twice. The calls
// whose payload says whether they may be repeated are tried as a GET, too.
func TestNetHTTPResendsOnlyWhatMayBeRepeated(t *testing.T) {
	t.Parallel()
	seen := make(resends, 1)
	definitions := boundDefinitions(t, seen)
	tried := 0
	for _, info := range all.Vendors.Types() {
		for _, p := range variants(t, info) {
			err := run(t, definitions, info.Type, p)
			if len(seen) == 0 {
				t.Errorf("%s sent nothing: %v", info.Type, err)
				continue
			}
			tried++
			may := p.Policy().Redelivery == tasks.AtLeastOnce
			if resent := <-seen; resent && !may {
				t.Errorf("%s %+v is resent by net/http", info.Type, p)
			}
		}
	}
	if want := len(all.Vendors.Types()) + 2*3; tried != want {
		t.Errorf("%d payloads tried, want %d", tried, want)
	}
}

// variants returns the example of a type and, if its payload says whether it may be
// repeated, reads that may and that must not be.
func variants(t *testing.T, info tasks.Info) []tasks.Payload {
	t.Helper()
	payloads := []tasks.Payload{info.Example}
	if !info.PerPayload() {
		return payloads
	}
	for _, idempotent := range []bool{false, true} {
		raw, err := json.Marshal(info.Example)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, "body")
		fields["method"] = http.MethodGet
		fields["idempotent"] = idempotent
		if raw, err = json.Marshal(fields); err != nil {
			t.Fatal(err)
		}
		p, err := info.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, p)
	}
	return payloads
}

// run runs the handler of a type once.
func run(t *testing.T, definitions []worker.Definition, taskType string, p tasks.Payload) error {
	t.Helper()
	for _, d := range definitions {
		if d.Type == taskType {
			_, err := d.Run(t.Context(), p)
			return err
		}
	}
	t.Fatalf("%s has no definition", taskType)
	return nil
}
