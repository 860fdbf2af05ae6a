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

// Profile is one credential as this package needs to know it. Payloads choose
// a profile by its name and never see the rest.
type Profile struct {
	// Name is the profile's name in errors, metrics and Redis keys: "danaconnect-v2",
	// "dinero-123456". It is no secret.
	Name string
	// Identity is all that makes it this credential and no other.
	Identity Identity
	// Fetch logs in. A Source needs it, a Gate does not.
	Fetch Fetcher
	// DefaultLife is the life of a token whose vendor did not say; 10 minutes if
	// unset.
	DefaultLife time.Duration
	// Timeout bounds one login (Source) or one call (Gate); 15 seconds if unset.
	// The lease of whoever is under way is two seconds longer.
	Timeout time.Duration
	// FreshFor is the age below which a 401 is not the token's fault; 10 seconds
	// if unset, and never more than a quarter of the token's life.
	FreshFor time.Duration
	// Exclusive: a new login ends the session of the one before. Such a profile
	// never logs in without the fleet's lease, so it stands still while Redis
	// does.
	Exclusive bool
	// ExpiresOn is the last day a static credential works, zero if unknown. It is
	// data for warnings; nothing here stops on that day.
	ExpiresOn time.Time
}

// Identity is what goes into a credential's fingerprint. A credential of which
// one part changed is another credential, with a clean slate.
type Identity struct {
	Grant    string // "client_credentials", "password", "basic", …
	URL      string // of the login, or of the API for a static credential
	ClientID string
	Username string
	Scope    string
	Audience string
	// Extra are further parameters of the login.
	Extra []string
	// Secrets are the password, client secret, API key, company hash: whatever
	// the login proves.
	Secrets []secret.String
}

// The defaults and fixed times of TOKENS §2.
const (
	defaultLife    = 10 * time.Minute
	defaultTimeout = 15 * time.Second
	defaultFresh   = 10 * time.Second

	leaseMargin   = 2 * time.Second  // a lease outlives the request by this
	rejectedFor   = 30 * time.Second // after a 401 on a fresh token
	suspectOnceIn = 5 * time.Minute  // one suspicion per credential and fleet
	provenFor     = 24 * time.Hour   // a static credential's good name
	refusalsKept  = 24 * time.Hour   // how long refusals are counted
	outagesKept   = 5 * time.Minute  // and failures of the login service
	maxRetryAfter = 30 * time.Minute // the longest Retry-After that is believed
	maxReason     = 160              // bytes of a refusal's reason kept in Redis
	outageBase    = time.Second      // shortest wait for a login service
	outageCap     = 30 * time.Second // and the longest
	maxLife       = 366 * 24 * time.Hour
)

// coolDowns is the ladder after the first, second and every later refusal.
var coolDowns = []time.Duration{30 * time.Second, 5 * time.Minute, 30 * time.Minute}

func (p Profile) withDefaults() Profile {
	if p.DefaultLife <= 0 {
		p.DefaultLife = defaultLife
	}
	if p.Timeout <= 0 {
		p.Timeout = defaultTimeout
	}
	if p.FreshFor <= 0 {
		p.FreshFor = defaultFresh
	}
	return p
}

// stretch is the number of PBKDF2 rounds in a fingerprint, about 5 ms. Key
// names are visible and passwords are guessable, and the salt lies in the same
// Redis: without it a stolen dump would let someone try passwords by the
// billion.
const stretch = 1 << 15

// stretched keeps what was computed in this process, by a hash of what went in:
// State, rotation of the salt and several sources of one credential need it
// again.
var stretched sync.Map // [32]byte -> func() string

// fingerprint names a credential without giving anything of it away.
func (p Profile) fingerprint(salt []byte) string {
	id := p.Identity
	parts := []string{
		p.Name, id.Grant, id.URL, id.ClientID, id.Username, id.Scope, id.Audience,
		strconv.Itoa(len(id.Extra)),
	}
	parts = append(parts, id.Extra...)
	for _, s := range id.Secrets {
		parts = append(parts, s.Reveal())
	}
	whole := seal.Join("fingerprint", parts...)
	once := sync.OnceValue(func() string {
		key, err := pbkdf2.Key(sha256.New, string(whole), salt, stretch, 16)
		if err != nil {
			// Only a FIPS build refuses parameters, and these are within its rules.
			panic("tokens: fingerprint: " + err.Error())
		}
		return hex.EncodeToString(key)
	})
	known, _ := stretched.LoadOrStore(
		[32]byte(seal.HMAC(salt, "stretched", string(whole))),
		once,
	)
	return known.(func() string)()
}

// keyset is the Redis keys of one credential. They share a hash tag, so that
// every script works on one slot.
type keyset struct {
	salt string
	all  []string // in the order of the scripts
}

func (p Profile) keyset(salt []byte) *keyset {
	name := strings.NewReplacer("{", "_", "}", "_").
		Replace(p.Name)
		// the braces mark the tag
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
