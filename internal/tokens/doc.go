// Package tokens gives every vendor client its access token: fetched once per
// lifetime by the whole fleet, shared through Redis, sealed, and never fetched
// with a credential that is known to be wrong.
//
// A Source serves credentials that log in for a token. A Gate guards those that
// have none (HTTP Basic, a fixed token) with the same cool-down.
//
// # Get
//
// Get looks at this process' own copy first. Windows are parts of the token's
// life, counted from before the login was sent:
//
//	issued                                soft              hard    end
//	  |------------- local copy -----------|-- copy, and ----|margin-|
//	  |        no round trip, no alloc     |  one refresh    |       |
//	                                          behind it
//
//	margin = min(60 s, max(2 s, 10 % of life), 25 % of life)
//	soft   = hard - min(5 min, 20 % of life), ±10 % per process
//
// Without a good copy one question to Redis has four answers. At most one such
// flight is under way per process; callers wait for it, each with its own
// context, and it carries none of theirs.
//
//	      ┌───────────────┐
//	 ┌───▶│  begin (Lua)  │── T: a newer token ──────────────────▶ use it
//	 │    └─┬─────┬─────┬─┘
//	 │    W │   L │     └──── N: resting ──▶ CoolingError, UnavailableError
//	 └─wait─┘     ▼                                     ▲
//	        ┌───────────┐                  ┌────────────┴─────────────┐
//	        │ the login │─── refused ─────▶│ rest 30 s, 5 min, 30 min │
//	        │           │─── no answer ───▶│ rest 1 to 30 s           │
//	        └─────┬─────┘                  └────────────▲─────────────┘
//	              │ a token                             │
//	              ▼                                     │
//	    ┌──────────────────────┐                        │
//	    │ commit (Lua), fenced │──── ends any rest ─────┘
//	    └─────────┬────────────┘
//	              └────────────────────────────────────────────▶ use it
//
//	W: somebody else logs in    L: the lease and a generation are yours
//
// The generation is Redis' time in microseconds when the lease was granted. It
// is the fencing number and the time of issue in one, and needs no counter that
// could be lost. A stored token holds its life, not its end, so no two
// machines' clocks are ever compared.
//
// # When things go wrong
//
//   - The holder of the lease dies: the lease ends, the next one to ask gets it.
//   - The holder stalls and writes late: an older generation is not written.
//   - The vendor answers 401: Reject removes that very token, and one login
//     serves everybody. A token younger than 10 seconds is not to blame; then
//     nothing is removed and rejections are off for 30 seconds.
//   - The credential is refused: it rests, in the whole fleet, on a ladder that
//     only a success, ClearCoolDown or another credential ends. The
//     fingerprint in the keys is of the whole credential, so a rotated secret
//     starts clean.
//   - Redis does not answer within 250 ms: good copies serve on; a process
//     without one logs in for itself and leaves Redis alone for 1 to 5 seconds.
//     What it learns about the credential meanwhile it tells the fleet later.
//     Exclusive profiles wait for Redis instead.
//   - A shared token does not open (the key is missing): this process logs in
//     for itself and leaves the stored token to those who can read it.
//
// # Static credentials
//
//	unproven ──Enter──▶ one call alone ──Accepted──▶ proven (24 h) ──Enter──▶ free
//	    ▲                  │   the others wait           │
//	    │ rest is over     │ Refused                     │ Refused
//	    └──── cooling ◀────┴─────────────────────────────┘
//
// # Keys
//
// tok:{profile:fingerprint}:t token, :l lease, :n cool-down, :a rejections are
// off, :s suspicion, :p proven. All keys of a credential share the hash tag and
// so a slot of Redis Cluster. The fingerprint is keyed with the salt that lives
// in the same Redis (seal.Salt) and stretched, never a bare hash; it does not
// depend on the encryption keys. Until Redis has been reached once there is no
// fingerprint, no key and no need for one: the process works as if Redis were
// down.
package tokens
