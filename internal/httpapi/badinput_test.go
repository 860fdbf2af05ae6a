package httpapi_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"errand.internal/internal/httpapi"
	"errand.internal/internal/testwait"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
)

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}

// fuzzer makes malformed payloads of the description: a valid example with one thing
// made wrong that the schema forbids.
type fuzzer struct {
	*rand.Rand
	doc *huma.OpenAPI
}

// malformed returns a body that the schema of a type forbids.
func (z *fuzzer) malformed(info tasks.Info) string {
	schema := z.doc.Paths["/v1/tasks/"+info.Type].Post.RequestBody.Content["application/json"].Schema
	schema = z.doc.Components.Schemas.SchemaFromRef(schema.Ref)
	raw, err := json.Marshal(info.Example)
	if err != nil {
		panic(err)
	}
	switch z.IntN(8) {
	case 0: // cut off
		return string(raw[:z.IntN(len(raw)-1)])
	case 1: // bytes that are no text
		return string(raw[:1]) + "\"\xff\xfe\":1," + string(raw[1:])
	case 2: // another JSON value
		return []string{"null", "[]", "1", `"text"`, "true", "{}x", "{}{}"}[z.IntN(7)]
	case 3: // nested without an end
		return strings.Repeat(`{"a":`, 20_000)
	}
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		panic(err)
	}
	z.break1(schema, object)
	broken, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return string(broken)
}

// break1 makes one member of an object wrong.
func (z *fuzzer) break1(schema *huma.Schema, object map[string]any) {
	var names []string
	for name, field := range schema.Properties {
		if field.Type != "" || slices.Contains(schema.Required, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 || z.IntN(6) == 0 {
		object[fmt.Sprintf("unknown%d", z.IntN(1000))] = z.Int()
		return
	}
	slices.Sort(names)
	name := names[z.IntN(len(names))]
	field := schema.Properties[name]
	switch {
	case slices.Contains(schema.Required, name) && z.IntN(3) == 0:
		delete(object, name)
	case field.Minimum != nil && z.IntN(2) == 0:
		object[name] = *field.Minimum - 1 - float64(z.IntN(1000))
	case field.Maximum != nil && z.IntN(2) == 0:
		object[name] = *field.Maximum + 1 + float64(z.IntN(1000))
	case len(field.Enum) > 0:
		object[name] = "none of them"
	default:
		object[name] = z.wrongType(field)
	}
}

// wrongType returns a value of a type that the field does not have.
func (z *fuzzer) wrongType(field *huma.Schema) any {
	values := map[string]any{
		huma.TypeString:  "text",
		huma.TypeInteger: 1.5,
		huma.TypeBoolean: true,
		huma.TypeArray:   []any{map[string]any{"a": nil}},
		huma.TypeObject:  map[string]any{"a": []any{1}},
	}
	delete(values, field.Type)
	if field.Type == "" { // a union of text, number, list and object
		return z.IntN(2) == 0
	}
	var all []any
	for _, name := range []string{huma.TypeString, huma.TypeInteger, huma.TypeBoolean, huma.TypeArray, huma.TypeObject} {
		if v, ok := values[name]; ok {
			all = append(all, v)
		}
	}
	return all[z.IntN(len(all))]
}

// query returns a malformed query.
func (z *fuzzer) query() string {
	wrong := []string{
		"wait=2h", "wait=-1s", "wait=soon", "in=-1m", "in=x", "at=yesterday", "at=1999-01-01T00:00:00Z", "usableFor=0s",
		"notify=2", "unknown=1", "in=1s&in=2s", "in=1s&at=2036-01-01T00:00:00Z", "%zz", "wait=%ff", "in=999999h",
	}
	return wrong[z.IntN(len(wrong))]
}

// long returns a size of the long suite (make test/faults), or the short one.
func long(size, short int) int {
	if os.Getenv("FLEET_LONG") == "1" {
		return size
	}
	return short
}

// 10,000 malformed requests and rows (1,000 in the short suite), made of the description, are each refused with the
// place at fault, and leave nothing behind, while valid requests keep succeeding.
func TestMalformedRequests(t *testing.T) {
	t.Parallel()
	count := long(10_000, 1000)
	f := newFixture(t, map[string]string{"WORKER_QUEUES": "anna=1"})
	sentSoFar, stopValid := f.keepSendingValid()
	before := f.tasksBut("otp")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var group sync.WaitGroup
	const clients = 4
	heap := heapInUse()
	for c := range clients {
		group.Go(func() {
			z := &fuzzer{rand.New(rand.NewPCG(seed, uint64(c))), httpapi.Description()}
			types := all.Vendors.Types()
			for n := 0; n < count/clients || sentSoFar() < 100 && !f.t.Failed(); n++ {
				f.sendMalformed(z, types[z.IntN(len(types))])
			}
		})
	}
	group.Wait()
	if grown := heapInUse() - heap; grown > 64<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	sent, late := stopValid()
	if sent < 100 || late > 0 {
		t.Errorf("%d valid requests were sent meanwhile, %d of them took more than 5 s", sent, late)
	}
	if after := f.tasksBut("otp"); after != before {
		t.Errorf("%d tasks were stored", after-before)
	}
	if n := f.pending("otp"); n != sent {
		t.Errorf("%d valid tasks are stored, want %d", n, sent)
	}
}

// sendMalformed sends one malformed request.
func (f *fixture) sendMalformed(z *fuzzer, info tasks.Info) {
	path := "/v1/tasks/" + info.Type
	fields := len(info.Fields()) > 0
	switch z.IntN(5) {
	case 0:
		f.refusedRow(z, info)
	case 1:
		raw, _ := json.Marshal(info.Example)
		f.refused(f.do("POST", path+"?"+z.query(), string(raw)), string(raw))
	case 2:
		wrong := path[:len(path)-1-z.IntN(3)] + fmt.Sprint(z.IntN(9))
		f.refused(f.do("POST", wrong, "{}"), wrong)
	default:
		body := z.malformed(info)
		if !fields && json.Valid([]byte(body)) && strings.HasPrefix(body, "{}") {
			return
		}
		f.refused(f.do("POST", path, body), body)
	}
}

// refused expects a problem that names the place.
func (f *fixture) refused(a answer, sent string) {
	var p httpapi.Problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.status < 400 || a.status >= 500 || len(p.Errors) == 0 {
		f.t.Errorf("%.300s\nstatus %d: %s", sent, a.status, a.body)
	}
}

// refusedRow sends a bulk whose row is malformed.
func (f *fixture) refusedRow(z *fuzzer, info tasks.Info) {
	body := z.malformed(info)
	if strings.HasPrefix(body, "{}") && len(info.Fields()) == 0 && json.Valid([]byte(body)) {
		return
	}
	row := fmt.Sprintf(`{"type":%q,"payload":%s}`, info.Type, body)
	a := f.do("POST", "/v1/tasks:bulk", row)
	if a.status == 422 { // no row could be read
		f.refused(a, row)
		return
	}
	got := decodeBulk(f.t, strings.NewReader(string(a.body)))
	if got.end == nil || got.end.Refused != got.end.Rows || got.receipts[0].Error == "" {
		f.t.Errorf("%.300s\nstatus %d: %s", row, a.status, a.body)
	}
}

// tasksBut counts the tasks of all queues but one.
func (f *fixture) tasksBut(queue string) (n int) {
	f.t.Helper()
	for _, q := range all.Vendors.Queues() {
		if q.Name != queue {
			keys, err := f.Redis.Client().Keys(f.t.Context(), "errand:{"+q.Name+"}:task:*").Result()
			if err != nil {
				f.t.Fatal(err)
			}
			n += len(keys)
		}
	}
	return n
}

// keepSendingValid sends 100 valid requests a second until stop is called, which returns
// how many were stored, and how many of those took more than 5 s. soFar tells the first of
// them before.
func (f *fixture) keepSendingValid() (soFar func() int64, stop func() (sent, late int)) {
	done := make(chan struct{})
	var group sync.WaitGroup
	var sent, late atomic.Int64
	group.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			group.Go(func() {
				began := time.Now()
				if a := f.do("POST", "/v1/tasks/"+sendType+"?usableFor=1h", otpPayload, as(officeKey)...); a.status != 202 {
					f.t.Errorf("a valid request: status %d: %s", a.status, a.body)
					return
				}
				sent.Add(1)
				if time.Since(began) > 5*time.Second {
					late.Add(1)
				}
			})
		}
	})
	return sent.Load, func() (int, int) {
		close(done)
		group.Wait()
		return int(sent.Load()), int(late.Load())
	}
}

