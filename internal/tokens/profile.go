package tokens

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
	"time"

	"errand.internal/internal/seal"
	"errand.internal/internal/secret"
)

// Profile describes one credential. Payloads choose a profile by its name and
// never see the rest.
type Profile struct {
	// Name appears in errors, metrics and Redis keys: "danaconnect-v2",
	// "dinero-123456". It is no secret.
	Name string
	// Identity is what distinguishes the credential from every other.
	Identity Identity
	// Fetch logs in. A Source needs it, a Gate does not.
	Fetch Fetcher
	// DefaultLife is the life of a token if the vendor does not state it; 10
	// minutes if unset.
	DefaultLife time.Duration
	// Timeout bounds one login (Source) or one call (Gate); 15 seconds if unset.
	// The lease lasts two seconds longer.
	Timeout time.Duration
	// MinRejectAge is the age below which a token is not to blame for a 401; 10
	// seconds if unset, and never more than a quarter of the token's life.
	MinRejectAge time.Duration
	// Exclusive: a new login ends the session of the previous one. Such a profile
	// logs in under the fleet's lease only, so it cannot log in without Redis.
	Exclusive bool
	// ExpiresOn is the last day on which a static credential works, zero if
	// unknown. It only serves warnings; the credential is used after it as well.
	ExpiresOn time.Time
}

// Identity is what goes into a credential's fingerprint. If one part changes, it
// is another credential, without the cool-down of the old one.
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

// The defaults and fixed times.
const (
	defaultLife    = 10 * time.Minute
	defaultTimeout = 15 * time.Second
	defaultMinAge  = 10 * time.Second

	leaseMargin   = 2 * time.Second  // how much longer than a request its lease lasts
	rejectsOffFor = 30 * time.Second // after a 401 on a fresh token
	suspectEvery  = 5 * time.Minute  // one suspicion per credential and fleet
	provenFor     = 24 * time.Hour   // how long a proof holds
	refusalsKept  = 24 * time.Hour   // how long refusals are counted
	outagesKept   = 5 * time.Minute  // how long failures of the login service are counted
	maxRetryAfter = 30 * time.Minute // cap on the vendor's Retry-After
	maxReason     = 160              // bytes of a refusal's reason kept in Redis
	outageBase    = time.Second      // shortest wait for a login service
	outageCap     = 30 * time.Second // longest wait for a login service
	maxLife       = 366 * 24 * time.Hour
)

// coolDowns are the waits after the first, second and every later refusal.
var coolDowns = []time.Duration{30 * time.Second, 5 * time.Minute, 30 * time.Minute}

func (p Profile) withDefaults() Profile {
	if p.DefaultLife <= 0 {
		p.DefaultLife = defaultLife
	}
	if p.Timeout <= 0 {
		p.Timeout = defaultTimeout
	}
	if p.MinRejectAge <= 0 {
		p.MinRejectAge = defaultMinAge
	}
	return p
}

// fingerprints caches the fingerprints of this process by a hash of their
// input: State and several sources of one credential need the same one.
var fingerprints sync.Map // [32]byte -> func() string

// fingerprint identifies a credential without revealing any part of it.
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
			panic("tokens: fingerprint: " + err.Error())
		}
		return hex.EncodeToString(key)
	})
	cacheKey := [32]byte(seal.HMAC(salt, "stretched", string(input)))
	known, _ := fingerprints.LoadOrStore(cacheKey, compute)
	return known.(func() string)()
}

// keyset is the Redis keys of one credential. They share a hash tag, so that
// every script works on one slot.
type keyset struct {
	salt string
	all  []string // in the order of the scripts
}

func (p Profile) keyset(salt []byte) *keyset {
	name := strings.NewReplacer("{", "_", "}", "_").Replace(p.Name) // braces mark the hash tag
	base := "tok:{" + name + ":" + p.fingerprint(salt) + "}:"
	return &keyset{
		salt: string(salt),
		all: []string{
			base + "t",
			base + "l",
			base + "n",
			base + "a",
			base + "s",
			base + "p",
		},
	}
}

// aad ties a sealed token to its credential and generation.
func (k *keyset) aad(gen int64) string {
	return k.all[0] + "#" + strconv.FormatInt(gen, 10)
}
