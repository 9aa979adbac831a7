package uvcsim

import (
	"encoding/binary"
	"slices"
)

// clock is the unit of frame intervals: 100 ns (UVC 1.1 section 3.9.2).
const clock = 10_000_000

func guid(f FourCC) []byte {
	return append([]byte(f), 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71)
}

func u16(v int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(v)) }
func u32(v int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }

func (f FourCC) bitsPerPixel() int {
	if f == NV12 {
		return 12
	}
	return 16
}

func (f FourCC) maxFrame(s Size) int { return s.Width * s.Height * f.bitsPerPixel() / 8 }

func (c *Config) deviceDescriptor() []byte {
	return slices.Concat([]byte{18, 1}, u16(0x0200), []byte{0xef, 2, 1, 64}, u16(int(c.VID)), u16(int(c.PID)), u16(0x0100), []byte{1, 2, 3, 1})
}

// frames are the frame descriptors of a format.
func frames(subtype byte, f Format) []byte {
	var all []byte
	for i, s := range f.Sizes {
		bits := f.FourCC.maxFrame(s) * 8 * 5
		d := slices.Concat([]byte{byte(26 + 4*len(s.FPS)), 0x24, subtype, byte(i + 1), 0},
			u16(s.Width), u16(s.Height), u32(bits), u32(bits*6))
		interval, number := u32(clock/s.FPS[0]), []byte{byte(len(s.FPS))}
		if subtype == frameBased {
			d = slices.Concat(d, interval, number, u32(0))
		} else {
			d = slices.Concat(d, u32(f.FourCC.maxFrame(s)), interval, number)
		}
		for _, fps := range s.FPS {
			d = append(d, u32(clock/fps)...)
		}
		all = append(all, d...)
	}
	return all
}

// Descriptor subtypes of UVC 1.1 table A-6.
const (
	frameUncompressed = 0x05
	frameMJPEG        = 0x07
	frameBased        = 0x11
)

func (c *Config) formats() []byte {
	var all []byte
	for i, f := range c.Formats {
		id, n := byte(i+1), byte(len(f.Sizes))
		switch f.FourCC {
		case MJPEG:
			all = append(all, 11, 0x24, 0x06, id, n, 1, 1, 0, 0, 0, 0)
			all = append(all, frames(frameMJPEG, f)...)
		case H264:
			all = slices.Concat(all, []byte{28, 0x24, 0x10, id, n}, guid(f.FourCC), []byte{16, 1, 0, 0, 0, 0, 1}, frames(frameBased, f))
		default:
			all = slices.Concat(all, []byte{27, 0x24, 0x04, id, n}, guid(f.FourCC),
				[]byte{byte(f.FourCC.bitsPerPixel()), 1, 0, 0, 0, 0}, frames(frameUncompressed, f))
		}
		all = append(all, 6, 0x24, 0x0d, 1, 1, 4) // colors
	}
	return all
}

// configDescriptor is a camera with one sensor, one knob, and one stream.
func (c *Config) configDescriptor() []byte {
	input := slices.Concat([]byte{18, 0x24, 2, 1}, u16(0x0201), make([]byte, 8), []byte{3, 0, 0, 0})
	brightness := slices.Concat([]byte{12, 0x24, 5, 2, 1}, u16(0), []byte{2, 1, 0, 0, 0})
	output := slices.Concat([]byte{9, 0x24, 3, 3}, u16(0x0101), []byte{0, 2, 0})
	control := slices.Concat([]byte{9, 4, 0, 0, 0, 0x0e, 1, 0, 2},
		[]byte{13, 0x24, 1}, u16(0x0110), u16(13+len(input)+len(brightness)+len(output)), u32(48_000_000), []byte{1, 1},
		input, brightness, output)

	formats, n := c.formats(), len(c.Formats)
	header := slices.Concat([]byte{byte(13 + n), 0x24, 1, byte(n)}, u16(13+n+len(formats)), []byte{0x81, 0, 3, 0, 0, 0, 1}, make([]byte, n))
	stream := slices.Concat([]byte{9, 4, 1, 0, 1, 0x0e, 2, 0, 0}, header, formats, []byte{7, 5, 0x81, 2}, u16(512), []byte{0})
	if c.Isochronous {
		stream = slices.Concat([]byte{9, 4, 1, 0, 0, 0x0e, 2, 0, 0}, header, formats,
			[]byte{9, 4, 1, 1, 1, 0x0e, 2, 0, 0}, []byte{7, 5, 0x81, 5}, u16(0x1400), []byte{1})
	}
	association := []byte{8, 0x0b, 0, 2, 0x0e, 3, 0, 2}
	body := slices.Concat(association, control, stream)
	interfaces := byte(2)
	if c.Microphone != nil {
		body = append(body, microphoneDescriptors()...)
		interfaces += 2
	}
	return slices.Concat([]byte{9, 2}, u16(9+len(body)), []byte{interfaces, 1, 0, 0x80, 250}, body)
}

// stringDescriptor returns nil where there is no such string.
func (c *Config) stringDescriptor(i int) []byte {
	if i == 0 {
		return []byte{4, 3, 9, 4} // English
	}
	s := map[int]string{1: c.Manufacturer, 2: c.Product, 3: c.Serial}[i]
	if s == "" {
		return nil
	}
	d := []byte{byte(2 + 2*len(s)), 3}
	for _, b := range []byte(s) {
		d = append(d, b, 0)
	}
	return d
}
