// Package admission says "not now": it decides whether a call may be made, so that the
// fleet stays within what a vendor and the operator allow, and leaves a vendor in trouble
// in peace.
//
//	a task's call ─▶ Acquire ─▶ Permit ─▶ the vendor ─▶ Permit.Done(Result)
//	                    │                                     │
//	                    ▼                                     ▼
//	                *Blocked                           state in Redis, which
//	                    │                              the whole fleet shares
//	                    ▼                                     │
//	     the task is parked (blocked_by = Key) ◀── the waker ─┘
//
// A Blocked names what blocks (Key), says why, and when to come back (RetryAfter). Its task
// is parked: that costs no attempt and ends with the task's time. A task that waits for a
// breaker is woken when the breaker may be tried again. One that waits for its turn at a
// limit has a time of its own.
//
// # Breakers
//
// A Breaker is the circuit breaker of one profile: of a credential, a login, a pipe, an
// organization, the receiver of events. What is unproven is half-open:
//
//	half-open ──Acquire──▶ one call alone ──Accepted──▶ closed (24 h) ──Acquire──▶ no wait
//	    ▲                  │  the others wait              │
//	    │ cool-down ends   │ Refused                       │ Refused
//	    └────── open ◀─────┴───────────────────────────────┘
//
// It stays open for a cool-down on a ladder that only a success, ClearCoolDown or another
// credential ends. The fingerprint in its keys covers the whole identity, so a rotated
// secret has no cool-down. A closed breaker costs one round trip in ten seconds.
//
// A login for a token is a probe of the same breaker: internal/tokens takes the lease, and
// reports what came of it. If Redis does not answer, each process has a breaker of its own,
// and tells the fleet of a refusal as soon as Redis answers.
//
// # A vendor in trouble
//
// An Outage is the breaker of an account. It opens when a share of the calls fails, or at
// once when the account is refused as a whole; see there. Its closed state is
// local: failures are told to Redis at once, good answers once a second, and the reply says
// whether the breaker has opened. While calls fail, each process keeps its
// retries to a fifth of its calls.
//
// # An operator's pause
//
// A Pause stops all calls of an account, and its logins, while a key of its name is there.
// It is asked before everything else, and once more after a wait for a limit.
//
// # Limits
//
// A Limiter is asked right before a call leaves, in one round trip. Redis' clock is the
// only one.
//
//	Acquire ──▶ its turn, now ───────────────────────▶ the call ──▶ Done
//	  │                                                   ▲
//	  ├────▶ soon (within MaxWait): wait here ────────────┘
//	  │
//	  └────▶ later: a place in the queue, and a *Blocked that says when to come. The
//	         task is parked and asks again then.
//
// Rate. "95/1m" holds in every window of a minute, wherever it begins, as counted when
// calls are let go. A burst of a tenth of N (at most 5) goes at once, the others evenly:
// with 95/1m five at once, then one every 0.66 s, which makes 91 a minute and 95 in the
// worst one. A limiter that lets N go at once lets them go a second time at the end of the
// window; what is late on its way then meets what is early, and the vendor counts up to
// twice N.
//
// Concurrency. Each call has a permit with a lease, so that the permits of a killed worker
// come back: a call's own time and permitSlack later.
//
// The queue. A caller that would exceed MaxWait joins a queue and gets a time computed from
// the callers ahead of it. Nobody asks in vain, and no two come back together. Bucket and
// permits alone decide what may go; the queue only says who is next:
//
//   - A newcomer goes behind the queue. It may take what is left at a moment when nobody is
//     due.
//   - A caller whose time has come and that finds nothing left keeps its place and gets
//     another time.
//   - A task that was admitted once goes on with its further calls (a lookup's pages, a
//     replay) before everybody else: it would only begin from the start.
//   - When the vendor says that the calls are used up (429), nobody goes until that is
//     over, and then one after the other again.
//   - A place for which a task does not come, because it was cancelled or has run out of
//     time, is void after a minute. Other settings begin another queue.
//
// If Redis does not answer within askTimeout, the call goes out unasked: its task was
// claimed through Redis a moment ago, so there can only be few of them, and nothing new
// starts. A vendor that counts more than it allows answers 429.
//
// # Recipients
//
// A Guard counts what was sent to one recipient, by the task's ID: a task that asks again
// has its place already, and one whose request surely did nothing gives it back. It admits
// nothing unasked: it protects persons and money, and the task can try again when Redis is
// back.
//
// # Surges
//
// A Surge counts what an account sends by the hour, and announces one that is far above the
// same hour of the last seven days.
//
// # Keys
//
// tok:{profile:fingerprint}:l lease, :n cool-down, :p proven, of a breaker;
// errand:account:{name}:pause the pause of an account (internal/record);
// tok:{profile}:w the workers that use a credential of that name, with its fingerprint;
// limit:{account:digest}:b the breaker of an account, :s state, :q and :t the queue, :p
// permits, :h the hours of a Surge; limit:{name:digest}:r a recipient. All keys of a thing share the hash tag and
// thus a slot of Redis Cluster. The fingerprint is derived with PBKDF2 from the identity
// and the salt in the same Redis (seal.Salt), digests are keyed with that salt, so that names reveal nothing. A limit's
// account is who it is at the vendor and not its secret: a new password does not bring a
// second quota.
package admission
