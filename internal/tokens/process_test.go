package tokens

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"errand.internal/internal/admission"
	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
	"errand.internal/internal/webtest"
)

// The test binary runs itself as a worker process when these are set.
const (
	childRole   = "TOKENS_TEST_CHILD"
	childRedis  = "TOKENS_TEST_REDIS"
	childVendor = "TOKENS_TEST_VENDOR"
)

// runChild is a worker process: it sends tokens to the vendor until its stdin is
// closed. Role "work" does so in five goroutines, "get" gets one token.
func runChild(role string) int {
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv(childRedis)})
	defer func() { _ = rdb.Close() }()
	base := os.Getenv(childVendor)
	p := Profile{
		Profile: admission.Profile{
			Name:     "process",
			Identity: admission.Identity{Grant: "password", Secrets: []secret.String{secret.New("right")}},
			Timeout:  5 * time.Second,
		},
		Fetch: func(ctx context.Context) (Grant, error) {
			body, err := call(ctx, base+"/login")
			if err != nil {
				return Grant{}, err
			}
			var g struct {
				Token string
				Life  int64
			}
			if err := json.Unmarshal(body, &g); err != nil {
				return Grant{}, err
			}
			return Grant{Value: secret.New(g.Token), Life: time.Duration(g.Life) * time.Millisecond}, nil
		},
	}
	s := NewSource(rdb, nil, p, nil, admission.WithRedisTimeout(testRedisTimeout), admission.WithLease(2*time.Second))
	defer s.Close()

	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	goroutines := 5
	if role == "get" {
		goroutines = 1
	}
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for ctx.Err() == nil {
				tok, err := s.Get(ctx)
				if err == nil {
					_, err = call(ctx, base+"/use?token="+url.QueryEscape(tok.Value.Reveal()))
				}
				if err != nil && ctx.Err() == nil {
					fmt.Println("failed:", err)
					stop()
				}
				if role == "get" {
					fmt.Println("served")
					return
				}
			}
		})
	}
	wg.Wait()
	return 0
}

func call(ctx context.Context, target string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := webtest.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New("the vendor said " + resp.Status)
	}
	return body, err
}

// httpVendor is a vendor that several processes can reach. It knows when each
// of its tokens expires.
type httpVendor struct {
	*httptest.Server
	life time.Duration
	// onLogin, if set, runs in login n before it is answered.
	onLogin func(n int)

	mu     sync.Mutex
	logins []time.Time
	ends   map[string]time.Time
	uses   int
}

func newHTTPVendor(t *testing.T, life time.Duration, onLogin func(n int)) *httpVendor {
	v := &httpVendor{life: life, onLogin: onLogin, ends: map[string]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, _ *http.Request) {
		v.mu.Lock()
		now := time.Now()
		v.logins = append(v.logins, now)
		n := len(v.logins)
		token := "t" + strconv.Itoa(n)
		v.ends[token] = now.Add(life)
		v.mu.Unlock()
		if v.onLogin != nil {
			v.onLogin(n)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Token": token, "Life": life.Milliseconds()})
	})
	mux.HandleFunc("POST /use", func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.uses++
		if !time.Now().Before(v.ends[r.FormValue("token")]) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	v.Server = httptest.NewServer(mux)
	t.Cleanup(v.Close)
	return v
}

func (v *httpVendor) snapshot() (logins []time.Time, uses int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.logins), v.uses
}

// child is one worker process.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string // its output; closed when it exits
}

func startChild(t *testing.T, role string, redisAddr string, v *httpVendor) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, childRedis+"="+redisAddr, childVendor+"="+v.URL)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, stdin: stdin, lines: make(chan string, 64)}
	go func() {
		defer close(c.lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			c.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // if it still runs
		for range c.lines {    // until the pipe is closed
		}
		_ = cmd.Wait()
	})
	return c
}

// finish waits until the process has exited and returns its output.
func (c *child) finish() []string {
	var printed []string
	for line := range c.lines {
		printed = append(printed, line)
	}
	return printed
}

// Ten processes with five goroutines each and tokens that live two seconds: one
// login per refresh interval, and no expired token is ever sent.
func TestTenProcessesShareOneLogin(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t)
	v := newHTTPVendor(t, 2*time.Second, nil)
	var children []*child
	for range 10 {
		children = append(children, startChild(t, "work", rdb.Addr(), v))
	}
	const wantLogins = 5
	eventually(t, "five logins", func() bool {
		logins, _ := v.snapshot()
		return len(logins) >= wantLogins
	})
	for _, c := range children {
		_ = c.stdin.Close()
	}
	for i, c := range children {
		if printed := c.finish(); len(printed) > 0 {
			t.Errorf("process %d: %s", i, strings.Join(printed, "; "))
		}
	}
	logins, uses := v.snapshot()
	// A token is due for refresh 1.06 s after its login was sent, at the earliest.
	// The slack covers the time that the first and the last login took.
	span := logins[len(logins)-1].Sub(logins[0]) + 500*time.Millisecond
	if most := 1 + int(span/(1060*time.Millisecond)); len(logins) > most {
		t.Errorf("%d logins within %v, want at most %d", len(logins), span, most)
	}
	if uses < 100 {
		t.Errorf("the processes made %d calls, want at least 100", uses)
	}
}

// The process that is logging in is killed: at most two logins, and all others
// are served.
func TestKilledHolderIsReplaced(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t)
	entered, proceed := make(chan struct{}), make(chan struct{})
	v := newHTTPVendor(t, time.Hour, func(n int) {
		if n == 1 {
			close(entered)
			<-proceed
		}
	})
	holder := startChild(t, "get", rdb.Addr(), v)
	<-entered
	var others []*child
	for range 4 {
		others = append(others, startChild(t, "get", rdb.Addr(), v))
	}
	if err := holder.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for i, c := range others {
		if line := <-c.lines; line != "served" {
			t.Errorf("process %d: %q, want it served", i, line)
		}
	}
	close(proceed)
	if logins, _ := v.snapshot(); len(logins) > 2 {
		t.Errorf("%d logins, want at most 2", len(logins))
	}
}
