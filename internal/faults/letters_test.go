package faults

import (
	"bytes"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/app"
	"errand.internal/internal/fleet"
	"errand.internal/tasks"
)

// archiveLimit is where asynq's script that trims its archive breaks.
const archiveLimit = 8000

// More tasks end archived than asynq can keep, as fast as the workers can. Every
// one of them is exported, once; asynq's archive stays below the size at which
// its own trimming breaks, and the queue works on.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s := fleet.New(t, fleet.Options{Env: map[string]string{"WORKER_QUEUES": "otp=40,anna=8,polls=8"}})
	s.Start(2)
	proven := s.SendOTP()
	s.Wait(soon, []string{proven})
	s.OTP.Inject(sandbox.Fault{Op: danaconnecttest.OpSend, Code: "10"}) // no such conversation
	n := fleet.Size(8500, 12_000)
	peak := watchArchive(t, s)
	start := time.Now()
	ids := s.Many(n, s.SendOTP)
	s.Wait(15*time.Minute, ids)
	took := time.Since(start)
	if report := s.Check(ids); report.Outcomes[tasks.Invalid] != n {
		t.Errorf("of %d tasks %v", n, report.Outcomes)
	}
	s.OTP.Clear(danaconnecttest.OpSend)

	var out bytes.Buffer
	if err := app.ExportDeadLetters(t.Context(), s.Settings(), "otp", &out); err != nil {
		t.Fatal(err)
	}
	letters := map[string]int{}
	for dec := json.NewDecoder(&out); dec.More(); {
		var l app.DeadLetter
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.Outcome != tasks.Invalid || l.Type != "danaconnect:otp:send" || l.Code != "10" || l.Attempts != 1 {
			t.Errorf("letter %+v", l)
		}
		letters[l.ID]++
	}
	for _, id := range ids {
		if letters[id] != 1 {
			t.Errorf("%s is exported %d times, want once", id, letters[id])
		}
	}
	if len(letters) != n {
		t.Errorf("%d letters, want %d", len(letters), n)
	}
	most := peak()
	t.Logf(
		"%d dead letters in %v (%.0f a second), all exported; asynq's archive held %d at most",
		n,
		took.Round(time.Second),
		float64(n)/took.Seconds(),
		most,
	)
	if most >= archiveLimit {
		t.Errorf("asynq's archive grew to %d, and its trimming breaks above %d", most, archiveLimit)
	}
	after := s.Many(20, s.SendOTP)
	s.Wait(soon, after)
	s.CheckDone(append(after, proven))
	s.StopAll()
}

// watchArchive looks at the size of asynq's archive until peak is called, which
// returns the greatest.
func watchArchive(t *testing.T, s *fleet.Site) (peak func() int64) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	var most int64
	go func() {
		defer close(ended)
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			most = max(most, s.Conn().ZCard(t.Context(), "asynq:{otp}:archived").Val())
			select {
			case <-ticker.C:
			case <-end:
				return
			case <-t.Context().Done():
				return
			}
		}
	}()
	return sync.OnceValue(func() int64 {
		close(end)
		<-ended
		return most
	})
}
