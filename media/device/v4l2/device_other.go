//go:build !linux || !(amd64 || arm64 || riscv64 || loong64)

package v4l2

import "time"

// Device cannot be had here: every method that can fails with ErrUnsupported.
type Device struct{}

// Open fails.
func Open(string) (*Device, error) { return nil, ErrUnsupported }

// Close does nothing.
func (*Device) Close() error { return nil }

// Interrupt does nothing.
func (*Device) Interrupt() {}

// Capability fails.
func (*Device) Capability() (Capability, error) { return Capability{}, ErrUnsupported }

// Formats fails.
func (*Device) Formats(Wish) ([]Format, error) { return nil, ErrUnsupported }

// SetFormat fails.
func (*Device) SetFormat(FourCC, int, int) (Layout, error) { return Layout{}, ErrUnsupported }

// SetRate fails.
func (*Device) SetRate(float64) (float64, error) { return 0, ErrUnsupported }

// Start fails.
func (*Device) Start(int) error { return ErrUnsupported }

// Read fails.
func (*Device) Read(time.Duration) (Buffer, error) { return Buffer{}, ErrUnsupported }

// TryRead fails.
func (*Device) TryRead() (Buffer, bool, error) { return Buffer{}, false, ErrUnsupported }

// Release fails.
func (*Device) Release(Buffer) error { return ErrUnsupported }

// Monotonic returns 0.
func Monotonic() time.Duration { return 0 }

// Supported tells whether this build can reach cameras at all.
const Supported = false