// A connection that is opened and says nothing, or stops in the middle of its headers or
// of its body, is closed in time, and does not keep others waiting.
func TestHalfOpenConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	head := "POST /v1/tasks/" + sendType + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + shopKey + "\r\n"
	ended := make(chan string)
	for name, sent := range map[string]string{
		"nothing":          "",
		"half the headers": head,
		"half the body":    head + "Content-Length: 100\r\n\r\n{",
	} {
		go func() {
			ended <- name + ": " + f.stall(sent)
		}()
	}
	// Meanwhile others are answered.
	f.report(f.do("POST", "/v1/tasks/"+sendType+"?wait=20s", otpPayload), 200)
	for range 3 {
		got := <-ended
		if strings.HasPrefix(got, "half the body") && !strings.Contains(got, "408") || strings.Contains(got, "open") {
			t.Errorf("%s", got)
		}
	}
}

// stall sends a text and returns the status line of the answer, or how the connection
// ended.
func (f *fixture) stall(sent string) string {
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.base, "http://"))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = conn.Write([]byte(sent))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return "still open"
	}
	return strings.TrimSpace(line)
}

// A client that goes away while it waits holds nothing up.
func TestAClientThatGoesAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t, map[string]string{"WORKER_QUEUES": "anna=1"})
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST /v1/tasks/%s?wait=60s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Length: %d\r\n\r\n%s", sendType, shopKey, len(otpPayload), otpPayload)
	if err != nil {
		t.Fatal(err)
	}
	testwait.Eventually(t, 10*time.Second, "the task is stored", func() bool { return f.pending("otp") == 1 })
	_ = conn.Close()
	testwait.Eventually(t, 10*time.Second, "the request has ended", func() bool {
		_, text := f.worker.Get(t, "/metrics")
		return strings.Contains(text, `errand_api_requests_total{call="enqueue",key="shop",status="`)
	})
	if n := f.pending("otp"); n != 1 {
		t.Errorf("%d tasks are stored", n)
	}
}
