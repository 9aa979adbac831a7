package media

import (
	"sync"
	"time"
)

// Frame is one access unit (video) or one packet (audio). Nobody writes to it
// or to the memory it points to after a Sink has it.
type Frame struct {
	// Seq is set by the hub and grows by one per frame; a gap is a loss.
	Seq uint64
	// Epoch says which track list the frame belongs to; set by the hub.
	Epoch uint32
	// Track is the index in that list.
	Track int

	// PTS is the presentation time on the source's own clock, from an
	// arbitrary origin that is the same for all tracks of an epoch.
	PTS time.Duration
	// Captured is when the light met the sensor as far as it is known,
	// Arrived when Camwire had the last byte. Both carry a monotonic reading.
	// The hub sets Arrived when it is zero, and Captured to Arrived.
	Captured, Arrived time.Time

	// Key marks a frame that can be decoded without an earlier one. Its
	// Units then carry the parameter sets.
	Key bool
	// Units are the NAL units (H264, H265; no start codes), OBUs (AV1, with
	// the size field as the source sent it removed), the whole frame (VP8,
	// VP9, JPEG, audio), or the planes (raw pictures).
	Units [][]byte

	once sync.Once
	rtp  [][]byte
}

// Size returns the number of coded bytes.
func (f *Frame) Size() int {
	n := 0
	for _, u := range f.Units {
		n += len(u)
	}
	return n
}

// RTP returns the frame's RTP payloads. The first caller's build makes them,
// everybody else gets the same slices, so a frame is packetized once however
// many viewers there are, and never when there are none.
func (f *Frame) RTP(build func(*Frame) [][]byte) [][]byte {
	f.once.Do(func() { f.rtp = build(f) })
	return f.rtp
}
