package all_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"errand.internal/internal/broker"
	"errand.internal/tasks/all"
)

const versionFile = "testdata/payload_version.txt"

// A worker of an older release parks a payload of a newer version that it cannot read,
// and ends one of its own version invalid. So the version rises with every new type
// and field; this test knows what the version it was last raised to has.
func TestGoldenPayloadVersion(t *testing.T) {
	var fields strings.Builder
	for _, info := range all.Vendors.Types() {
		for _, f := range info.Fields() {
			fmt.Fprintf(&fields, "%s %s\n", info.Type, f.Path)
		}
	}
	want := fmt.Sprintf("version %d\n%s", broker.PayloadVersion, fields.String())
	kept, err := os.ReadFile(versionFile)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(kept), "\n")
	if first == fmt.Sprintf("version %d", broker.PayloadVersion) && rest != fields.String() {
		t.Fatalf("the payloads have changed: raise broker.PayloadVersion above %d, and run make golden",
			broker.PayloadVersion)
	}
	if string(kept) == want {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Fatalf("%s is not of version %d: run make golden", versionFile, broker.PayloadVersion)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(versionFile, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
