package e2e

import (
	"testing"

	"camwire/cmd/camwire/e2e/usb"
	"camwire/media/device/vmtest"
	"camwire/media/device/vmtest/guesttest"
)

// TestUSBViewers: with USB cameras that are unplugged, plugged in again,
// swapped and in use, viewers by WebRTC and MJPEG see what they should. It runs
// the tests of package usb in a virtual machine, and reports each of them.
func TestUSBViewers(t *testing.T) {
	beside(t)
	files := map[string]string{}
	if err := vmtest.WithLibraries(t.Context(), files, usb.Program, shared.binary); err != nil {
		t.Fatal(err)
	}
	guesttest.Run(t, guesttest.Options{Package: "camwire/cmd/camwire/e2e/usb", Test: "TestGuest", Files: files})
}
