package stream

import "time"

// meter counts the frames of the leading track, and the bytes of all, in one-second buckets, so that rates follow a
// change within seconds and fall to zero when nothing comes.
type meter struct {
	buckets [4]struct {
		second int64
		frames int
		bytes  int
	}
	frames uint64
	bytes  uint64
}

func (m *meter) add(now time.Time, size int, leading bool) {
	s := now.Unix()
	b := &m.buckets[s&3]
	if b.second != s {
		b.second, b.frames, b.bytes = s, 0, 0
	}
	if leading {
		b.frames++
		m.frames++
	}
	b.bytes += size
	m.bytes += uint64(size)
}

// rates returns frames per second and bits per second over the last three
// whole seconds.
func (m *meter) rates(now time.Time) (fps float64, bps int) {
	var frames, bytes, seconds int
	s := now.Unix()
	for _, b := range m.buckets {
		if b.second < s && b.second >= s-3 {
			frames += b.frames
			bytes += b.bytes
			seconds++
		}
	}
	if seconds == 0 {
		return 0, 0
	}
	return float64(frames) / float64(seconds), bytes * 8 / seconds
}
