package redisconn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"errand.internal/internal/redistest"
	"errand.internal/internal/testwait"
)

func open(t *testing.T, rawURL string, role Role) redis.UniversalClient {
	t.Helper()
	target, err := Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return openTarget(t, target, role)
}

func openTarget(t *testing.T, target *Target, role Role) redis.UniversalClient {
	t.Helper()
	client := target.Open(role)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return client
}

func roundTrip(t *testing.T, client redis.UniversalClient) {
	t.Helper()
	if err := client.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Errorf("SET: %v", err)
	}
	if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("GET = %q, %v", got, err)
	}
}

func TestOpenSingle(t *testing.T) {
	t.Parallel()
	const password = `p@s/s?#% "+:ü`
	s := redistest.New(t, redistest.Password(password))
	names := map[Role]string{
		Servers:  "errand-worker",
		General:  "errand-general",
		Producer: "errand-producer",
	}
	for role, name := range names {
		t.Run(name, func(t *testing.T) {
			client := open(t, strings.TrimSuffix(s.URL(), "/0")+"/5", role)
			roundTrip(t, client)
			list, err := s.Client().ClientList(t.Context()).Result()
			if err != nil || !strings.Contains(list, "name="+name+" ") {
				t.Errorf("CLIENT LIST has no %s (%v):\n%s", name, err, list)
			}
			if !strings.Contains(list, " db=5 ") {
				t.Errorf("no client uses database 5:\n%s", list)
			}
		})
	}
}

func TestOpenWithUser(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	if err := s.Client().Do(t.Context(), "ACL", "SETUSER", "worker", "on", ">pw", "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, open(t, "redis://worker:pw@"+s.Addr(), General))

	err := open(t, "redis://worker:hunter2@"+s.Addr(), General).Ping(t.Context()).Err()
	if err == nil || !Unreachable(err) {
		t.Errorf("wrong password: %v, want an error that counts as unreachable", err)
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestOpenCluster(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, 3, redistest.Password("pa:ss"))
	for _, role := range []Role{Servers, General, Producer} {
		client := open(t, c.URL(), role)
		if _, ok := client.(*redis.ClusterClient); !ok {
			t.Errorf("Open gives a %T; asynqmon needs the type to know a cluster", client)
		}
		for _, key := range []string{"a", "b", "c", "d", "e"} {
			if err := client.Set(t.Context(), key, "v", 0).Err(); err != nil {
				t.Errorf("SET %s: %v", key, err)
			}
		}
	}
	one := open(t, "redis-cluster://:pa%3Ass@"+c.Addrs()[1], General) // one seed is enough
	if got, err := one.Get(t.Context(), "a").Result(); err != nil || got != "v" {
		t.Errorf("GET over one seed = %q, %v", got, err)
	}

	for _, node := range c.Nodes() {
		node.Pause()
	}
	client := open(t, c.URL(), Producer)
	start := time.Now()
	err := client.Set(t.Context(), "a", "v", 0).Err()
	if took := time.Since(start); took > 3*time.Second || !Unreachable(err) {
		t.Errorf("a frozen cluster gave %v after %v", err, took)
	}
}

// A master that has died tells nobody which replica has its slots by now.
func TestAClusterClientFollowsAFailover(t *testing.T) {
	t.Parallel()
	c := redistest.NewReplicatedCluster(t, 3, redistest.Config("cluster-node-timeout", "1000"))
	clients := map[string]redis.UniversalClient{}
	for name, role := range map[string]Role{"servers": Servers, "general": General, "producer": Producer} {
		clients[name] = open(t, c.URL(), role)
		roundTrip(t, clients[name])
	}
	dead := c.MasterOf(t, "k")
	dead.Kill()
	c.WaitFailover(t, dead)
	for name, client := range clients {
		testwait.Eventually(t, testwait.Limit, "the client of the "+name+" writes to the new master", func() bool {
			return client.Set(t.Context(), "k", name, 0).Err() == nil
		})
	}
}

func TestOpenSentinel(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name             string
		sentinelPassword string
		extra            string
	}{
		{name: "sentinel without a password"},
		{name: "sentinel with the same password", sentinelPassword: "data"},
		{name: "sentinel with its own", sentinelPassword: "wa/tch", extra: "&sentinel_password=wa%2Ftch"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.NewSentinel(
				t,
				redistest.SentinelOptions{Password: tt.sentinelPassword},
				redistest.Password("data"),
			)
			client := open(t, s.URL()+tt.extra, General)
			roundTrip(t, client)
			if _, ok := client.(*redis.Client); !ok {
				t.Errorf("Open gives a %T; asynqmon needs a *redis.Client", client)
			}
			s.Failover(t)
			s.Nodes()[0].Kill()
			// Writes fail until the client has followed the sentinel.
			deadline := time.Now().Add(30 * time.Second)
			for {
				err := client.Set(t.Context(), "after", "v", 0).Err()
				if err == nil {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("no write after the failover: %v", err)
				}
			}
			if n, err := s.Nodes()[1].Client().Exists(t.Context(), "after").Result(); err != nil || n != 1 {
				t.Errorf("the write did not reach the new master (%v)", err)
			}
		})
	}
}

