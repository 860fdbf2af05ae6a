package admission

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"sync"
	"time"

	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

// Profile describes what a Breaker guards: a credential, a pipe, an organization, a
// receiver.
type Profile struct {
	// Name appears in errors, metrics and Redis keys: "danaconnect-v2",
	// "dinero-123456". It is no secret.
	Name string
	// Identity is what distinguishes it from every other.
	Identity Identity
	// Timeout bounds one call, or one login; 15 seconds if unset. The lease of a probe
	// lasts two seconds longer.
	Timeout time.Duration
	// Refusal says what a refusal means, for the Reason of a Blocked; "credential <Name>
	// was refused" if unset.
	Refusal string
	// Budget is how long the tasks that need it have, if that is little: see ladderOf. Zero
	// if they can wait.
	Budget time.Duration
	// ExpiresOn is the last day on which a static credential works, zero if unknown. It
	// only serves warnings; the credential is used after it as well.
	ExpiresOn time.Time
}

// Identity is what goes into the fingerprint. If one part changes, it is another
// profile, without the cool-down of the old one.
type Identity struct {
	Grant    string // "client_credentials", "password", "basic", …
	URL      string // of the login, or of the API for a static credential
	ClientID string
	Username string
	Scope    string
	Audience string
	// Extra are further parameters of the login.
	Extra []string
	// Secrets are what the login proves: password, client secret, API key, company
	// hash.
	Secrets []secret.String
}

// The default and the fixed times.
const (
	// DefaultTimeout bounds a call or login whose profile says nothing.
	DefaultTimeout = 15 * time.Second

	// LeaseMargin is how much longer than a call its lease lasts.
	LeaseMargin = 2 * time.Second

	provenFor     = 24 * time.Hour   // how long a proof holds
	refusalsKept  = 24 * time.Hour   // how long refusals are counted
	outagesKept   = 5 * time.Minute  // how long failures of a login service are counted
	maxRetryAfter = 30 * time.Minute // cap on the vendor's Retry-After
	maxReason     = 160              // bytes of a refusal's reason kept in Redis
	outageBase    = time.Second      // shortest wait for a login service
	outageCap     = 30 * time.Second // longest wait for a login service
)

// coolDowns are the waits after the first, second and every later refusal.
var coolDowns = []time.Duration{30 * time.Second, 5 * time.Minute, 30 * time.Minute}

// ladderOf returns the waits after the first, second and every later refusal. With a short
// budget there is one step more, half as long as the budget, so that what is mended within
// the first minutes is noticed before the tasks that wait for it have run out of time. It
// costs one try more in all, and not one more from then on: more could lock the account.
func ladderOf(p Profile) []time.Duration {
	extra := p.Budget / 2
	if extra < coolDowns[0] || extra >= coolDowns[1] {
		return coolDowns
	}
	return slices.Insert(slices.Clone(coolDowns), 1, extra)
}

func (p Profile) withDefaults() Profile {
	if p.Timeout <= 0 {
		p.Timeout = DefaultTimeout
	}
	if p.Refusal == "" {
		p.Refusal = "credential " + p.Name + " was refused"
	}
	return p
}

// fingerprints caches the fingerprints of this process by a hash of their
// input: State and several breakers of one credential need the same one.
var fingerprints sync.Map // [32]byte -> func() string

// fingerprint identifies a profile without revealing any part of it.
func (p Profile) fingerprint(salt []byte) string {
	id := p.Identity
	parts := []string{
		p.Name,
		id.Grant,
		id.URL,
		id.ClientID,
		id.Username,
		id.Scope,
		id.Audience,
		strconv.Itoa(len(id.Extra)),
	}
	parts = append(parts, id.Extra...)
	for _, s := range id.Secrets {
		parts = append(parts, s.Reveal())
	}
	input := seal.Join("fingerprint", parts...)
	compute := sync.OnceValue(func() string {
		key, err := pbkdf2.Key(sha256.New, string(input), salt, pbkdf2Rounds, 16)
		if err != nil {
			// Only a FIPS build refuses parameters, and it allows these.
			panic("admission: fingerprint: " + err.Error())
		}
		return hex.EncodeToString(key)
	})
	cacheKey := [32]byte(seal.HMAC(salt, "stretched", string(input)))
	known, _ := fingerprints.LoadOrStore(cacheKey, compute)
	return known.(func() string)()
}

// Keys are the Redis keys of one profile. They share a hash tag, so that every script
// works on one slot.
type Keys struct {
	salt        string
	fingerprint string
	base        string
	own         []string // in the order of the scripts
}

// Keys returns the keys of the profile. braces mark the hash tag.
func (p Profile) keys(salt []byte) *Keys {
	fingerprint := p.fingerprint(salt)
	base := "tok:{" + withoutBraces(p.Name) + ":" + fingerprint + "}:"
	return &Keys{
		salt:        string(salt),
		fingerprint: fingerprint,
		base:        base,
		own:         []string{base + "l", base + "n", base + "p"},
	}
}

// With returns the breaker's own keys, followed by further ones of the same slot.
func (k *Keys) With(suffixes ...string) []string {
	all := k.own[:len(k.own):len(k.own)]
	for _, suffix := range suffixes {
		all = append(all, k.base+suffix)
	}
	return all
}
