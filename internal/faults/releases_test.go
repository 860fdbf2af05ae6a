package faults

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/broker"
	"errand.internal/internal/fleet"
	"errand.internal/internal/record"
	"errand.internal/internal/worker"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// olderRelease is a release that knows neither the type of h.Updates nor the field
// maximumTries of a passcode.
var olderRelease = fleet.Release{Name: "older", Definitions: forgetNewer}

func forgetNewer(definitions []worker.Definition) []worker.Definition {
	older := slices.DeleteFunc(slices.Clone(definitions), func(d worker.Definition) bool {
		return d.Type == danaconnect.APICall{}.Type()
	})
	for i, d := range older {
		if d.Type != (danaconnect.OTPSend{}).Type() {
			continue
		}
		older[i].Decode = func(raw []byte) (worker.Payload, error) {
			var fields map[string]json.RawMessage
			if json.Unmarshal(raw, &fields) == nil && fields["maximumTries"] != nil {
				return nil, errors.New("maximumTries is unknown")
			}
			return d.Decode(raw)
		}
	}
	return older
}

// A deploy replaces workers of an older release one by one, while tasks arrive that
// only the newer one knows: of a newer type, and with a newer field. The older workers
// leave both to the newer ones, which do each with one call, and no attempt is spent.
// A payload that is simply wrong ends invalid at once, whoever takes it.
func TestRollingDeployOfANewerRelease(t *testing.T) {
	t.Parallel()
	h := newHarness(t, fleet.Options{Unsealed: true})
	h.startWorkers(3, olderRelease.Setting())
	h.kinds = []*fleet.Kind{h.Passcodes} // the newer types are unknown to all
	h.warmUp()
	h.skip()
	const n = 6
	newerType := h.EnqueueMany(n, h.Updates)
	newerField := h.enqueueWithNewerField(n)
	h.WaitState(waitLimit, tasks.Parked, slices.Concat(newerType, newerField))
	wrong := h.enqueueWrong(n)
	for _, id := range wrong {
		status, err := h.Client.Wait(limitContext(t), id)
		if err != nil || status.Outcome != tasks.Invalid || len(status.History) != 0 {
			t.Errorf("the wrong payload %s: %+v, %v; want invalid without a call", id, status, err)
		}
	}

	stop := h.Load(fleet.Size(40*time.Millisecond, 20*time.Millisecond), h.Passcodes)
	for _, old := range slices.Clone(h.workers) {
		h.startWorkers(1)
		h.stopWorker(old)
	}
	stop()
	newerType = append(newerType, h.EnqueueMany(n, h.Updates)...)
	newerField = append(newerField, h.enqueueWithNewerField(n)...)
	h.finish(waitLimit, tasks.Done)
	h.checkFirstCall(h.tasks())
	for _, id := range slices.Concat(newerType, newerField) {
		if calls := h.CallsOf(id); calls != 1 {
			t.Errorf("%s: %d calls, want one", id, calls)
		}
	}
	h.StopAll()
}

// enqueueWithNewerField enqueues passcodes as a producer of a newer release does: with
// a field that the older one does not know, and with a higher version.
func (h *harness) enqueueWithNewerField(n int) (ids []string) {
	h.t.Helper()
	ctx := h.t.Context()
	const paused = "asynq:{otp}:paused" // asynq's switch
	h.Conn().Set(ctx, paused, 1, 0)
	defer h.Conn().Del(ctx, paused)
	for range n {
		passcode := h.NewPasscode()
		passcode.MaximumTries = new(3)
		id := h.Enqueue(passcode)
		ids = append(ids, id)
		once := h.Conn().HGet(ctx, fleet.RecordKey(id), "once").Val()
		cut := strings.LastIndex(once, " ")
		if cut < 0 || once[cut+1:] != "1" {
			h.t.Fatalf("the record says %q, want the version at its end", once)
		}
		h.Conn().HSet(ctx, fleet.RecordKey(id), "once", once[:cut]+" 2")
	}
	return ids
}

// enqueueWrong enqueues passcodes of this version that no release can read. A producer
// refuses them, so they are stored without one.
func (h *harness) enqueueWrong(n int) (ids []string) {
	h.t.Helper()
	producer := broker.NewProducer(h.Conn(), record.New(h.Conn()), nil)
	for range n {
		ticket, err := producer.Enqueue(h.t.Context(), broker.Job{
			Type:    danaconnect.OTPSend{}.Type(),
			Payload: []byte(`{"idConversation":"824541","length":2}`),
			Policy:  danaconnect.OTPSend{}.Policy(),
		})
		if err != nil {
			h.t.Fatal(err)
		}
		ids = append(ids, ticket.ID)
	}
	return ids
}
