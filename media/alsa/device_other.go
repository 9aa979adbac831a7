//go:build !linux || !(amd64 || arm64 || riscv64 || loong64)

package alsa

import "time"

// Supported tells whether this build can reach microphones at all.
const Supported = false

// Device stands for a capture device, which this build cannot open.
type Device struct{}

// Open fails with ErrUnsupported.
func Open(Ref) (*Device, error) { return nil, ErrUnsupported }

// Config returns nothing.
func (*Device) Config() Config { return Config{} }

// Read fails with ErrUnsupported.
func (*Device) Read(time.Duration) (Block, error) { return Block{}, ErrUnsupported }

// Interrupt does nothing.
func (*Device) Interrupt() {}

// Close does nothing.
func (*Device) Close() error { return nil }
