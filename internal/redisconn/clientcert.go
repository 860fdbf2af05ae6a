package redisconn

import (
	"crypto/tls"
	"errors"
	"io/fs"
)

// clientCert is the certificate with which a client proves to Redis who it is.
// The zero value is none.
type clientCert struct{ cert, key string } // files in PEM

// problem returns why the files cannot be used; "" if they can. It does not name
// them, because a password may have been put there by mistake.
func (c clientCert) problem() string {
	switch {
	case c == clientCert{}:
		return ""
	case c.cert == "" || c.key == "":
		return "needs both cert and key after ?, the files of a certificate and its key"
	}
	_, err := c.load(nil)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return "a file of cert and key cannot be read: " + path.Err.Error()
	}
	if err != nil {
		return "the files of cert and key are not a certificate and its key in PEM"
	}
	return ""
}

// load reads the files for each connection, so a renewed certificate needs no
// restart.
func (c clientCert) load(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	return &pair, err
}
