package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"errand.internal/clients/clientstest"
	"errand.internal/internal/httpapi/apiclient"
	"errand.internal/tasks"
)

// A client that a generator has made of the description enqueues, reads and cancels.
func TestAGeneratedClientWorks(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	withKey := func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+shopKey)
		return nil
	}
	c, err := apiclient.NewClientWithResponses(f.base, apiclient.WithRequestEditorFn(withKey))
	if err != nil {
		t.Fatal(err)
	}
	var values apiclient.DanaconnectOtpSend_Values
	if err := values.FromDanaconnectOtpSendValues0(map[string]string{"COD1_EMAIL": "a@example.com"}); err != nil {
		t.Fatal(err)
	}
	body := apiclient.EnqueueDanaconnectOtpSendJSONRequestBody{
		IdConversation: 824541,
		Values:         values,
		Type:           1,
		Length:         6,
	}
	sent, err := c.EnqueueDanaconnectOtpSendWithResponse(t.Context(), &apiclient.EnqueueDanaconnectOtpSendParams{
		IdempotencyKey: new("login-5"),
		Wait:           new("20s"),
	}, body)
	if err != nil || sent.JSON200 == nil || *sent.JSON200.Outcome != string(tasks.Done) {
		t.Fatalf("sent: %+v, %v", sent, err)
	}
	read, err := c.GetTaskWithResponse(t.Context(), sent.JSON200.Id, nil)
	if err != nil || read.JSON200 == nil || len(*read.JSON200.History) != 1 {
		t.Errorf("read: %+v, %v", read, err)
	}
	cancelled, err := c.CancelTaskWithResponse(t.Context(), sent.JSON200.Id)
	if err != nil || cancelled.ApplicationproblemJSON409 == nil {
		t.Errorf("cancelled: %+v, %v", cancelled, err)
	}
	body.Length = 99
	wrong, err := c.EnqueueDanaconnectOtpSendWithResponse(t.Context(), nil, body)
	if err != nil || wrong.ApplicationproblemJSON422 == nil || len(*wrong.ApplicationproblemJSON422.Errors) != 1 {
		t.Errorf("wrong: %+v, %v", wrong, err)
	}
}

// The client is of today's description.
func TestTheClientIsOfTheDescription(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256(clientstest.ReadFile(t, "../../docs/openapi.json"))
	if got := strings.TrimSpace(string(clientstest.ReadFile(t, "apiclient/openapi.sha256"))); got != hex.EncodeToString(sum[:]) {
		t.Error("docs/openapi.json has changed: run make client")
	}
}
