package admission

import (
	"context"
	"time"
)

// outagePermit is the permit of an Outage.
type outagePermit struct {
	outage *Outage
	nonce  string // of the probe
	task   string // that makes the probe, if it has a name
	ramp   bool
}

// Done implements Permit.
func (p outagePermit) Done(ctx context.Context, r Result) {
	o := p.outage
	if r.Verdict == Undecided && p.nonce != "" && p.task != "" {
		o.held.Store(&heldProbe{p.task, p.nonce})
		return
	}
	ctx = context.WithoutCancel(ctx)
	said, why, first, most := o.verdictOn(r)
	if p.nonce != "" || p.ramp {
		reply, err := o.run(
			ctx,
			reportScript,
			p.nonce,
			said,
			o.trip.Percent,
			first.Microseconds(),
			most.Microseconds(),
			why,
		)
		if err == nil { // otherwise the lease expires by itself
			o.adopt(reply)
		}
		return
	}
	switch {
	case said == "good":
		o.goodAt.Store(o.now().UnixMicro())
		o.good.Add(1)
	case said == "none" || o.known.Load() != nil: // what was under way when it opened says nothing new
	case why == whyOutage:
		o.fail(ctx)
	default:
		o.open(ctx, why, first, most)
	}
}

// verdictOn returns what a result says about the account: good, bad or none, and why it is
// bad, with the waits for that.
func (o *Outage) verdictOn(r Result) (said, why string, first, most time.Duration) {
	switch {
	case r.Verdict == Failed:
		return "bad", whyOutage, outageFirst, outageMost
	case r.Verdict == Refused:
		return "bad", whyRefused, refusedFirst, refusedMost
	case r.Verdict == Exhausted && r.RetryAfter <= 0:
		return "bad", whyQuota, o.quota, refusedMost
	case r.Verdict == Inconclusive || r.Verdict == Undecided:
		return "none", "", 0, 0
	}
	return "good", "", 0, 0
}
