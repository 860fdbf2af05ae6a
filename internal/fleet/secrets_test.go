package fleet

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/clients/sandbox"
	"errand.internal/internal/ledger"
	"errand.internal/tasks"
)

// With keys set, a dump of all of Redis after a busy life shows nothing: every
// type of task, every kind of end, refused and replaced credentials, tasks that
// wait, and tasks that were killed.
func TestNothingInRedisGivesAnythingAway(t *testing.T) {
	t.Parallel()
	for _, store := range stores {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			s := New(t, Options{Nodes: store.nodes, Env: map[string]string{"WORKER_QUEUES": everyQueue}})
			wrong := s.Start(1, "DANACONNECT_PASSWORD="+s.Canary+"-wrong", "ANNA_PASSWORD="+s.Canary+"-wrong")
			ids := append(s.Many(5, s.SendOTP), s.Many(5, s.Inactivate)...)
			s.Until(soon, "parked", ids, func(st *tasks.Status) bool { return st.State == ledger.Parked })
			wrong[0].Stop()

			s.Start(1)
			s.Wait(soon, ids)
			sent := ids[:5]
			for i, id := range sent { // the codes come back in tasks of their own
				status, err := s.Client.Status(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				code := s.OTP.Code(idRequest(status))
				if i == 0 {
					code = s.Canary[:20] // a wrong one
				}
				ids = append(ids, s.Enqueue(tasks.OTPVerify{IDRequest: tasks.ID(idRequest(status)), OTP: code}))
			}
			ids = append(
				ids,
				s.Enqueue(tasks.UserHash{UserID: s.User()}),
				s.Enqueue(tasks.UserHash{UserID: s.name("nobody")}),
				s.ReadAlerts(),
				s.CreateInvoice(),
				s.CreateContact(),
				s.CallPipe(),
			)
			s.Wait(soon, ids)
			s.OTP.Inject( // what the vendor writes must not get in either
				sandbox.Fault{
					Op:     danaconnecttest.OpSend,
					Times:  1,
					Status: 400,
					Body:   new(`{"responseCode":"` + s.Canary + `","responseDescription":"` + s.Canary + `"}`),
				},
				sandbox.Fault{Op: danaconnecttest.OpSend, Times: 1, Drop: true},
			)
			s.AnnA.Inject(
				sandbox.Fault{
					Op:    annatest.OpHash,
					Times: 1,
					Body:  new(`{"success":false,"message":"` + s.Canary + `"}`),
				},
			)
			s.Dinero.Inject(sandbox.Fault{
				Op:     dinerotest.OpInvoiceCreate,
				Times:  1,
				Status: 400,
				Body:   new(`{"code":42,"message":"` + s.Canary + `"}`),
			})
			s.DCKAP.Inject(
				sandbox.Fault{
					Op:    dckaptest.OpCall,
					Times: 1,
					Body:  new(`{"status":"error","message":"` + s.Canary + `"}`),
				},
			)
			ends := []string{
				s.SendOTP(),
				s.SendOTP(),
				s.Enqueue(tasks.UserHash{UserID: s.User()}),
				s.CreateInvoice(),
				s.CallPipe(),
			}
			s.Wait(soon, ends)
			s.RevokeTokens()
			gate := s.AnnA.Hold(annatest.OpInactivate)
			t.Cleanup(gate.Release)
			ids = append(ids, ends...)
			s.Check(ids)

			waiting := []string{s.Inactivate(), s.SendOTP(tasks.In(3600e9)), s.ReadAlerts(tasks.In(3600e9))}
			s.Until(soon, "running", waiting[:1], func(st *tasks.Status) bool { return st.State == ledger.Running })
			s.Processes()[1].Kill()
			if looked := s.CheckSecrets(append(ids, waiting...)); looked < 4*len(ids) {
				t.Errorf("the dump has only %d values", looked)
			}
		})
	}
}

// Without keys the same search does find what stands there as it is.
func TestTheDumpFindsWhatIsNotSealed(t *testing.T) {
	t.Parallel()
	s := New(t, Options{Unsealed: true})
	s.Start(1)
	ids := []string{s.SendOTP(), s.ReadAlerts()}
	s.Wait(soon, ids)
	otp, err := s.Client.Status(t.Context(), ids[0])
	if err != nil {
		t.Fatal(err)
	}
	verify := s.Enqueue(tasks.OTPVerify{IDRequest: tasks.ID(idRequest(otp)), OTP: s.OTP.Code(idRequest(otp))})
	s.Wait(soon, []string{verify})
	s.CheckDone(append(ids, verify))
	found, _ := s.leaks(ids)
	for _, want := range []string{"the canary (as it is)", "token 1 (as it is)", "the code of " + ids[0] + " (as it is)"} {
		if !strings.Contains(strings.Join(found, "\n"), want) {
			t.Errorf("the search does not find %s: %q", want, found)
		}
	}
}

func TestForms(t *testing.T) {
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
			if !strings.Contains(tc.text, forms(secret)[tc.name]) {
				t.Errorf("%q is not found in %q", forms(secret)[tc.name], tc.text)
			}
		})
	}
}
