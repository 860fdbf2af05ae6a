package events_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Receiver takes Errand's events.
type Receiver struct {
	Hook *standardwebhooks.Webhook // standardwebhooks.NewWebhook("whsec_…")
	Take func(event Event) error   // must be quick; after an error the event is sent again

	mu   sync.Mutex
	seen map[string]bool // in production: a table keyed by event ID, kept for some days
	last map[string]int64
}

// Event is what Errand sends.
type Event struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err == nil {
		err = r.Hook.Verify(body, req.Header) // signature, and at most 5 minutes old
	}
	if err != nil {
		http.Error(w, "invalid signature", http.StatusUnauthorized)
		return
	}
	if err := r.once(req.Header.Get("webhook-id"), body); err != nil {
		http.Error(w, "not accepted; try again", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *Receiver) once(id string, body []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen[id] {
		return nil // accepted before
	}
	var event Event
	if err := json.Unmarshal(body, &event); err != nil {
		return err
	}
	var order struct { // set in changes
		Subject  json.RawMessage `json:"subject"`
		Sequence int64           `json:"sequence"`
	}
	if err := json.Unmarshal(event.Data, &order); err != nil {
		return err
	}
	subject := event.Type + string(order.Subject)
	if order.Sequence == 0 || order.Sequence > r.last[subject] { // else a later change overtook it
		if err := r.Take(event); err != nil {
			return err
		}
		r.last[subject] = order.Sequence
	}
	r.seen[id] = true
	return nil
}

// end of the code in docs/events.md

// NewReceiver returns the receiver of docs/events.md.
func NewReceiver(secret string, take func(Event) error) (*Receiver, error) {
	hook, err := standardwebhooks.NewWebhook(secret)
	return &Receiver{
		Hook: hook,
		Take: take,
		seen: map[string]bool{},
		last: map[string]int64{},
	}, err
}

func Example_receiver() {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	receiver, err := NewReceiver(secret, func(e Event) error {
		fmt.Println("took", e.Type, string(e.Data))
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	// Errand signs ID, time and body, and posts them.
	body := `{"type":"credential.parked","timestamp":"2026-01-31T12:00:00.000Z","data":{"credential":"shop"}}`
	now := time.Now()
	signature, err := receiver.Hook.Sign("evt_1", now, []byte(body))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, body := range []string{body, body, body + " "} {
		req := httptest.NewRequest(http.MethodPost, "/errand", strings.NewReader(body))
		req.Header.Set("webhook-id", "evt_1")
		req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
		req.Header.Set("webhook-signature", signature)
		answer := httptest.NewRecorder()
		receiver.ServeHTTP(answer, req)
		fmt.Println(answer.Code)
	}
	// Output:
	// took credential.parked {"credential":"shop"}
	// 204
	// 204
	// 401
}
