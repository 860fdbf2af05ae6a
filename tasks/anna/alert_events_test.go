package anna_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/apptest"
	"errand.internal/tasks/anna"
)

// Two workers poll: each change of the counter is one event, whichever of them
// noticed it.
func TestChangedAlertCounterIsOneEvent(t *testing.T) {
	t.Parallel()
	receiver := apptest.NewReceiver(t, http.StatusOK)
	f := apptest.New(t)
	f.Receive(receiver)
	vendor := sandbox.Find[*annatest.Sandbox](f.Sandboxes)
	workers := []*apptest.Worker{f.Start(t), f.Start(t)}
	poll := anna.MessengerAlerts{
		MessengerUser: anna.MessengerUser{UserID: annatest.DemoUser},
		Filters:       anna.MessengerFilters{Status: "A", DataIni: "today-7d"},
	}
	for _, counter := range []int{4, 4, 6, 6, 6, 0} {
		if err := vendor.SetAlerts(annatest.DemoUser, counter); err != nil {
			t.Fatal(err)
		}
		if got, err := apptest.Run(t, workers[0], poll); err != nil || got.AlertCounter != counter {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	// Other filters are another subject: this is its baseline.
	other := anna.MessengerAlerts{MessengerUser: poll.MessengerUser}
	if _, err := apptest.Run(t, workers[0], other); err != nil {
		t.Fatal(err)
	}

	changes := []apptest.Event{receiver.Next(), receiver.Next()}
	sequence := func(e apptest.Event) float64 {
		n, _ := e.Data["sequence"].(float64)
		return n
	}
	slices.SortFunc(changes, func(a, b apptest.Event) int { // they may overtake each other
		return int(sequence(a) - sequence(b))
	})
	for i, want := range []struct{ previous, current float64 }{{4, 6}, {6, 0}} {
		e := changes[i]
		if e.Type != "messenger.alerts.changed" || e.Data["previous"] != want.previous ||
			e.Data["current"] != want.current ||
			sequence(e) != sequence(changes[0])+float64(i) {
			t.Errorf("event %d is %+v, want %+v", i, e, want)
		}
		subject := map[string]any{
			"userId":           annatest.DemoUser,
			"messengerFilters": map[string]any{"status": "A", "dataIni": "today-7d"},
		}
		if !reflect.DeepEqual(e.Data["subject"], subject) {
			t.Errorf("subject %v, want %v", e.Data["subject"], subject)
		}
	}
	for _, w := range workers {
		if err := w.Stop(); err != nil {
			t.Error(err)
		}
	}
	for len(receiver.Events) > 0 {
		t.Errorf("an event too many: %+v", <-receiver.Events)
	}
}

// The guide shows the event as it could be sent.
func TestGuideShowsTheAlertEvent(t *testing.T) {
	t.Parallel()
	guide := clientstest.ReadFile(t, "../../docs/vendors/anna.md")
	shown := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(guide)
	if shown == nil {
		t.Fatal("docs/vendors/anna.md shows no event")
	}
	var e struct {
		Type      string
		Timestamp time.Time
		Data      struct {
			Subject  anna.MessengerAlerts
			Previous int
			Current  int
			Sequence int64
		}
	}
	dec := json.NewDecoder(bytes.NewReader(shown[1]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		t.Fatal(err)
	}
	if e.Type != "messenger.alerts.changed" || e.Timestamp.IsZero() || e.Data.Subject.UserID == "" ||
		e.Data.Previous == e.Data.Current || e.Data.Sequence == 0 {
		t.Errorf("docs/vendors/anna.md shows %s", shown[1])
	}
}