func TestOpenSentinelWithUser(t *testing.T) {
	t.Parallel()
	s := redistest.NewSentinel(t, redistest.SentinelOptions{})
	master := s.Nodes()[0].Client()
	if err := master.Do(t.Context(), "ACL", "SETUSER", "worker", "on", ">pw", "~*", "&*", "+@all").Err(); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, open(t, strings.Replace(s.URL(), "://", "://worker:pw@", 1), General))
}

// Exit code 4 of the command line depends on this.
func TestProducerReportsWithinThreeSeconds(t *testing.T) {
	t.Parallel()
	stopped, paused := redistest.New(t), redistest.New(t)
	stopped.Stop()
	paused.Pause()
	warm := redistest.New(t)
	warmClient := open(t, warm.URL(), Producer)
	roundTrip(t, warmClient)
	warm.Pause()
	sentinel := redistest.NewSentinel(t, redistest.SentinelOptions{})
	sentinel.Server().Pause()
	tests := []struct {
		name   string
		client redis.UniversalClient
	}{
		{name: "not running", client: open(t, stopped.URL(), Producer)},
		{name: "frozen before the first command", client: open(t, paused.URL(), Producer)},
		{name: "frozen with connections open", client: warmClient},
		{name: "frozen sentinel", client: open(t, sentinel.URL(), Producer)},
		{
			name:   "tls on a plain port",
			client: open(t, strings.Replace(redistest.New(t).URL(), "redis:", "rediss:", 1), Producer),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pipeline := func() error {
				_, err := tt.client.Pipelined(t.Context(), func(p redis.Pipeliner) error {
					p.Set(t.Context(), "k", "v", 0)
					return nil
				})
				return err
			}
			for what, call := range map[string]func() error{
				"command":  func() error { return tt.client.Set(t.Context(), "k", "v", 0).Err() },
				"pipeline": pipeline,
			} {
				start := time.Now()
				err := call()
				if took := time.Since(start); took > 3*time.Second {
					t.Errorf("%s: reported after %v", what, took)
				}
				if !Unreachable(err) {
					t.Errorf("%s: %v does not count as unreachable", what, err)
				}
			}
		})
	}
}

func TestContextBoundsACall(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	for _, role := range []Role{Servers, General, Producer} {
		client := open(t, s.URL(), role)
		roundTrip(t, client)
		s.Pause()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		err := client.Get(ctx, "k").Err()
		cancel()
		s.Resume()
		if took := time.Since(start); took > time.Second || !Unreachable(err) {
			t.Errorf("role %d: %v after %v", role, err, took)
		}
	}
}

func TestServersOutlastAFreeze(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	client := open(t, s.URL(), Servers)
	roundTrip(t, client)
	dialled := make(chan struct{}, 16)
	client.AddHook(dialHook(func() { dialled <- struct{}{} }))
	s.Pause()
	result := make(chan error, 1)
	go func() { result <- client.Set(t.Context(), "acknowledged", "1", 0).Err() }()
	// The client dials again once the read on the first connection has timed out.
	select {
	case err := <-result:
		t.Fatalf("gave up: %v", err)
	case <-dialled:
	}
	s.Resume()
	if err := <-result; err != nil {
		t.Errorf("after the freeze: %v", err)
	}
}

// dialHook is called before every connection is made.
type dialHook func()

func (h dialHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		h()
		return next(ctx, network, addr)
	}
}

