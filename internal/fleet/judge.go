package fleet

import (
	"fmt"
	"math"
	"slices"

	"errand.internal/clients/anna/annatest"
	"errand.internal/clients/danaconnect/danaconnecttest"
	"errand.internal/clients/dckap/dckaptest"
	"errand.internal/internal/ledger"
	"errand.internal/internal/queue"
	"errand.internal/tasks"
)

// span is how many effects there may have been.
type span struct{ least, most int }

const anyNumber = math.MaxInt

func (a span) plus(b span) span {
	if a.most == anyNumber || b.most == anyNumber {
		return span{a.least + b.least, anyNumber}
	}
	return span{a.least + b.least, a.most + b.most}
}

// String implements fmt.Stringer.
func (a span) String() string {
	switch a.most {
	case a.least:
		return fmt.Sprint(a.least)
	case anyNumber:
		return fmt.Sprintf("%d or more", a.least)
	}
	return fmt.Sprintf("%d to %d", a.least, a.most)
}

// judge says what is wrong with the end of one task, "" if nothing is.
func judge(p queue.Payload, r *ledger.Record) string {
	known := []tasks.Outcome{
		tasks.Done, tasks.Declined, tasks.Superseded, tasks.Cancelled, tasks.Invalid, tasks.Unknown, tasks.Expired, tasks.Failed,
	}
	switch {
	case r.State != ledger.Ended:
		return "it has not ended"
	case !slices.Contains(known, r.Outcome):
		return "it ended without an outcome"
	case r.Outcome == tasks.Unknown && p.Policy().Repeatable:
		return "it is repeatable and must not end unknown"
	}
	// What may have happened once is not tried again, unless that does no harm or
	// it is looked for first.
	if info, _ := tasks.Find(p.Type()); !p.Policy().Repeatable && !info.Findable {
		for i, a := range r.History {
			if last := i == len(r.History)-1; !last &&
				slices.Contains([]string{"done", "unknown", "declined"}, a.Class) {
				return fmt.Sprintf(
					"attempt %d was %s, and another followed",
					i+1,
					a.Class,
				)
			}
		}
	}
	return ""
}

// allowance is how many effects the end of a task allows.
func allowance(p queue.Payload, r *ledger.Record) span {
	repeatable := p.Policy().Repeatable
	_, verify := p.(tasks.OTPVerify)
	switch r.Outcome {
	case tasks.Done:
		if repeatable {
			return span{1, anyNumber}
		}
		return span{1, 1}
	case tasks.Unknown:
		return span{0, 1}
	case tasks.Declined:
		if repeatable {
			return span{0, anyNumber}
		}
		if verify {
			return span{
				0,
				1,
			} // a wrong code spends a try; an expired or used one does not
		}
	case tasks.Failed:
		if repeatable {
			return span{0, anyNumber}
		}
	}
	return span{}
}

// subject is whom or what an operation has its effect on.
type subject struct{ op, name string }

// subjectOf tells the effect of a task; has is false where it has none.
func subjectOf(id string, p queue.Payload) (on subject, has bool) {
	if r, op, ok := recordOf(p); ok {
		return subject{op, referenceOf(id, r)}, true
	}
	switch p := p.(type) {
	case tasks.OTPSend:
		return subject{danaconnecttest.OpSend, p.Values[0].Value}, true
	case tasks.OTPVerify:
		return subject{danaconnecttest.OpVerify, string(p.IDRequest)}, true
	case tasks.UserInactivate:
		return subject{annatest.OpInactivate, p.UserID}, true
	case tasks.UserHash:
		return subject{annatest.OpHash, p.UserID}, true
	case tasks.DynamicCall:
		return subject{dckaptest.OpCall, p.Listener}, true
	}
	return subject{}, false
}
