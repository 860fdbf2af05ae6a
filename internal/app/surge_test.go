package app_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/apptest"
	"errand.internal/internal/testwait"
)

// A worker announces an hour with far more passcodes than usual, by an event and a counter
// that were silent before.
func TestASurgeOfPasscodesIsAnnounced(t *testing.T) {
	t.Parallel()
	receiver := apptest.NewReceiver(t, http.StatusOK)
	f := newFixture(t)
	f.Only("danaconnect")
	f.Remove("DANACONNECT_CLIENT_")
	f.Receive(receiver)
	w := f.Start(t)
	const counter = `errand_otp_surges_total{account="danaconnect-otp"} `
	send := func() {
		t.Helper()
		if _, err := apptest.Run(t, w, otpFor("ana@example.com")); err != nil {
			t.Fatal(err)
		}
	}
	send()
	if _, metrics := w.Get(t, "/metrics"); !strings.Contains(metrics, counter+"0\n") {
		t.Error("the counter does not begin at zero")
	}
	rdb := f.Redis.Client()
	var hours string
	testwait.Eventually(t, testwait.Limit, "the passcode is counted", func() bool {
		keys := rdb.Keys(t.Context(), "limit:*:h").Val()
		if len(keys) == 1 {
			hours = keys[0]
		}
		return len(keys) == 1
	})
	// The fleet has worked for a week, and sent 20 at this time of a day.
	now := time.Now().Unix() / 3600
	rdb.HSet(t.Context(), hours, "since", now-168)
	for _, hour := range []int64{now, now + 1} { // should it end meanwhile
		for day := range int64(7) {
			rdb.HSet(t.Context(), hours, strconv.FormatInt(hour-24*(day+1), 10), 20)
		}
		rdb.HSet(t.Context(), hours, strconv.FormatInt(hour, 10), 59)
	}
	send()
	e := receiver.Next()
	if e.Type != "account.surge" || e.Data["account"] != "danaconnect-otp" || e.Data["usual"] != 20.0 || e.Data["count"] != 60.0 {
		t.Errorf("event %+v", e)
	}
	if _, metrics := w.Get(t, "/metrics"); !strings.Contains(metrics, counter+"1\n") {
		t.Error("the counter has not counted it")
	}
}
