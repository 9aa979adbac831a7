// Package guesttest runs tests in the virtual machine of package vmtest: the
// test's package is built once more, static, becomes the guest's program, and
// its results are reported as those of subtests here.
//
// It is for tests, which import nothing else of it.
package guesttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"camwire/media/device/vmtest"
)

// EnvRun chooses parts of the guest's test, as -run does.
const EnvRun = "CAMWIRE_GUEST_RUN"

// Options of Run.
type Options struct {
	// Package holds the guest's test; its TestMain begins with guest.Boot.
	// Default: the package of the caller.
	Package string
	// Test is the name of that test.
	Test string
	// Files are those of vmtest.Machine.
	Files map[string]string
	// Timeout of the machine; default 11 minutes.
	Timeout time.Duration
}

// Run runs the test in a guest with USB cameras. Where there can be no guest
// it skips the calling test, loudly.
func Run(t *testing.T, o Options) {
	t.Helper()
	if o.Package == "" {
		o.Package = "."
	}
	if o.Timeout <= 0 {
		o.Timeout = 11 * time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), o.Timeout)
	defer cancel()
	program := filepath.Join(t.TempDir(), "guest.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", program, o.Package)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // static, whatever the outer test is
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	var out bytes.Buffer
	pattern := "^" + o.Test + "$"
	if p := os.Getenv(EnvRun); p != "" {
		pattern += "/" + p
	}
	status, err := vmtest.Run(ctx, vmtest.Machine{
		Program: program, Output: &out, Files: o.Files,
		Args: []string{"-test.run=" + pattern, "-test.v", fmt.Sprint("-test.timeout=", o.Timeout*7/8)},
		// By default the driver itself leaves out what it knows to be damaged.
		Modules: []string{"vhci_hcd", "uvcvideo nodrop=1"},
	})
	if errors.Is(err, vmtest.ErrUnavailable) {
		t.Skipf("NO USB CAMERA HAS BEEN TESTED: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	report(t, o.Test, out.String(), status)
}

// report turns the guest's results into those of subtests.
func report(t *testing.T, test, out string, status int) {
	t.Helper()
	list := results(test, out)
	for _, r := range list {
		t.Run(r.name, func(t *testing.T) {
			switch r.verdict {
			case "FAIL":
				t.Error("failed in the guest, see below")
			case "SKIP":
				t.Skip("left out in the guest, see below")
			}
			t.Logf("%s in the guest", r.took)
		})
	}
	if status != 0 || len(list) == 0 {
		t.Errorf("guest ended with status %d after %d tests", status, len(list))
	}
	t.Logf("guest:\n%s", strings.TrimSpace(out))
}

type result struct{ verdict, name, took string }

// results reads what go test -v says of the subtests of a test.
func results(test, out string) []result {
	line := regexp.MustCompile(`(?m)^ +--- (PASS|FAIL|SKIP): ` + regexp.QuoteMeta(test) + `/(\S+) \(([0-9.]+s)\)$`)
	var list []result
	for _, m := range line.FindAllStringSubmatch(out, -1) {
		list = append(list, result{m[1], m[2], m[3]})
	}
	return list
}
