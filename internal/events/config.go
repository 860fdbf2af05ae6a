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

// Vendor stands for the receiver where errors and metrics name a vendor.
const Vendor = "events"

// Config says where events go.
type Config struct {
	// URL receives the events. It is a secret because many receivers carry a token
	// in their address. If it is unset, no events are sent.
	URL secret.String `env:"URL" doc:"Where events are posted to (docs/events.md); none are sent if it is unset."`
	// Secret signs the events.
	Secret secret.String `env:"SECRET" doc:"Signs the events: whsec_ and the base64 of 24 or more random bytes; several separated by space while rotating."`
	// AllowInsecureHTTP permits plain http on hosts other than loopback.
	AllowInsecureHTTP bool `env:"-"`
}

// Configured reports whether there is a receiver.
func (c Config) Configured() bool {
	return !c.URL.Empty()
}

// Timeouts bounds one delivery attempt.
func (c Config) Timeouts() clients.Timeouts {
	return clients.Timeouts{Call: 15 * time.Second}
}

// Validate names every variable at fault.
func (c Config) Validate() error {
	_, err := c.endpoint()
	return err
}

const (
	secretPrefix = "whsec_"
	// minSecretBytes is the shortest secret that Standard Webhooks permits.
	minSecretBytes = 24
)

// endpoint is a validated Config; its zero value means that none is configured.
type endpoint struct {
	url     string
	host    string
	signers []*standardwebhooks.Webhook // one per secret
}

func (c Config) endpoint() (endpoint, error) {
	if c.URL.Empty() && c.Secret.Empty() {
		return endpoint{}, nil
	}
	url := strings.TrimSpace(c.URL.Reveal())
	host, urlErr := checkURL(url, c.AllowInsecureHTTP)
	signers, secretErr := parseSecrets(c.Secret.Reveal())
	return endpoint{
		url:     url,
		host:    host,
		signers: signers,
	}, errors.Join(urlErr, secretErr)
}

// checkURL returns the host of a receiver's URL. It applies the rules for a
// vendor's base URL, except that a query is allowed.
func checkURL(url string, allowInsecure bool) (string, error) {
	address, _, _ := strings.Cut(url, "?")
	base, err := clients.ParseBaseURL("EVENTS_URL", address, allowInsecure)
	switch {
	case err != nil:
		return "", err
	case strings.Contains(url, "#"):
		return "", errors.New("EVENTS_URL: must not contain a fragment")
	case strings.ContainsFunc(url, unsendable):
		return "", errors.New("EVENTS_URL: must not contain a blank or a control character")
	}
	return base.Host(), nil
}

// unsendable reports whether a character cannot stand in the query of a request.
func unsendable(r rune) bool {
	return r <= ' ' || r == 0x7f
}

func parseSecrets(list string) ([]*standardwebhooks.Webhook, error) {
	secrets := strings.Fields(list)
	if len(secrets) == 0 {
		return nil, errors.New("EVENTS_SECRET: is not set; events are signed with it")
	}
	var signers []*standardwebhooks.Webhook
	var faults []error
	for i, s := range secrets {
		signer, err := newSigner(s)
		if err != nil {
			faults = append(faults, fmt.Errorf("EVENTS_SECRET: secret %d of %d %w", i+1, len(secrets), err))
			continue
		}
		signers = append(signers, signer)
	}
	return signers, errors.Join(faults...)
}

// newSigner parses one secret. Its errors do not quote it.
func newSigner(s string) (*standardwebhooks.Webhook, error) {
	encoded, found := strings.CutPrefix(s, secretPrefix)
	if !found {
		return nil, errors.New("must begin with " + secretPrefix)
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	switch {
	case err != nil:
		return nil, errors.New("is not base64 after " + secretPrefix)
	case len(raw) < minSecretBytes:
		return nil, fmt.Errorf("has %d bytes and must have at least %d", len(raw), minSecretBytes)
	}
	return standardwebhooks.NewWebhookRaw(raw)
}
