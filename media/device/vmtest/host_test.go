package vmtest_test

import (
	"testing"

	"camwire/media/device/vmtest/guesttest"
)

// TestUSB runs TestGuest in a virtual machine, where there are USB cameras,
// and reports each of its parts.
func TestUSB(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine: left out by -short")
	}
	guesttest.Run(t, guesttest.Options{Test: "TestGuest"})
}
