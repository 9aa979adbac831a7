package transcode

import (
	"bytes"
	"math"
	"time"

	"camwire/media/worker"
)

// h264Side is the longest side in pixels of H.264 that is made here: more
// takes a whole processor, and browsers on phones cannot show it anyway.
const h264Side = 1920

// lowWidth is the least width in pixels to which pictures are made smaller for
// a narrow link.
const lowWidth = 160

// leastBitrate in bit/s is the least that is asked of an encoder.
const leastBitrate = 100_000

// h264GOP is the time between key frames that nobody has asked for.
const h264GOP = 2 * time.Second

// defaultQuality of JPEG where neither request nor camera says otherwise.
const defaultQuality = 75

// fit says which of width and height must be given to make a picture of w x h
// fit into maxW x maxH (0: no limit) with its aspect kept. 0 and 0: none, it
// fits. While w and h are unknown (0) the limits are given as they are.
func fit(w, h, maxW, maxH int) (width, height int) {
	if w <= 0 || h <= 0 {
		if maxW > 0 {
			return maxW, 0
		}
		return 0, maxH
	}
	tooWide, tooHigh := maxW > 0 && w > maxW, maxH > 0 && h > maxH
	switch {
	case tooWide && (!tooHigh || w*maxH >= h*maxW):
		return maxW, 0
	case tooHigh:
		return 0, maxH
	}
	return 0, 0
}

// halved returns the width to scale to for a narrow link, half of what fit gives
// H.264, in the form of fit. While the size is not known it is that of most
// cameras.
func halved(w, h int) (width, height int) {
	if w <= 0 || h <= 0 {
		return 640, 0
	}
	long := max(w, h)
	width = w * min(long, h264Side) / long / 2 &^ 1
	if width < lowWidth {
		return fit(w, h, h264Side, h264Side)
	}
	return width, 0
}

// least returns the smaller of two limits of which 0 means none.
func least(a, b int) int {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}

// bitrate returns what H.264 of that size needs in bit/s: 2.5 million at
// 1280x720 and 5 million at 1920x1080 with 30 frames per second.
func bitrate(w, h int, fps float64) int {
	if w <= 0 || h <= 0 {
		w, h = 1280, 720
	}
	long := float64(max(w, h))
	if long > h264Side {
		w, h = int(float64(w)*h264Side/long), int(float64(h)*h264Side/long)
	}
	exponent := math.Log(2) / math.Log(2.25)
	bps := 2.5e6 * math.Pow(float64(w*h)/(1280*720), exponent) * math.Sqrt(fps/30)
	return int(min(max(bps, 150e3), 12e6))
}

// nominalFPS returns the rate that an encoder should reckon with.
func nominalFPS(fps float64) float64 {
	if !(fps >= 1) {
		return 30
	}
	return min(fps, 60)
}

// pacer lets through no more than a number of frames per second, chosen so
// that on the average it is exactly that number.
type pacer struct {
	due     time.Duration
	started bool
}

// take reports whether the frame of that time is one to let through.
func (p *pacer) take(pts time.Duration, fps float64) bool {
	if fps <= 0 {
		return true
	}
	interval := time.Duration(float64(time.Second) / fps)
	if !p.started || pts < p.due-2*interval || pts > p.due+2*interval {
		p.started, p.due = true, pts // the first one, or the clock has jumped
	}
	// An eighth is what the clock of a camera may tremble.
	if pts < p.due-interval/8 {
		return false
	}
	p.due += interval
	return true
}

// jpegQuality estimates the quality setting, 1 to 100, that a JPEG was made
// with, from the sum of its luminance quantization table (ITU-T T.81 section
// B.2.4.1) against that of the table in annex K, which nearly everybody scales
// as the Independent JPEG Group does. It returns 0 when there is none.
func jpegQuality(b []byte) int {
	const annexK = 3688
	for i := 2; i+4 <= len(b) && i < 64<<10; {
		if b[i] != 0xff {
			return 0
		}
		m := b[i+1]
		if m == 0xff {
			i++
			continue
		}
		if m == 0x01 || m >= 0xd0 && m <= 0xd7 {
			i += 2
			continue
		}
		if m == 0xda || m == 0xd9 {
			return 0
		}
		n := int(b[i+2])<<8 | int(b[i+3])
		if n < 2 || i+2+n > len(b) {
			return 0
		}
		if m == 0xdb {
			if sum, ok := luminanceSum(b[i+4 : i+2+n]); ok {
				scale := float64(sum) * 100 / annexK
				q := (200 - scale) / 2
				if scale > 100 {
					q = 5000 / scale
				}
				return int(math.Round(min(max(q, 1), 100)))
			}
		}
		i += 2 + n
	}
	return 0
}

// luminanceSum adds up table 0 of a DQT segment.
func luminanceSum(seg []byte) (sum int, ok bool) {
	for len(seg) > 0 {
		size, id := 64, seg[0]&15
		if seg[0]>>4 != 0 {
			size = 128
		}
		if len(seg) < 1+size {
			return 0, false
		}
		table := seg[1 : 1+size]
		if id == 0 {
			for i, v := range table {
				if size == 128 && i&1 == 0 {
					sum += int(v) << 8
				} else {
					sum += int(v)
				}
			}
			return sum, true
		}
		seg = seg[1+size:]
	}
	return 0, false
}

// parameterSets returns SPS and PPS of an H.264 key frame.
func parameterSets(units [][]byte) [][]byte {
	var sets [][]byte
	for _, u := range units {
		if len(u) > 0 && (u[0]&31 == 7 || u[0]&31 == 8) {
			sets = append(sets, bytes.Clone(u))
		}
	}
	return sets
}

// key identifies outputs that can be one.
func key(o worker.Output) worker.Output {
	o.ID, o.Bitrate = 0, 0
	return o
}
