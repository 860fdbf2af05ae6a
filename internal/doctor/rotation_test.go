package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"errand.internal/internal/apptest"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/webtest"
)

// The doctor of a host that has another secret than the workers says so.
func TestDoctorTellsWhetherTheWorkersUseAnotherSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w := f.Start(t)
	if _, err := apptest.Run(t, w, otpFor("a@example.com")); err != nil {
		t.Fatal(err)
	}
	const name = "danaconnect credential danaconnect-otp"
	const differs = "the workers use another secret than these settings have: "
	if r := runDoctor(t, f.Environ); r.has("warn", name, differs) {
		t.Errorf("with the workers' own settings:\n%s", r.text)
	}
	other := f.With(map[string]string{"DANACONNECT_PASSWORD": "new-canary"})
	runDoctor(t, other).want(t, "warn", name, differs, "run the doctor with the settings of the workers")

	f.Environ = other
	f.Start(t) // it has the new secret already
	runDoctor(t, other).want(t, "warn", name, "1 of 2 workers use another secret than these settings and the others have")
}

func TestDoctorChecksTheHTTPInterface(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const name = "http interface"
	if r := runDoctor(t, f.Environ); r.has("ok", name, "") || r.has("warn", name, "") {
		t.Errorf("without API_ADDR:\n%s", r.text)
	}
	f.Environ["API_ADDR"] = "127.0.0.1:0"
	f.Environ["API_KEYS"] = httpapi.Entry("shop", "errand_one") + " " + httpapi.Entry("crm", "errand_two")
	w := f.Start(t)
	f.Environ["API_ADDR"] = w.API
	runDoctor(t, f.Environ).want(t, "ok", name, "listens at "+w.API+"; 2 keys: shop, crm; plain HTTP")
	free := webtest.Reserve(t).Addr
	f.Environ["API_ADDR"] = free
	runDoctor(t, f.Environ).want(t, "warn", name, "nothing listens at "+free, "start a worker with these settings")

	for _, c := range []struct {
		left  time.Duration
		level string
		seen  string
	}{
		{100 * 24 * time.Hour, "ok", "valid until "},
		{7 * 24 * time.Hour, "warn", "valid until "},
		{-time.Hour, "FAIL", "ended on "},
	} {
		f.Environ["API_TLS_CERT"], f.Environ["API_TLS_KEY"] = certificate(t, time.Now().Add(c.left))
		runDoctor(t, f.Environ).want(t, c.level, name+" certificate", c.seen)
	}
	f.Environ["API_KEYS"] = "canary"
	runDoctor(t, f.Environ).want(t, "warn", name, "not checked")
}

// certificate writes a certificate that ends at a time, and its key.
func certificate(t *testing.T, end time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "errand.example"},
		NotBefore:    end.AddDate(-1, 0, 0),
		NotAfter:     end,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(path, block, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", raw)
}
