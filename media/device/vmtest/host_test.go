package vmtest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"camwire/media/device/vmtest"
)

// envGuestRun chooses parts of TestGuest, as -run does.
const envGuestRun = "CAMWIRE_GUEST_RUN"

// TestUSB runs TestGuest in a virtual machine, where there are USB cameras,
// and reports each of its parts.
func TestUSB(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine: left out by -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "guest.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // static, whatever the outer test is
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	var out bytes.Buffer
	args := []string{"-test.run=^TestGuest$", "-test.v", "-test.timeout=7m"}
	if p := os.Getenv(envGuestRun); p != "" {
		args[0] = "-test.run=^TestGuest$/" + p
	}
	status, err := vmtest.Run(ctx, vmtest.Machine{
		Program: program, Args: args, Output: &out,
		// By default the driver itself leaves out what it knows to be damaged.
		Modules: []string{"vhci_hcd", "uvcvideo nodrop=1"},
	})
	if errors.Is(err, vmtest.ErrUnavailable) {
		t.Skipf("NO USB CAMERA HAS BEEN TESTED: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	report(t, out.String(), status)
}

var result = regexp.MustCompile(`(?m)^ +--- (PASS|FAIL|SKIP): TestGuest/(\S+) \(([0-9.]+s)\)$`)

// report turns the guest's results into those of subtests.
func report(t *testing.T, out string, status int) {
	t.Helper()
	found := result.FindAllStringSubmatch(out, -1)
	for _, m := range found {
		t.Run(m[2], func(t *testing.T) {
			switch m[1] {
			case "FAIL":
				t.Error("failed in the guest, see below")
			case "SKIP":
				t.Skip("left out in the guest, see below")
			}
			t.Logf("%s in the guest", m[3])
		})
	}
	if status != 0 || len(found) == 0 {
		t.Errorf("guest ended with status %d after %d tests", status, len(found))
	}
	t.Logf("guest:\n%s", strings.TrimSpace(out))
}
