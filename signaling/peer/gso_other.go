//go:build !linux

package peer

import (
	"net"
)

func gsoSupported(*net.UDPConn) bool { return false }

func segmentControl([]byte, int) []byte { return nil }

func limitUnsent(c *net.TCPConn) error { return c.SetWriteBuffer(64 << 10) }
