package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"errand.internal/internal/apptest"
	"errand.internal/internal/proctest"
)

// command builds a command as it is shipped.
func command(b *testing.B, name string) (path string) {
	b.Helper()
	path = filepath.Join(b.TempDir(), name)
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path,
		"errand.internal/cmd/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return path
}

// environ are the settings of a command.
func environ(settings map[string]string) []string {
	var list []string
	for name, value := range settings {
		list = append(list, name+"="+value)
	}
	return list
}

// BenchmarkBulkCommand measures `enqueue bulk` with a file of 20,000 rows with keys.
func BenchmarkBulkCommand(b *testing.B) {
	const rows = 20_000
	bin := command(b, "enqueue")
	var file bytes.Buffer
	for i := range rows {
		fmt.Fprintf(&file, `{"type":"danaconnect:api:call","key":"row-%d","payload":{"method":"POST","path":"records",`+
			`"body":{"name":"somebody","mail":"somebody@example.com","row":%d}}}`+"\n", i, i)
	}
	input := filepath.Join(b.TempDir(), "rows.jsonl")
	if err := os.WriteFile(input, file.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	var took, resident []float64
	for range rounds(b) {
		f := apptest.New(b)
		cmd := exec.CommandContext(b.Context(), bin, "bulk", input, "--receipt", filepath.Join(b.TempDir(), "receipt"))
		cmd.Env = environ(map[string]string{
			"REDIS_URL":       f.Environ["REDIS_URL"],
			"ENCRYPTION_KEYS": apptest.EncryptionKeys,
		})
		began := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		took = append(took, time.Since(began).Seconds())
		usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			b.Fatal("no usage of the command")
		}
		resident = append(resident, float64(usage.Maxrss)/1024) // in KiB on Linux
	}
	self := func(f float64) float64 { return f }
	b.ReportMetric(median(took, self), "s")
	b.ReportMetric(median(resident, self), "MB-resident")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWorkerCommand measures the worker at rest: its memory, and what it asks of
// Redis. QUEUED tasks wait meanwhile, which it does not serve: a million of them, say.
func BenchmarkWorkerCommand(b *testing.B) {
	f := apptest.New(b)
	queued, _ := strconv.Atoi(os.Getenv("QUEUED"))
	produce(b, 64, queued, enqueueErrand(elsewhere)(b, f.Redis))
	f.Environ["ENCRYPTION_KEYS"] = apptest.EncryptionKeys
	f.Environ["WORKER_QUEUES"] = "otp=10,dckap=10,anna=10,dinero=10"
	f.Environ["HTTP_ADDR"] = "127.0.0.1:0"
	cmd := exec.CommandContext(b.Context(), command(b, "worker"))
	cmd.Env = environ(f.Environ)
	log := apptest.NewLog()
	cmd.Stdout, cmd.Stderr = log, log
	p, err := proctest.Start(cmd)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = p.Terminate()
		if err := p.WaitOrKill(20 * time.Second); err != nil {
			b.Error(err)
		}
	})
	log.Wait(b, "worker is ready")
	time.Sleep(2 * time.Second) // what follows its start
	const span = 10 * time.Second
	cpu := processCPU(b, p.PID())
	asked := commandsSeen(b, f.Redis.Addr())
	time.Sleep(span) // the span is what is measured
	b.ReportMetric(float64(asked())/span.Seconds(), "commands/s")
	b.ReportMetric(100*(processCPU(b, p.PID())-cpu).Seconds()/span.Seconds(), "%CPU")
	b.ReportMetric(residentMB(b, p.PID()), "MB-resident")
	b.ReportMetric(0, "ns/op")
}

// residentMB is the resident memory of a process.
func residentMB(b *testing.B, pid int) float64 {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, value, _ := strings.Cut(string(raw), "VmRSS:")
	value, _, _ = strings.Cut(strings.TrimSpace(value), " ")
	kib, err := strconv.ParseFloat(value, 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib / 1024
}

// processCPU is the CPU that a process has used.
func processCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ") // behind the name
	fields := strings.Fields(rest)
	const user, system = 11, 12 // in ticks of 10 ms
	var ticks int
	for _, field := range fields[user : system+1] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// commandsSeen begins to count the commands that a Redis gets. Those that its scripts call
// in turn do not count.
func commandsSeen(b *testing.B, addr string) (stop func() int) {
	b.Helper()
	conn, err := (&net.Dialer{}).DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		b.Fatal(err)
	}
	lines := bufio.NewScanner(conn)
	lines.Scan() // OK
	counted := make(chan int)
	go func() {
		n := 0
		for lines.Scan() {
			if !strings.Contains(lines.Text(), " lua] ") {
				n++
			}
		}
		counted <- n
	}()
	return func() int {
		_ = conn.Close()
		return <-counted
	}
}
