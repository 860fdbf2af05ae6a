package events

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"errand.internal/clients"
	"errand.internal/internal/secret"
)

// Vendor names the sink in errors and metrics, as if it were one.
const Vendor = "events"

// Config says where events go.
type Config struct {
	// URL takes the events. It is a secret because many receivers put a token into
	// their address.
	URL secret.String `env:"URL" doc:"Where events are posted to (docs/events.md); none are sent if it is unset."`
	// Secret signs them.
	Secret secret.String `env:"SECRET" doc:"Signs the events: whsec_ and the base64 of 24 or more random bytes; several separated by space while rotating."`
	// AllowInsecureHTTP permits plain http on hosts other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether there is a sink.
func (c Config) Configured() bool {
	return !c.URL.Empty()
}

// Limits bound one try.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: 15 * time.Second}
}

// Validate names every variable at fault.
func (c Config) Validate() error {
	_, _, _, err := c.check()
	return err
}

const (
	secretPrefix = "whsec_"
	// secretBytes is the least that Standard Webhooks asks for.
	secretBytes = 24
)

// check returns the URL as it is called, its host, and a signer for each secret.
func (c Config) check() (url, host string, signers []*standardwebhooks.Webhook, err error) {
	if c.URL.Empty() && c.Secret.Empty() {
		return "", "", nil, nil
	}
	var faults []error
	url = strings.TrimSpace(c.URL.Reveal())
	// A query is the receiver's own affair; the rest is held to the same rules as
	// a vendor's URL.
	address, _, _ := strings.Cut(url, "?")
	base, fault := clients.ParseBaseURL("EVENTS_URL", address, c.AllowInsecureHTTP)
	if fault == nil && strings.Contains(url, "#") {
		fault = errors.New("EVENTS_URL: must not contain a fragment")
	}
	if fault != nil {
		faults = append(faults, fault)
	}
	secrets := strings.Fields(c.Secret.Reveal())
	if len(secrets) == 0 {
		faults = append(
			faults,
			errors.New("EVENTS_SECRET: is not set; events are signed with it"),
		)
	}
	for i, s := range secrets {
		signer, err := newSigner(s)
		if err != nil {
			faults = append(
				faults,
				fmt.Errorf("EVENTS_SECRET: secret %d of %d %w", i+1, len(secrets), err),
			)
		}
		signers = append(signers, signer)
	}
	return url, base.Host(), signers, errors.Join(faults...)
}

// newSigner reads one secret. Its errors do not quote it.
func newSigner(s string) (*standardwebhooks.Webhook, error) {
	encoded, found := strings.CutPrefix(s, secretPrefix)
	if !found {
		return nil, errors.New("must begin with " + secretPrefix)
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return nil, errors.New("is not base64 behind " + secretPrefix)
	case len(raw) < secretBytes:
		return nil, fmt.Errorf(
			"has %d bytes and must have at least %d",
			len(raw),
			secretBytes,
		)
	}
	return standardwebhooks.NewWebhookRaw(raw)
}
