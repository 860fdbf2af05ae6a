package fleet

import (
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/clients/dinero/dinerotest"
	"errand.internal/internal/ledger"
	"errand.internal/tasks"
)

const mostComplaints = 20

// Report is what Check saw.
type Report struct {
	Outcomes map[tasks.Outcome]int
	// Calls are the entries in all histories.
	Calls int
	// Unknown are the IDs of the tasks that ended so: each wants a reason.
	Unknown []string
}

// Check asserts that each of the tasks ended with exactly one outcome, and that
// the vendors saw what the outcomes say:
//
//	outcome          not repeatable (passcodes, creates)   repeatable
//	done             exactly one effect                    one or more
//	unknown          none or one                           must not happen
//	declined         none; a wrong code: one               any
//	failed           none                                  any
//	any other        none                                  none
//
// A passcode that is done must name a code that its own recipient got, and a
// create the record with its own reference. Several
// tasks on one subject (a recipient, a user) are judged together. The tasks must
// have been enqueued by the site.
func (s *Site) Check(ids []string) Report {
	s.tb.Helper()
	report, complaints := s.check(ids)
	for _, text := range complaints[:min(len(complaints), mostComplaints)] {
		s.tb.Error(text)
	}
	if more := len(complaints) - mostComplaints; more > 0 {
		s.tb.Errorf("... and %d more", more)
	}
	return report
}

// CheckDone is Check, and wants every task done.
func (s *Site) CheckDone(ids []string) Report {
	s.tb.Helper()
	report := s.Check(ids)
	if done := report.Outcomes[tasks.Done]; done != len(ids) {
		s.tb.Errorf("%d of %d tasks are done: %v", done, len(ids), report.Outcomes)
		isDone := s.met(s.tb.Context(), ids, func(st *tasks.Status) bool {
			return st.Outcome == tasks.Done
		})
		s.tb.Logf("not done:\n%s", s.list(without(ids, isDone)))
	}
	return report
}

func (s *Site) check(ids []string) (Report, []string) {
	ctx := s.tb.Context()
	statuses := make([]*tasks.Status, len(ids))
	errs := make([]error, len(ids))
	each(len(ids), func(i int) {
		statuses[i], errs[i] = s.Client.Status(ctx, ids[i])
	})

	report := Report{Outcomes: map[tasks.Outcome]int{}}
	var complaints []string
	complain := func(format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf(format, args...))
	}
	allowed, seen := map[subject]span{}, map[string]bool{}
	for i, id := range ids {
		s.mu.Lock()
		payload := s.sent[id]
		s.mu.Unlock()
		switch status := statuses[i]; {
		case seen[id]:
			complain("%s is listed twice", id)
		case payload == nil:
			complain("%s was not enqueued by this site", id)
		case errs[i] != nil:
			complain("%s: %v", id, errs[i])
		default:
			report.Outcomes[status.Outcome]++
			report.Calls += status.Attempts
			if status.Outcome == tasks.Unknown {
				report.Unknown = append(report.Unknown, id)
			}
			if fault := judge(payload, status.Record); fault != "" {
				complain(
					"%s (%s): %s; %s",
					id,
					payload.Type(),
					fault,
					describe(status.Record),
				)
			}
			if on, has := subjectOf(id, payload); has {
				allowed[on] = allowed[on].plus(allowance(payload, status.Record))
			}
			if send, ok := payload.(tasks.OTPSend); ok && status.Outcome == tasks.Done {
				if got := s.recipient(status); got != send.Values[0].Value {
					complain(
						"%s is done, but its idRequest names the code of another recipient, or none",
						id,
					)
				}
			}
			if r, op, ok := recordOf(payload); ok && status.Outcome == tasks.Done &&
				!s.made(id, r, op, status) {
				complain(
					"%s is done, but its Guid names the record of another task, or none",
					id,
				)
			}
		}
		seen[id] = true
	}
	for on, span := range allowed {
		if n := s.effects(on); n < span.least || n > span.most {
			complain(
				"%s of %s: %d effects at the vendor, the outcomes allow %s",
				on.op,
				on.name,
				n,
				span,
			)
		}
	}
	return report, complaints
}

func (s *Site) effects(on subject) int {
	switch on.op {
	case danaconnecttest.OpSend, danaconnecttest.OpVerify:
		return s.OTP.EffectsOf(on.op, on.name)
	case dinerotest.OpInvoiceCreate, dinerotest.OpContactCreate:
		return s.Dinero.EffectsOf(on.op, on.name)
	case dckaptest.OpCall:
		return s.DCKAP.EffectsOf(on.op, on.name)
	}
	return s.AnnA.EffectsOf(on.op, on.name)
}

// recipient is who got the code that a passcode's result names.
func (s *Site) recipient(status *tasks.Status) string {
	otp, _ := s.OTP.Lookup(idRequest(status))
	return otp.Recipient
}

// Counted is how many attempts of each task count against its budget; "" where
// there is no record.
func (s *Site) Counted(ids []string) []string {
	s.tb.Helper()
	var counted []string
	for chunk := range slices.Chunk(ids, 1000) {
		pipe := s.Conn().Pipeline()
		for _, id := range chunk {
			pipe.HGet(s.tb.Context(), recordKey(id), "attempts")
		}
		replies, err := pipe.Exec(s.tb.Context())
		if err != nil && !errors.Is(err, redis.Nil) {
			s.tb.Fatalf("read the counts of attempts: %v", err)
		}
		for _, reply := range replies {
			counted = append(counted, reply.(*redis.StringCmd).Val())
		}
	}
	return counted
}

func recordKey(id string) string {
	name, _ := ledger.QueueOf(id) // a wrong one leads to no record
	return "errand:{" + name + "}:task:" + id
}
