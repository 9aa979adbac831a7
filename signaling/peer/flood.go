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
	// srtpBuffer bounds what waits to be read of one stream, in bytes; the
	// value is pion's own.
	srtpBuffer = 1000 * 1000
)

// limitStreams ends a connection whose far end begins ever more streams.
func limitStreams(e *webrtc.SettingEngine, end func()) {
	var mu sync.Mutex
	n := 0
	e.BufferFactory = func(_ packetio.BufferPacketType, _ uint32) io.ReadWriteCloser {
		mu.Lock()
		defer mu.Unlock()
		if n++; n == 2*maxSSRCs { // RTP and RTCP have one each
			end()
		}
		b := packetio.NewBuffer()
		b.SetLimitSize(srtpBuffer)
		return b
	}
}
