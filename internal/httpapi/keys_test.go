package httpapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"errand.internal/internal/httpapi"
	"errand.internal/internal/secret"
	"errand.internal/internal/settings"
)

// A key that was made works with its entry, which holds the key's digest only.
func TestAMadeKeyWorks(t *testing.T) {
	t.Parallel()
	made, err := httpapi.MakeKey("new-shop", []string{sendType}, true)
	if err != nil {
		t.Fatal(err)
	}
	other, err := httpapi.MakeKey("new-shop", nil, false)
	if err != nil || other.Key == made.Key || len(made.Key) < 30 {
		t.Errorf("two keys: %q and %q, %v", made.Key, other.Key, err)
	}
	if strings.Contains(made.Entry, made.Key) || !strings.HasSuffix(made.Entry, ":"+sendType+",read") {
		t.Errorf("the entry: %q", made.Entry)
	}
	f := newFixture(t, map[string]string{"API_KEYS": made.Entry})
	f.report(f.do("POST", "/v1/tasks/"+sendType+"?wait=20s", otpPayload, as(made.Key)...), 200)
	f.problem(f.do("POST", "/v1/tasks/"+pipeType, "{}", as(made.Key)...), 403, "forbidden")
	for name, types := range map[string][]string{"a b": nil, "": nil, "A": nil, "shop": {"danaconnect:otp:sent"}} {
		if _, err := httpapi.MakeKey(name, types, false); err == nil {
			t.Errorf("a key %q for %v was made", name, types)
		}
	}
}

// Wrong settings are refused in one line that quotes no key.
func TestWrongKeysAreRefused(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("0a", 32)
	for keys, want := range map[string]string{
		"canary":                        "API_KEYS: key 1: must be name:sha256-of-key",
		"shop:canary":                   "API_KEYS: key 1: must have the SHA-256 of the key",
		"shop:" + sum + " Shop:" + sum:  "API_KEYS: key 2: must be name:",
		"shop:" + sum + "\nshop:" + sum: "API_KEYS: key 2: the name shop is taken",
		"shop:" + sum + ":canary":       "API_KEYS: key 1: names a type that does not exist",
		"shop:" + sum + ":":             "API_KEYS: key 1: names a type that does not exist",
		"":                              "API_KEYS: must be set, because API_ADDR is",
	} {
		err := httpapi.Config{Addr: "127.0.0.1:0", Keys: secret.New(keys)}.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v, want %s", keys, err, want)
		}
	}
	var none httpapi.Config
	if err := settings.Load(&none, nil); err != nil || none.Enabled() || none.Validate() != nil {
		t.Errorf("without settings: %v, enabled %v, %v", err, none.Enabled(), none.Validate())
	}
}

// With a certificate the interface speaks TLS only, also HTTP/2, and a renewed
// certificate counts at once.
func TestTheInterfaceSpeaksTLS(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	certFile, keyFile := filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	pool := x509.NewCertPool()
	pool.AddCert(writeCertificate(t, certFile, keyFile, "first"))
	f := newFixture(t, map[string]string{"API_TLS_CERT": certFile, "API_TLS_KEY": keyFile})
	f.base = "https://" + f.worker.API
	secure := func(roots *x509.CertPool) *http.Client {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	f.http = secure(pool)
	f.report(f.do("POST", "/v1/tasks/"+sendType+"?wait=20s", otpPayload), 200)
	resp, err := f.bulk(strings.NewReader(rows(0, 3)))
	if err != nil {
		t.Fatal(err)
	}
	if got := decodeBulk(t, resp.Body); got.end == nil || got.end.Enqueued != 3 || resp.ProtoMajor != 2 {
		t.Errorf("a bulk by %s: %s", resp.Proto, got.counts())
	}
	_ = resp.Body.Close()

	renewed := x509.NewCertPool()
	renewed.AddCert(writeCertificate(t, certFile, keyFile, "second"))
	f.http = secure(renewed)
	f.report(f.do("POST", "/v1/tasks/"+sendType+"?wait=20s", otpPayload), 200)

	f.base, f.http = "http://"+f.worker.API, &http.Client{}
	if a := f.do("GET", "/v1/types", ""); a.status != 400 {
		t.Errorf("plain HTTP: status %d", a.status)
	}
}

// writeCertificate writes a new certificate of 127.0.0.1 and its key.
func writeCertificate(t *testing.T, certFile, keyFile, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secretDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: secretDER},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
