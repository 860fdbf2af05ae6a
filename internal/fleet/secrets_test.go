package fleet

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// With ENCRYPTION_KEYS set, nothing in Redis or in the logs reveals a secret: after
// tasks of every kind and every kind of end, refused and replaced credentials, with
// tasks that wait, and with tasks whose worker was killed.
func TestRedisRevealsNoSecret(t *testing.T) {
	t.Parallel()
	for _, kind := range redisKinds {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			f := New(t, Options{Nodes: kind.nodes})
			dana := sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes)
			wrong := f.Start(
				1,
				"DANACONNECT_PASSWORD="+f.Canary+"-wrong",
				"DINERO_CLIENT_SECRET="+f.Canary+"-wrong",
			)
			ids := append(f.EnqueueMany(5, f.Passcodes), f.EnqueueMany(5, f.Invoices)...)
			f.WaitState(waitLimit, tasks.Parked, ids)
			wrong[0].Stop()

			f.Start(1)
			f.Wait(waitLimit, ids)
			for i, id := range ids[:5] { // the codes return as payloads
				verify := f.verification(dana, id)
				if i == 0 {
					verify.OTP = f.Canary[:20] // a wrong code
				}
				ids = append(ids, f.Enqueue(verify))
			}
			for _, k := range []*Kind{f.Updates, f.Reads, f.Invoices, f.Contacts, f.PipeCalls} {
				ids = append(ids, f.EnqueueNew(k))
			}
			f.Wait(waitLimit, ids)
			// Redis must not contain the vendors' error texts either.
			f.injectFailuresWithCanary()
			ids = append(
				ids,
				f.EnqueueNew(f.Passcodes),
				f.EnqueueNew(f.Passcodes),
				f.EnqueueNew(f.Updates),
				f.EnqueueNew(f.Invoices),
				f.EnqueueNew(f.PipeCalls),
			)
			f.Wait(waitLimit, ids)
			dana.RevokeTokens()
			sandbox.Find[*dinerotest.Sandbox](f.Sandboxes).RevokeTokens()
			gate := f.Updates.Hold()
			t.Cleanup(gate.Release)
			f.Check(ids)

			waiting := []string{
				f.EnqueueNew(f.Updates),
				f.EnqueueNew(f.Passcodes, tasks.In(time.Hour)),
				f.EnqueueNew(f.Reads, tasks.In(time.Hour)),
			}
			f.WaitState(waitLimit, tasks.Running, waiting[:1])
			f.Processes()[1].Kill()
			if searched := f.CheckSecrets(append(ids, waiting...)); searched < 4*len(ids) {
				t.Errorf("the dump has only %d texts", searched)
			}
		})
	}
}

// verification returns the verification of the code that a passcode's recipient got.
func (f *Fixture) verification(s *danaconnecttest.Sandbox, id string) danaconnect.OTPVerify {
	f.tb.Helper()
	status, err := f.Client.Status(f.tb.Context(), id)
	if err != nil {
		f.tb.Fatal(err)
	}
	return danaconnect.OTPVerify{
		IDRequest: tasks.ID(RequestID(status)),
		OTP:       s.Code(RequestID(status)),
	}
}

// injectFailuresWithCanary makes the vendors fail with the canary in their answers.
func (f *Fixture) injectFailuresWithCanary() {
	f.Passcodes.Inject(sandbox.Fault{
		Times:  1,
		Status: 400,
		Body:   new(`{"responseCode":"` + f.Canary + `","responseDescription":"` + f.Canary + `"}`),
	})
	f.Passcodes.Inject(sandbox.Fault{Times: 1, Drop: true})
	f.Updates.Inject(sandbox.Fault{
		Times:  1,
		Status: 400,
		Body:   new(`{"wsError":{"errorDescription":"` + f.Canary + `"}}`),
	})
	f.Invoices.Inject(sandbox.Fault{
		Times:  1,
		Status: 400,
		Body:   new(`{"code":42,"message":"` + f.Canary + `"}`),
	})
	f.PipeCalls.Inject(sandbox.Fault{
		Times: 1,
		Body:  new(`{"status":"error","message":"` + f.Canary + `"}`),
	})
}

// Without keys the search finds what is stored unsealed.
func TestDumpFindsWhatIsNotSealed(t *testing.T) {
	t.Parallel()
	f := New(t, Options{Unsealed: true})
	dana := sandbox.Find[*danaconnecttest.Sandbox](f.Sandboxes)
	f.Start(1)
	ids := []string{f.EnqueueNew(f.Passcodes), f.EnqueueNew(f.Reads)}
	f.Wait(waitLimit, ids)
	f.CheckDone(ids)
	// Of what waits Redis has the payload.
	f.EnqueueNew(f.Passcodes, tasks.In(time.Hour))
	f.Enqueue(f.verification(dana, ids[0]), tasks.In(time.Hour))
	found, _ := f.leaks(ids)
	for _, want := range []string{
		"the canary (as it is)",
		"token 1 (as it is)",
		"what the vendor holds for " + ids[0] + " (as it is)",
	} {
		if !strings.Contains(strings.Join(found, "\n"), want) {
			t.Errorf("the search does not find %s: %q", want, found)
		}
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	const secret = "cnrysecret"
	for _, tc := range []struct{ name, text string }{
		{"as it is", `{"x":"` + secret + `"}`},
		{"in hex", hex.EncodeToString([]byte("a" + secret + "b"))},
		{"in HEX", strings.ToUpper(hex.EncodeToString([]byte(secret)))},
		{"in base64, shifted by 0", base64.StdEncoding.EncodeToString([]byte(secret + "~~"))},
		{"in base64, shifted by 1", base64.StdEncoding.EncodeToString([]byte("a" + secret + "b"))},
		{"in base64, shifted by 2", base64.StdEncoding.EncodeToString([]byte("aaaaa" + secret + "b"))},
		{"in URL base64, shifted by 2", base64.RawURLEncoding.EncodeToString([]byte("??" + secret + "??"))},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			form, ok := encodings(secret)[tc.name]
			if !ok || !strings.Contains(tc.text, form) {
				t.Errorf("%q is not found in %q", form, tc.text)
			}
		})
	}
}
