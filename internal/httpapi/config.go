package httpapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
	"errand.internal/internal/webserver"
)

// The timeouts of the server. A request that waits, and a bulk, have longer ones.
const (
	// ReadTimeout is how long a request may take to arrive, with its body.
	ReadTimeout = 10 * time.Second
	// WriteTimeout is how long its answer may take, from then on.
	WriteTimeout = 30 * time.Second
)

// Config says whether and how the interface is served.
type Config struct {
	Addr    string        `env:"ADDR" doc:"HTTP interface for producers (docs/producing.md), such as 127.0.0.1:8081. Unset: none."`
	Keys    secret.String `env:"KEYS" doc:"The keys of its users, separated by blanks or lines: name:sha256-of-key[:type,type...]; worker api-key makes them."`
	TLSCert string        `env:"TLS_CERT" doc:"File of its certificate, with the chain, in PEM; read again for each connection. Unset: plain HTTP."`
	TLSKey  string        `env:"TLS_KEY" doc:"File of the certificate's private key, in PEM."`
	Rate    settings.Rate `env:"RATE" envDefault:"1000/s" doc:"Requests and rows of one key at one worker; none switches it off."`
}

var errNoKeys = errors.New("API_KEYS: must be set, because API_ADDR is; worker api-key NAME makes a key")

// Enabled reports whether the interface is served.
func (c Config) Enabled() bool {
	return c.Addr != ""
}

// Validate names every variable at fault.
func (c Config) Validate() error {
	var faults []error
	if problem := webserver.AddrProblem(c.Addr); problem != "" {
		faults = append(faults, fmt.Errorf("API_ADDR: %s", problem))
	}
	_, err := parseKeys(c.Keys)
	faults = append(faults, err)
	if c.Enabled() && c.Keys.Empty() {
		faults = append(faults, errNoKeys)
	}
	faults = append(faults, c.tlsProblem())
	return errors.Join(faults...)
}

func (c Config) tlsProblem() error {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return nil
	case c.TLSKey == "":
		return errors.New("API_TLS_CERT: needs API_TLS_KEY beside it")
	case c.TLSCert == "":
		return errors.New("API_TLS_KEY: needs API_TLS_CERT beside it")
	}
	_, err := c.certificate(nil)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("API_TLS_CERT: it, or API_TLS_KEY, cannot be read: %w", path.Err)
	}
	if err != nil {
		return errors.New("API_TLS_CERT: is not a certificate in PEM that belongs to API_TLS_KEY")
	}
	return nil
}

// KeyNames lists the names of the keys of a valid Config.
func (c Config) KeyNames() []string {
	keys, _ := parseKeys(c.Keys)
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

// CertificateEnd returns when the certificate ends.
func (c Config) CertificateEnd() (time.Time, error) {
	pair, err := c.certificate(nil)
	if err != nil {
		return time.Time{}, err
	}
	return pair.Leaf.NotAfter, nil
}

// certificate reads the files for each connection, so that a renewed certificate needs
// no restart.
func (c Config) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	return &pair, err
}

// TLS returns the settings of a TLS listener; nil for plain HTTP.
func (c Config) TLS() *tls.Config {
	if c.TLSCert == "" {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: c.certificate,
		NextProtos:     []string{"h2", "http/1.1"},
	}
}