func (dialHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (dialHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestClientsComeBackAfterARestart(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	clients := []redis.UniversalClient{open(t, s.URL(), Servers), open(t, s.URL(), General), open(t, s.URL(), Producer)}
	for _, client := range clients {
		roundTrip(t, client)
	}
	s.Kill()
	for _, client := range clients {
		if err := client.Ping(t.Context()).Err(); !Unreachable(err) {
			t.Errorf("while it is down: %v", err)
		}
	}
	s.Start()
	for _, client := range clients {
		roundTrip(t, client)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := redistest.New(t, redistest.Password("pw"))
	addr, roots := tlsProxy(t, s.Addr())
	target, err := Parse("rediss://:pw@" + addr)
	if err != nil {
		t.Fatal(err)
	}
	target.roots = roots
	roundTrip(t, openTarget(t, target, General))

	target.roots = x509.NewCertPool()
	err = openTarget(t, target, Producer).Ping(t.Context()).Err()
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || !Unreachable(err) {
		t.Errorf("an unknown certificate: %v", err)
	}
}

// A Redis that demands a client certificate gets that of the URL, and says no
// without one.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	p := newTLSProxy(t, s.Addr(), tls.RequireAndVerifyClientCert)
	cert, key := p.writeFiles(t)
	target, err := Parse("rediss://" + p.addr + "?cert=" + cert + "&key=" + key)
	if err != nil {
		t.Fatal(err)
	}
	target.roots = p.roots
	roundTrip(t, openTarget(t, target, General))

	target.cert = clientCert{}
	if err := openTarget(t, target, Producer).Ping(t.Context()).Err(); err == nil {
		t.Error("it works without a certificate")
	}
}

// tlsProxy puts TLS before a plain server, under a certificate for 127.0.0.1.
func tlsProxy(t *testing.T, to string) (addr string, roots *x509.CertPool) {
	t.Helper()
	p := newTLSProxy(t, to, tls.NoClientCert)
	return p.addr, p.roots
}

// certifiedProxy is a TLS proxy with its certificate, which is its own authority.
type certifiedProxy struct {
	addr  string
	roots *x509.CertPool
	der   []byte
	key   *ecdsa.PrivateKey
}

// writeFiles writes certificate and key as PEM files.
func (p certifiedProxy) writeFiles(t *testing.T) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(p.key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("redis.crt", "CERTIFICATE", p.der), write("redis.key", "EC PRIVATE KEY", der)
}

func newTLSProxy(t *testing.T, to string, clientAuth tls.ClientAuthType) certifiedProxy {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "redis"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	l, err := tls.Listen(
		"tcp",
		"127.0.0.1:0",
		&tls.Config{
			Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
			ClientAuth:   clientAuth,
			ClientCAs:    roots,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { pipe(c, to) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return certifiedProxy{l.Addr().String(), roots, der, key}
}

func pipe(c net.Conn, to string) {
	defer func() { _ = c.Close() }()
	back, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(back, c)
		_ = back.Close()
	})
	_, _ = io.Copy(c, back)
	_ = c.Close()
	wg.Wait()
}

func TestAsynqUsesASharedClient(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	client := open(t, s.URL(), General)
	opt := Shared(client)
	if opt.MakeRedisClient() != any(client) {
		t.Error("Shared gives another client")
	}
	if _, err := asynq.NewInspector(opt).Queues(); err != nil {
		t.Errorf("asynq cannot use it: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	answered := s.Client().Do(t.Context(), "NO-SUCH-COMMAND").Err()
	missing := s.Client().Get(t.Context(), "missing").Err()
	tests := []struct {
		name string
		err  error
		want bool
	}{
		{name: "nil"},
		{name: "an answer that is an error", err: answered},
		{name: "no such key", err: missing},
		{name: "the caller gave up", err: context.Canceled},
		{name: "deadline", err: context.DeadlineExceeded, want: true},
		{name: "connection closed", err: io.EOF, want: true},
		{name: "pool exhausted", err: redis.ErrPoolTimeout, want: true},
		{name: "a full disk", err: fmt.Errorf("write the receipt: %w", &fs.PathError{Op: "write", Err: syscall.ENOSPC})},
		{name: "dial", err: &net.OpError{Op: "dial", Err: errors.New("refused")}, want: true},
		{
			name: "not tls",
			err:  tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"},
			want: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Unreachable(tt.err); got != tt.want {
				t.Errorf("Unreachable(%v) = %v", tt.err, got)
			}
		})
	}
}
