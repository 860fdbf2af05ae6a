// Package tokens gives every vendor client its access token. The fleet fetches
// a token once per lifetime and shares it, sealed, through Redis. A credential
// that is known to be wrong is not tried.
//
// A login is a probe of the credential's admission.Breaker: what that package says of
// leases, cool-downs and a Redis that does not answer holds here.
//
// # Get
//
// Get looks at this process' own copy first. Windows are parts of the token's
// life, which starts before the login was sent:
//
//	issued                                soft              hard    end
//	  |------------- local copy -----------|-- copy, and ----|margin-|
//	  |        no round trip, no alloc     |  one refresh in |       |
//	                                          the background
//
//	margin = min(60 s, max(2 s, 10 % of life), 25 % of life)
//	soft   = hard - min(5 min, 20 % of life), ±10 % per process
//
// Without a usable copy, Redis is asked; its reply is one of four. One such
// fetch is in flight per process at most. All callers wait for it, each with
// its own context, and it uses none of theirs.
//
//	      ┌───────────────┐
//	 ┌───▶│  begin (Lua)  │── T: a newer token ──────────────────▶ use it
//	 │    └─┬─────┬─────┬─┘
//	 │    W │   L │     └──── N: cool-down ─▶ *admission.Blocked
//	 └─wait─┘     ▼                                     ▲
//	        ┌───────────┐             ┌─────────────────┴─────────────┐
//	        │ the login │── refused ─▶│ cool-down 30 s, 5 min, 30 min │
//	        │           │─ no answer ▶│ cool-down 1 to 30 s           │
//	        └─────┬─────┘             └─────────────────▲─────────────┘
//	              │ a token                             │
//	              ▼                                     │
//	    ┌──────────────────────┐                        │
//	    │ commit (Lua), fenced │── ends any cool-down ──┘
//	    └─────────┬────────────┘
//	              └────────────────────────────────────────────▶ use it
//
//	W: another process logs in    L: this process has the lease and a generation
//
// The generation is Redis' time in microseconds when the lease was granted. It
// is the fencing number and the time of issue in one, and needs no counter that
// could be lost. A stored token holds its life, not its end, so no two
// machines' clocks are ever compared.
//
// # When things go wrong
//
//   - The holder of the lease dies: the lease expires, the next process that
//     asks gets it.
//   - The holder is suspended and writes late: an older generation is not
//     written.
//   - The vendor answers 401: Reject removes that very token, and one login
//     serves all. A token younger than 10 seconds is not to blame; then nothing
//     is removed and rejections are off for 30 seconds.
//   - The credential is refused: the whole fleet observes a cool-down, on a
//     ladder that only a success, ClearCoolDown or another credential ends. The
//     fingerprint in the keys covers the whole credential, so a rotated secret
//     has no cool-down.
//   - Redis does not answer within 2 seconds: valid copies are still handed out; a
//     process without one logs in for itself, and a circuit breaker stops
//     requests to Redis for 1 to 5 seconds. The process tells the fleet of a
//     refusal as soon as Redis answers. Exclusive profiles wait for Redis.
//   - A shared token does not open (the key is missing): this process logs in
//     for itself and leaves the stored token to the processes that can read it.
//
// # Keys
//
// tok:{profile:fingerprint}:t token, :a rejections are off, :s suspicion, beside those of
// the breaker, with which they share the hash tag. They do not depend on the encryption
// keys. A process that has not reached Redis yet has no
// fingerprint and no keys, and works as if Redis were down.
package tokens
