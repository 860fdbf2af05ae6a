package faults

import (
	"slices"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/fleet"
	"errand.internal/internal/sandboxes"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

// The other tests break the tasks that fleet.Kinds names. This one takes the types
// and the sandboxes from the lists of the vendors: the vendor's answer to the example
// of each type is lost, before or after its effect. How the task ends, and how often
// the vendor acted, is what its Redelivery promises.
func TestEveryTypeWithALostAnswer(t *testing.T) {
	t.Parallel()
	operations := map[string]string{}
	t.Run("undisturbed", func(t *testing.T) {
		f := newExamples(t)
		for _, info := range all.Vendors.Types() {
			operations[info.Type] = f.operation(info)
		}
		f.StopAll()
	})
	for name, afterEffect := range map[string]bool{"before the effect": false, "after the effect": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newExamples(t)
			for _, info := range all.Vendors.Types() {
				if op := operations[info.Type]; op != "" {
					f.loseAnswer(info, op, afterEffect)
				}
			}
			if fleet.Long() {
				f.Quiet(fleet.QuietPhase, f.Passcodes)
			}
			f.StopAll()
		})
	}
}

// examples is a fixture with a worker that runs the examples of all types.
type examples struct {
	*fleet.Fixture
	t *testing.T
}

func newExamples(t *testing.T) *examples {
	t.Helper()
	var list []func(canary string) sandbox.Vendor
	for _, v := range sandboxes.Vendors {
		list = append(list, v.NewSandbox) // with the data that the examples name
	}
	f := fleet.New(t, fleet.Options{Env: fleet.Timeouts(2 * time.Second), Sandboxes: list})
	f.Start(1)
	return &examples{f, t}
}

// run makes an example succeed, runs it, and returns its status at the end.
func (f *examples) run(info tasks.Info) *tasks.Status {
	f.t.Helper()
	id := f.Enqueue(info.Example)
	f.Wait(waitLimit, []string{id})
	status, err := f.Client.Status(f.t.Context(), id)
	if err != nil {
		f.t.Fatalf("%s: %v", info.Type, err)
	}
	return status
}

// prepare makes the example of a type succeed, and returns the vendor's sandbox.
func (f *examples) prepare(info tasks.Info) clientstest.Sandbox {
	f.t.Helper()
	path := "/" + info.Vendor + "/"
	i := slices.IndexFunc(f.Sandboxes, func(v sandbox.Vendor) bool { return v.Path() == path })
	if i < 0 {
		f.t.Fatalf("%s: there is no sandbox at %s", info.Type, path)
	}
	vendor, ok := f.Sandboxes[i].(clientstest.Sandbox)
	if !ok {
		f.t.Fatalf("%s: the sandbox at %s does not embed *sandbox.Engine", info.Type, path)
	}
	vendor.Reset()
	if prepare := sandboxes.Vendors[i].PrepareExample; prepare != nil {
		prepare(f.Sandboxes[i])
	}
	return vendor
}

// operation runs the example of a type and returns the sandbox's operation that it
// calls, which is the last one: a login comes first.
func (f *examples) operation(info tasks.Info) string {
	f.t.Helper()
	vendor := f.prepare(info)
	if status := f.run(info); status.Outcome != tasks.Done {
		f.t.Errorf("%s: the example ended %s: %s", info.Type, status.Outcome, status.Message)
		return ""
	}
	requests := vendor.Requests("")
	if len(requests) == 0 {
		f.t.Errorf("%s is done without a call of its vendor's sandbox", info.Type)
		return ""
	}
	return requests[len(requests)-1].Op
}

// loseAnswer runs the example of a type while the first answer of op is lost.
func (f *examples) loseAnswer(info tasks.Info, op string, afterEffect bool) {
	f.t.Helper()
	vendor := f.prepare(info)
	vendor.Inject(sandbox.Fault{
		Op:          op,
		Drop:        true,
		AfterEffect: afterEffect,
		Times:       1,
	})
	status := f.run(info)
	calls, effects := vendor.Calls(op), vendor.Effects(op)
	switch redelivery := info.Example.Policy().Redelivery; {
	case redelivery == tasks.AtMostOnce:
		if status.Outcome != tasks.Unknown || calls != 1 {
			f.t.Errorf("%s: ended %s after %d calls, want %s after one", info.Type, status.Outcome, calls, tasks.Unknown)
		}
	case status.Outcome != tasks.Done:
		f.t.Errorf("%s: ended %s, want %s: %s", info.Type, status.Outcome, tasks.Done, status.Message)
	case redelivery == tasks.AtLeastOnce && calls < 2:
		f.t.Errorf("%s: %d calls, want a second one", info.Type, calls)
	case redelivery == tasks.Reconciled && effects != 1:
		f.t.Errorf("%s: %d effects at the vendor, want 1", info.Type, effects)
	}
}
