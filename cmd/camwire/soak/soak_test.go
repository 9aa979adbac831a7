package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestMain lets the test's own program be the source that the server starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == sourceCommand {
		source()
		return
	}
	m.Run()
}

// TestTorture is the short form of the soak test.
func TestTorture(t *testing.T) {
	if testing.Short() {
		t.Skip("torture takes half a minute")
	}
	bin := os.Getenv("CAMWIRE_BIN")
	if bin == "" {
		bin = filepath.Join(t.TempDir(), "camwire")
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "camwire/cmd/camwire").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	err := soak(t.Context(), options{
		bin: bin, length: 12 * time.Second, round: 6 * time.Second, seed: uint64(time.Now().UnixNano()),
		// The machine may do other things besides.
		missed: 0.1, growth: 128 << 20, say: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
}
