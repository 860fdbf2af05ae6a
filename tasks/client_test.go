package tasks_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/internal/sandboxes"
	"errand.internal/internal/testwait"
	"errand.internal/internal/webtest"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
	"errand.internal/tasks/danaconnect"
)

func TestRefusedConnectionIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := apptest.New(t)
	port := webtest.Reserve(t) // the vendor is down
	vendors := sandboxes.New("")
	for name, value := range vendors.Environ("http://" + port.Addr) {
		f.Environ[name] = value
	}
	f.Only("danaconnect")
	c := f.StartQueues(t)
	ticket, err := tasks.Enqueue(t.Context(), c, danaconnect.OTPSend{
		IDConversation: danaconnecttest.Conversation,
		OTPType:        1,
		Length:         6,
		Values:         danaconnect.Values{{Key: "COD1_EMAIL", Value: "a@example.com"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	testwait.Eventually(t, 10*time.Second, "the first attempt has failed", func() bool {
		status, err := c.Status(t.Context(), ticket.ID)
		return err == nil && status.Attempts > 0
	})
	port.Serve(t, vendors.Handler())
	if _, err := apptest.Wait(t, ticket); err != nil {
		t.Error(err)
	}
	if n := sandbox.Find[*danaconnecttest.Sandbox](vendors).Effects(danaconnecttest.OpSend); n != 1 {
		t.Errorf("%d codes were sent, want 1", n)
	}
}

func TestUnknownType(t *testing.T) {
	t.Parallel()
	if _, err := all.Vendors.Decode("no:such:type", []byte(`{}`)); !errors.Is(err, tasks.ErrUnknownType) {
		t.Errorf("%v", err)
	}
}

// What encoding/json would change in silence is refused, and the place is named.
func TestEnqueueRefusesWhatCannotBeCarriedUnchanged(t *testing.T) {
	t.Parallel()
	c, err := tasks.Open(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	call := danaconnect.APICall{Method: http.MethodPost, Path: "records"}
	for want, body := range map[string]any{
		"body.a is given twice":                                  json.RawMessage(`{"a":1,"a":2}`),
		"body.a[0] is not valid Unicode text":                    map[string]any{"a": []string{"\xff"}},
		"body has a member whose name is not valid Unicode text": map[string]any{"\xff": 1},
	} {
		call.Body = body
		_, err := tasks.Enqueue(t.Context(), c, call)
		if _, ok := errors.AsType[*tasks.PayloadError](err); !ok || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}
