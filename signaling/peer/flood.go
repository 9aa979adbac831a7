package peer

import (
	"io"
	"sync"

	"github.com/pion/transport/v4/packetio"
	"github.com/pion/webrtc/v4"
)

const (
	// maxSSRCs is how many RTP streams one far end may begin: pion keeps each
	// until the connection ends. Browsers need eight for three layers, sound
	// and repair.
	maxSSRCs = 32
	// srtpBuffer bounds what waits to be read of one stream of a publisher, in
	// bytes; the value is pion's own. Reports, and what viewers send, is little.
	srtpBuffer, smallBuffer = 1000 * 1000, 64 << 10
)

// limitStreams ends a connection whose far end begins ever more streams, and
// keeps up to size bytes of each until they are read.
func limitStreams(e *webrtc.SettingEngine, size int, end func()) {
	var mu sync.Mutex
	n := 0
	e.BufferFactory = func(kind packetio.BufferPacketType, _ uint32) io.ReadWriteCloser {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == 2*maxSSRCs { // RTP and RTCP have one each
			end()
		}
		b := packetio.NewBuffer()
		if b.SetLimitSize(size); kind == packetio.RTCPBufferPacket {
			b.SetLimitSize(smallBuffer)
		}
		return b
	}
}
