package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"

	"errand.internal/internal/httpapi"
	"errand.internal/internal/redistest"
	"errand.internal/internal/secret"
	"errand.internal/internal/webserver"
	"errand.internal/tasks"
	"errand.internal/tasks/danaconnect"
)

// loadMark in the environment makes the test binary the client of BenchmarkEnqueue, so
// that its CPU is not counted. The value is the address, the number of requests, and how
// many of them to send a second (0 for as many as possible).
const loadMark = "HTTPAPI_LOAD"

func TestMain(m *testing.M) {
	if load := os.Getenv(loadMark); load != "" {
		if err := sendLoad(load); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// connections are kept alive.
const connections = 32

// sendLoad sends requests and prints the median of their times in microseconds.
func sendLoad(load string) error {
	words := strings.Fields(load)
	n, err := strconv.Atoi(words[1])
	if err != nil {
		return err
	}
	perSecond, err := strconv.Atoi(words[2])
	if err != nil {
		return err
	}
	var turns <-chan time.Time
	if perSecond > 0 {
		turns = time.Tick(time.Second / time.Duration(perSecond))
	}
	took := make([]time.Duration, n)
	next := make(chan int)
	var group sync.WaitGroup
	faults := make(chan error, connections)
	for range connections {
		conn, err := net.Dial("tcp", words[0])
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		group.Go(func() {
			from := bufio.NewReader(conn)
			for i := range next {
				began := time.Now()
				if err := post(conn, from); err != nil {
					faults <- err
					return
				}
				took[i] = time.Since(began)
			}
		})
	}
	for i := range n {
		if turns != nil {
			<-turns
		}
		select {
		case next <- i:
		case err := <-faults:
			return err
		}
	}
	close(next)
	group.Wait()
	slices.Sort(took)
	fmt.Println(took[n/2].Microseconds())
	return nil
}

// posted is a request as it is on the wire. It is written as it is and its answer only
// looked through, so that the client takes little of the machine that it shares with what
// is measured.
var posted = fmt.Appendf(nil, "POST /v1/tasks/%s HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n"+
	"Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
	sendType, shopKey, len(otpPayload), otpPayload)

// post sends a request and reads its answer.
func post(to io.Writer, from *bufio.Reader) error {
	if _, err := to.Write(posted); err != nil {
		return err
	}
	length := 0
	for first := true; ; first = false {
		line, err := from.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 202 ")) {
			return fmt.Errorf("answered with %s", line)
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(line) == len("\r\n") {
			break
		}
	}
	_, err := from.Discard(length)
	return err
}

// BenchmarkEnqueue compares the CPU of a task enqueued by HTTP with that of the Go client,
// Redis' included, and reports the median time of a request at a rate that the machine
// can take.
func BenchmarkEnqueue(b *testing.B) {
	server := redistest.New(b)
	client, err := tasks.Open(server.URL())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	handler, err := httpapi.New(
		httpapi.Config{Addr: "127.0.0.1:0", Keys: secret.New(httpapi.Entry("shop", shopKey))},
		httpapi.Parts{
			Client:   client,
			Registry: prometheus.NewRegistry(),
			Log:      zerolog.Nop(),
			Stopping: b.Context(),
		},
	)
	if err != nil {
		b.Fatal(err)
	}
	addr := serve(b, handler)
	const n = 4000
	var byGo, byHTTP, ratios, medians []float64
	for range rounds(b) {
		byGo = append(byGo, cpu(b, server.Client(), n, func() { enqueueByGo(b, client, n) }))
		byHTTP = append(byHTTP, cpu(b, server.Client(), n, func() { load(b, addr, n, 0) }))
		ratios = append(ratios, byHTTP[len(byHTTP)-1]/byGo[len(byGo)-1])
		medians = append(medians, load(b, addr, 400, 200))
		server.Client().FlushDB(b.Context())
	}
	b.ReportMetric(middle(byGo), "go-µs")
	b.ReportMetric(middle(byHTTP), "http-µs")
	b.ReportMetric(middle(ratios), "x-go")
	b.ReportMetric(middle(medians), "p50-µs")
	b.ReportMetric(0, "ns/op")
}

// serve serves the interface as a worker does, and returns its address.
func serve(b *testing.B, handler http.Handler) string {
	b.Helper()
	listener, err := webserver.Listen(b.Context(), "API_ADDR", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- webserver.Server{
			Name:         "HTTP interface",
			Handler:      handler,
			ReadTimeout:  httpapi.ReadTimeout,
			WriteTimeout: httpapi.WriteTimeout,
		}.Serve(ctx, listener, zerolog.Nop())
	}()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return listener.Addr().String()
}

// rounds is how many rounds the median is of: ITERATIONS, as in internal/bench.
func rounds(b *testing.B) int {
	b.Helper()
	text := os.Getenv("ITERATIONS")
	if text == "" {
		return 5
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("ITERATIONS=%q is not a number of rounds", text)
	}
	return n
}

func middle(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// load has the child send requests, and returns the median of their times.
func load(b *testing.B, addr string, n, perSecond int) float64 {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = []string{"GOMAXPROCS=1", fmt.Sprintf("%s=%s %d %d", loadMark, addr, n, perSecond)}
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	micros, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		b.Fatal(err)
	}
	return micros
}

func enqueueByGo(b *testing.B, client *tasks.Client, n int) {
	b.Helper()
	var payload danaconnect.OTPSend
	if err := json.Unmarshal([]byte(otpPayload), &payload); err != nil {
		b.Fatal(err)
	}
	var group sync.WaitGroup
	for range connections {
		group.Go(func() {
			for range n / connections {
				if _, err := tasks.Enqueue(b.Context(), client, payload); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// cpu returns the CPU of this process and of Redis that one of n tasks takes, in
// microseconds.
func cpu(b *testing.B, rdb *redis.Client, n int, do func()) float64 {
	b.Helper()
	used := func() float64 {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		text, err := rdb.Info(b.Context(), "cpu").Result()
		if err != nil {
			b.Fatal(err)
		}
		seconds := time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
		for _, name := range []string{"used_cpu_user:", "used_cpu_sys:"} {
			_, value, _ := strings.Cut(text, name)
			value, _, _ = strings.Cut(value, "\r")
			spent, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			seconds += spent
		}
		return seconds * 1e6
	}
	before := used()
	do()
	return (used() - before) / float64(n)
}
