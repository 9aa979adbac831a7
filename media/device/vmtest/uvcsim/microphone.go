package uvcsim

import "slices"

// The microphone of a camera is two more interfaces of the same device, of the
// USB Audio Class 1.0: 48 kHz, two channels, 16 bits, a packet each
// millisecond.
const (
	microphoneEndpoint = 2
	microphoneRate     = 48000
	microphonePacket   = microphoneRate / 1000 * 4 // bytes
)

// microphoneDescriptors are those of the interfaces 2 and 3 (Audio Class 1.0
// sections 4.3 and 4.5).
func microphoneDescriptors() []byte {
	input := slices.Concat([]byte{12, 0x24, 2, 1}, u16(0x0201), []byte{0, 2}, u16(3), []byte{0, 0})
	output := slices.Concat([]byte{9, 0x24, 3, 2}, u16(0x0101), []byte{0, 1, 0})
	header := slices.Concat([]byte{9, 0x24, 1}, u16(0x0100), u16(9+len(input)+len(output)), []byte{1, 3})
	endpoint := slices.Concat([]byte{9, 5, 0x80 | microphoneEndpoint, 5}, u16(microphonePacket+8), []byte{4, 0, 0}, []byte{7, 0x25, 1, 0, 0, 0, 0})
	return slices.Concat([]byte{8, 0x0b, 2, 2, 1, 1, 0, 0},
		[]byte{9, 4, 2, 0, 0, 1, 1, 0, 0}, header, input, output,
		[]byte{9, 4, 3, 0, 0, 1, 2, 0, 0},
		[]byte{9, 4, 3, 1, 1, 1, 2, 0, 0}, []byte{7, 0x24, 1, 2, 1, 1, 0},
		[]byte{11, 0x24, 2, 1, 2, 2, 16, 1}, u32(microphoneRate)[:3], endpoint)
}
