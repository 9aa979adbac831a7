package device

import (
	"bytes"

	"camwire/media"
	"camwire/media/device/v4l2"
)

// spare is allocated behind a raw picture: scalers read whole vectors.
const spare = 64

// units copies a picture out of the driver's memory into the units of a
// frame. False means that it is damaged and nobody should see it.
func units(l v4l2.Layout, data []byte) (list [][]byte, key, ok bool) {
	switch l.FourCC {
	case v4l2.MJPEG, v4l2.JPEG:
		b, whole := wholeJPEG(data)
		if !whole {
			return nil, false, false
		}
		fixed, valid := withHuffmanTables(b)
		if !valid {
			return nil, false, false
		}
		if len(fixed) == len(b) {
			fixed = bytes.Clone(b)
		}
		return [][]byte{fixed}, true, true
	case v4l2.H264:
		return splitAnnexB(bytes.Clone(data))
	}
	list, ok = planes(l, data)
	return list, true, ok
}

// plane is where a plane of a raw picture lies in the driver's memory and how
// it goes into the frame.
type plane struct {
	from, stride int // first byte, and bytes from row to row, of the driver's
	row, rows    int // bytes of a row, and rows, of the frame's
	pixels       int // bytes of a row that are picture
}

// planes copies a raw picture row by row, without what the driver adds to the
// end of rows. The units are one plane of 4·⌈w/2⌉ bytes a row for YUYV; Y, and
// U and V interleaved, for NV12; Y, U, V for I420.
func planes(l v4l2.Layout, data []byte) ([][]byte, bool) {
	w, h := l.Width, l.Height
	cw, ch := (w+1)/2, (h+1)/2
	var list []plane
	switch l.FourCC {
	case v4l2.YUYV:
		list = []plane{{stride: max(l.Stride, 2*w), row: 4 * cw, rows: h, pixels: 2 * w}}
	case v4l2.NV12:
		s := max(l.Stride, w)
		list = []plane{
			{stride: s, row: w, rows: h, pixels: w},
			{from: s * h, stride: s, row: 2 * cw, rows: ch, pixels: min(2*cw, s)},
		}
	case v4l2.I420, v4l2.YV12:
		s := max(l.Stride, w)
		cs := max(s/2, cw)
		u, v := s*h, s*h+cs*ch
		if l.FourCC == v4l2.YV12 {
			u, v = v, u
		}
		list = []plane{
			{stride: s, row: w, rows: h, pixels: w},
			{from: u, stride: cs, row: cw, rows: ch, pixels: cw},
			{from: v, stride: cs, row: cw, rows: ch, pixels: cw},
		}
	default:
		return nil, false
	}
	total := 0
	for _, p := range list {
		if p.rows <= 0 || p.pixels <= 0 || p.from+(p.rows-1)*p.stride+p.pixels > len(data) {
			return nil, false // cut off on its way
		}
		total += p.row * p.rows
	}
	out := make([]byte, total, total+spare)
	result := make([][]byte, 0, len(list))
	for i, p := range list {
		size := p.row * p.rows
		end := size
		if i == len(list)-1 {
			end += spare
		}
		p.copy(out[:size], data[p.from:])
		result = append(result, out[:size:end])
		out = out[size:]
	}
	return result, true
}

func (p plane) copy(dst, src []byte) {
	if p.stride == p.row && p.pixels == p.row {
		copy(dst, src)
		return
	}
	for y := range p.rows {
		row := dst[y*p.row : (y+1)*p.row]
		n := copy(row, src[y*p.stride:y*p.stride+p.pixels])
		for ; n < len(row); n++ { // an odd width: the last pair has one pixel
			row[n] = row[max(n-2, 0)]
		}
	}
}

// splitAnnexB cuts a byte stream (ITU-T H.264 Annex B) into its NAL units,
// which share its memory. The key result says that it has an IDR picture; not
// ok that there is no unit at all.
func splitAnnexB(b []byte) (list [][]byte, key, ok bool) {
	start := -1
	add := func(end int) {
		if start < 0 {
			return
		}
		// Zeros before a start code are no part of a unit (section B.1.1).
		u := bytes.TrimRight(b[start:end], "\x00")
		if len(u) == 0 {
			return
		}
		list = append(list, u[:len(u):len(u)])
		key = key || u[0]&0x1f == 5
	}
	for i := 0; ; {
		n := bytes.Index(b[i:], []byte{0, 0, 1})
		if n < 0 {
			break
		}
		add(i + n)
		i += n + 3
		start = i
	}
	add(len(b))
	return list, key, len(list) > 0
}

// trackOf describes what will come.
func trackOf(l v4l2.Layout, fps float64) (media.Track, bool) {
	c, ok := codecOf(l.FourCC)
	return media.Track{Codec: c, ClockRate: 90000, Width: l.Width, Height: l.Height, FPS: fps}, ok
}
