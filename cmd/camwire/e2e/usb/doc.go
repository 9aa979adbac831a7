// Package usb holds the end-to-end tests with USB cameras: the real program
// and its viewers run inside a virtual machine, in which cameras can be plugged
// in and pulled out (package camwire/media/device/vmtest). TestUSBViewers, one
// folder up, starts the machine; what needs no camera is tested there.
package usb

// Program is where Camwire is in the machine.
const Program = "/usr/bin/camwire"
