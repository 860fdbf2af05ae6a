// Package limits keeps what the whole fleet asks of a vendor within what the
// operator allows: so many calls of an account in a span of time, so many at
// once, so many passcodes for one recipient.
//
// # An account's limits
//
// A Limiter is asked right before a call leaves, in one round trip. Redis'
// clock is the only one.
//
//	Enter ──▶ its turn, now ─────────────────────────▶ the call ──▶ Leave
//	  │                                                   ▲
//	  ├────▶ soon (within Ask.Patience): wait here ───────┘
//	  │
//	  └────▶ later: a place in the line, and a *WaitError that tells when to
//	         come. The task is parked and asks again then.
//
// Rate. "95/1m" is kept in every window of a minute, wherever it begins, as
// counted when calls are let go. Few go at once (a tenth of N, at most 5), the
// others evenly: with 95/1m five at once, then one every 0.66 s, which makes 91
// a minute and 95 in the worst one. A limiter that lets N go at once lets them
// go a second time at the end of the window; what is late on its way then meets
// what is early, and the vendor counts up to twice N.
//
// At once. Each call has a permit with a lease, so that the permits of a killed
// worker come back: a call's own time and callSlack later.
//
// # The line
//
// Who must wait longer gets a place in the line, and is told when to come: so
// long as those ahead of it take. Nobody asks in vain, and no two come back
// together. What may go is decided by bucket and permits alone; the line only
// says who comes next:
//
//   - A newcomer goes behind the line. What is left at a moment when nobody is
//     due, because somebody does not come, it may take.
//   - Whose time has come, and finds that nothing is left, because others needed
//     several calls, keeps its place and is told anew.
//   - A task that was let go once goes on with its further calls (a lookup's
//     pages, a replay) before everybody else: it would only begin from the start.
//   - When the vendor says that the calls are used up (429), nobody goes until
//     that is over, and then one after the other again.
//   - A place for which a task does not come, because it was cancelled or has run
//     out of time, is void after a minute. Other settings begin another line.
//
// # Without Redis
//
// If Redis does not answer within askFor, the call goes out unasked: its task
// was claimed through Redis a moment ago, so there can only be few of them, and
// nothing new starts. A vendor that counts more than it allows answers 429, and
// then the task waits like any other. A Guard does not let through unasked: it
// protects persons and money, and the task can try again when Redis is back.
//
// # Recipients
//
// A Guard counts what was sent to one recipient, by the task's ID: a task that
// asks again has its place already, and one whose request surely did nothing
// gives it back.
//
// # Keys
//
// limit:{name:digest}:s state, :q and :t the line, :p permits;
// limit:{name:digest}:r a recipient. All keys of an account share the hash tag and so a slot of Redis
// Cluster. Digests are keyed with the salt that lives in the same Redis
// (seal.Salt), so that names reveal nothing. An account is who it is at the
// vendor and not its secret: a new password does not bring a second quota.
package limits
