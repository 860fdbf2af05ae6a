package all_test

import (
	"encoding/json"
	"testing"

	"errand.internal/internal/payload"
	"errand.internal/tasks"
	"errand.internal/tasks/all"
	"errand.internal/tasks/danaconnect"
)

// BenchmarkDecode measures what a worker, or a row of a bulk, does with the payload of each
// type: it decodes and checks it.
func BenchmarkDecode(b *testing.B) {
	for _, info := range all.Vendors.Types() {
		raw, err := json.Marshal(info.Example)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(info.Type, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := info.Decode(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPrepare measures what tasks.Enqueue does with a payload before it asks Redis:
// it checks the payload, encodes it, and checks what came out.
func BenchmarkPrepare(b *testing.B) {
	given := danaconnect.APICall{
		Method: "POST",
		Path:   "records",
		Body:   map[string]any{"name": "somebody", "mail": "somebody@example.com", "row": 7},
	}
	b.ReportAllocs()
	for b.Loop() {
		clean, problems := payload.Check[tasks.Payload](given)
		if len(problems) > 0 {
			b.Fatal(problems)
		}
		if err := tasks.Check(clean); err != nil {
			b.Fatal(err)
		}
	}
}
