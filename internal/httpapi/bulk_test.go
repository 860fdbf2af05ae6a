package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"errand.internal/clients/clientstest"
	"errand.internal/internal/bulk"
	"errand.internal/internal/httpapi"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
)

// pipeRow is row n of a bulk.
func pipeRow(n int) string {
	return fmt.Sprintf(`{"payload":{"listener":"64f1c0de0001","body":{"order":"o-%d"},"idempotent":true}}`, n)
}

// rows are the rows from and up to to, without that.
func rows(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		b.WriteString(pipeRow(n))
		b.WriteByte('\n')
	}
	return b.String()
}

// bulkAnswer is a decoded answer to a bulk. end is nil if it was cut off.
type bulkAnswer struct {
	receipts []bulk.Receipt
	end      *httpapi.BulkEnd
}

func (a bulkAnswer) counts() string {
	if a.end == nil {
		return "cut off"
	}
	raw, _ := json.Marshal(a.end.Summary)
	return string(raw)
}

func decodeBulk(t testing.TB, from io.Reader) (a bulkAnswer) {
	t.Helper()
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			bulk.Receipt
			Rows *int `json:"rows"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return a // the last line was cut off
		}
		if line.Rows == nil {
			a.receipts = append(a.receipts, line.Receipt)
			continue
		}
		a.end = &httpapi.BulkEnd{}
		if err := json.Unmarshal(lines.Bytes(), a.end); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func (f *fixture) bulk(body io.Reader, header ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.base+"/v1/tasks:bulk?type="+pipeType, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shopKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return f.http.Do(req)
}

// sendRows sends a bulk and returns its answer.
func (f *fixture) sendRows(body string, header ...string) bulkAnswer {
	f.t.Helper()
	resp, err := f.bulk(strings.NewReader(body), header...)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusTooManyRequests { // bulks that were cut still end
		time.Sleep(time.Second) // as Retry-After says
		return f.sendRows(body, header...)
	}
	if resp.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(resp.Body)
		f.t.Fatalf("status %d: %s", resp.StatusCode, raw)
	}
	return decodeBulk(f.t, resp.Body)
}

// noVendors are settings of a worker that stores tasks and runs none of pipes.
var noVendors = map[string]string{"WORKER_QUEUES": "otp=1"}

func (f *fixture) pending(queue string) int {
	f.t.Helper()
	n, err := f.Redis.Client().LLen(f.t.Context(), "asynq:{"+queue+"}:pending").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	return int(n)
}

// The rows of a bulk get the keys that enqueue bulk gives them: sent again, also in other
// words, nothing is enqueued twice. A wrong row is refused, and the others are enqueued.
func TestABulkIsResumable(t *testing.T) {
	t.Parallel()
	f := newFixture(t, noVendors)
	first := f.sendRows(rows(0, 50) + "{\"payload\":{\"canary\":1}}\n\nno JSON\n" + rows(50, 60))
	if want := `{"rows":62,"enqueued":60,"duplicates":0,"refused":2,"failed":0}`; first.counts() != want {
		t.Errorf("first: %s, want %s", first.counts(), want)
	}
	for i, r := range first.receipts {
		refused := i == 50 || i == 51
		if r.Row != i+1 || refused != (r.ID == "") || refused == (r.Error == "") || strings.Contains(r.Error, "no JSON") {
			t.Errorf("receipt %d: %+v", i+1, r)
		}
	}
	inOtherWords := strings.ReplaceAll(rows(0, 70), `{"payload"`, `{ "type": "`+pipeType+`", "payload"`)
	again := f.sendRows(inOtherWords)
	if want := `{"rows":70,"enqueued":10,"duplicates":60,"refused":0,"failed":0}`; again.counts() != want {
		t.Errorf("again: %s, want %s", again.counts(), want)
	}
	if again.receipts[3].ID != first.receipts[3].ID || again.receipts[3].Key != first.receipts[3].Key {
		t.Errorf("row 4 is %+v, and was %+v", again.receipts[3], first.receipts[3])
	}
	if n := f.pending("dckap"); n != 70 {
		t.Errorf("%d tasks are stored, want 70", n)
	}
	status := f.report(f.do("GET", "/v1/tasks/"+first.receipts[0].ID, ""), 200)
	if status.State != string(tasks.Pending) {
		t.Errorf("a row of one's own: %+v", status)
	}
	foreign := f.sendRows(rows(0, 1)+"{\"type\":\""+sendType+"\",\"payload\":"+otpPayload+"}\n", as(pipeKey)...)
	if want := `{"rows":2,"enqueued":0,"duplicates":1,"refused":1,"failed":0}`; foreign.counts() != want {
		t.Errorf("a key for one type: %s, want %s", foreign.counts(), want)
	}
}

// A receipt leaves while the rows still arrive.
func TestReceiptsAreStreamed(t *testing.T) {
	t.Parallel()
	f := newFixture(t, noVendors)
	body, send := io.Pipe()
	answered := make(chan *http.Response, 1)
	go func() {
		resp, err := f.bulk(body) //nolint:bodyclose // who receives it closes it
		if err != nil {
			t.Error(err)
		}
		answered <- resp
	}()
	for n := range 3 {
		if _, err := io.WriteString(send, pipeRow(n)+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	resp := <-answered // the headers are here, and the body is not sent yet
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for n := range 3 {
		line, err := lines.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, fmt.Sprintf(`{"row":%d,`, n+1)) {
			t.Fatalf("receipt %d: %q, %v", n+1, line, err)
		}
	}
	_ = send.Close()
	rest := decodeBulk(t, lines)
	if want := `{"rows":3,"enqueued":3,"duplicates":0,"refused":0,"failed":0}`; rest.counts() != want {
		t.Errorf("at the end: %s", rest.counts())
	}
}

// cutBody is a body that fails after some bytes, which closes the connection.
type cutBody struct {
	io.Reader
	left int
}

var errCut = fmt.Errorf("the connection is cut")

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errCut
	}
	n, err := c.Reader.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// Of 100,000 rows (5,000 in the short suite) whose connection is cut five times, each is enqueued exactly once, and
// each receipt that has arrived is right.
func TestABulkThatIsCutFiveTimes(t *testing.T) {
	t.Parallel()
	count := long(100_000, 5000)
	f := newFixture(t, noVendors)
	body := rows(0, count)
	ids := map[int]string{}
	note := func(a bulkAnswer) {
		for _, r := range a.receipts {
			if r.ID == "" || ids[r.Row] != "" && ids[r.Row] != r.ID {
				t.Fatalf("row %d was %s: %+v", r.Row, ids[r.Row], r)
			}
			ids[r.Row] = r.ID
		}
	}
	for cut := range 5 {
		// The client notices the cut at once and gives up the answer; what has arrived counts.
		resp, err := f.bulk(&cutBody{strings.NewReader(body), len(body) * (cut + 1) / 6})
		if err == nil {
			note(decodeBulk(t, resp.Body))
			_ = resp.Body.Close()
		}
	}
	last := f.sendRows(body)
	note(last)
	if last.end == nil || last.end.Rows != count || last.end.Enqueued+last.end.Duplicates != count {
		t.Fatalf("the last one: %s", last.counts())
	}
	if last.end.Duplicates == 0 {
		t.Error("nothing was stored before the cuts: they prove nothing")
	}
	distinct := map[string]bool{}
	for _, id := range ids {
		distinct[id] = true
	}
	if n := f.pending("dckap"); n != count || len(distinct) != count {
		t.Errorf("%d tasks are stored, with %d IDs in the receipts; want %d", n, len(distinct), count)
	}
}

// When Redis goes away in the middle of a bulk it ends with a last line that says so,
// every receipt is right, and the same body later enqueues what is missing.
func TestRedisGoesAwayInABulk(t *testing.T) {
	t.Parallel()
	f := newFixture(t, noVendors)
	body, send := io.Pipe()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		for n := range 2000 {
			if n == 1000 {
				testwait.Poll(time.Minute, func() bool { return f.Redis.Client().LLen(ctx, "asynq:{dckap}:pending").Val() > 0 })
				_ = f.Redis.Client().ConfigSet(ctx, "min-replicas-to-write", "1").Err()
			}
			if _, err := io.WriteString(send, pipeRow(n)+"\n"); err != nil {
				return
			}
		}
		_ = send.Close()
	}()
	resp, err := f.bulk(body)
	if err != nil {
		t.Fatal(err)
	}
	got := decodeBulk(t, resp.Body)
	_ = resp.Body.Close()
	_ = body.Close()
	if got.end == nil || got.end.Stopped != "redis" || got.end.Error == "" || got.end.Failed == 0 || got.end.Enqueued == 0 {
		t.Fatalf("the end: %s", got.counts())
	}
	if err := f.Redis.Client().ConfigSet(t.Context(), "min-replicas-to-write", "0").Err(); err != nil {
		t.Fatal(err)
	}
	stored := 0
	for _, r := range got.receipts {
		if (r.ID == "") == (r.Error == "") {
			t.Errorf("receipt %+v", r)
		}
		if r.ID != "" {
			stored++
		}
	}
	if n := f.pending("dckap"); n != stored || stored != got.end.Enqueued {
		t.Errorf("%d tasks are stored, the receipts name %d, the end %d", n, stored, got.end.Enqueued)
	}
	again := f.sendRows(rows(0, 2000))
	if want := fmt.Sprintf(
		`{"rows":2000,"enqueued":%d,"duplicates":%d,"refused":0,"failed":0}`, 2000-stored, stored,
	); again.counts() != want {
		t.Errorf("again: %s, want %s", again.counts(), want)
	}
}

// A row of 1 GiB (128 MiB in the short suite) is refused without being held in memory.
func TestAHugeRowIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, noVendors)
	size := int64(long(1<<30, 1<<27))
	before := heapInUse()
	huge := io.MultiReader(strings.NewReader(pipeRow(1)+"\n"), io.LimitReader(zeros{}, size), strings.NewReader("\n"+pipeRow(2)))
	resp, err := f.bulk(huge)
	if err != nil {
		t.Fatal(err)
	}
	got := decodeBulk(t, resp.Body)
	_ = resp.Body.Close()
	if want := `{"rows":3,"enqueued":2,"duplicates":0,"refused":1,"failed":0}`; got.counts() != want {
		t.Errorf("%s, want %s", got.counts(), want)
	}
	if grown := heapInUse() - before; grown > 64<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	// A payload of that size is refused before it is read.
	req, err := http.NewRequestWithContext(
		clientstest.Within(t), http.MethodPost, f.base+"/v1/tasks/"+sendType, io.LimitReader(zeros{}, size),
	)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+shopKey)
	f.problem(f.send(req), 413, "too-large")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}
