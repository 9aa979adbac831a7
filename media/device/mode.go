package device

import (
	"cmp"
	"math"
	"slices"

	"camwire/media"
	"camwire/media/device/v4l2"
)

// Without a wish, a camera is asked for the best that is not more than this.
// Larger pictures cost delay and USB bandwidth that nobody has asked for.
const (
	defaultWidth, defaultHeight = 1280, 720
	defaultRate                 = 30.0
	// smoothRate is what a rate must be at least to count as moving pictures.
	smoothRate = 20.0
)

// mode is what to ask the driver for. Zero fields are left to the driver.
type mode struct {
	fourCC        v4l2.FourCC
	width, height int
	rate          float64
}

// codecOf tells how a format's pictures are delivered; false for formats that
// Camwire has no use for.
func codecOf(f v4l2.FourCC) (media.Codec, bool) {
	switch f {
	case v4l2.H264:
		return media.H264, true
	case v4l2.MJPEG, v4l2.JPEG:
		return media.JPEG, true
	case v4l2.YUYV:
		return media.YUYV, true
	case v4l2.NV12:
		return media.NV12, true
	case v4l2.I420, v4l2.YV12:
		return media.I420, true
	}
	return "", false
}

// choose finds the mode that comes nearest to the wish; false where the camera
// has none that can be used.
//
// Size counts first, then that the rate is reached. Among what is left H.264
// comes before MJPEG, because viewers get it untouched, and MJPEG before raw
// pictures. Without any wish MJPEG comes before H.264: cameras' own H.264 often
// has a key frame every ten seconds only, so who wants it has to ask for it.
func choose(formats []v4l2.Format, wish v4l2.Wish) (mode, bool) {
	open := wish == v4l2.Wish{}
	var best mode
	var bestScore []float64
	for _, f := range formats {
		c, ok := codecOf(f.FourCC)
		if !ok {
			continue
		}
		rank := codecRank(c, open)
		for _, z := range sizesOf(f, wish) {
			for _, r := range ratesOf(z, wish) {
				var s []float64
				if open {
					s = openScore(z, r, rank)
				} else {
					s = wishScore(wish, z, r, rank)
				}
				if bestScore == nil || slices.Compare(s, bestScore) < 0 {
					best, bestScore = mode{f.FourCC, z.Width, z.Height, r}, s
				}
			}
		}
	}
	return best, bestScore != nil
}

func codecRank(c media.Codec, open bool) float64 {
	switch {
	case c == media.H264 && !open:
		return 0
	case c == media.JPEG:
		return 1
	case c == media.H264:
		return 5
	case c == media.NV12, c == media.I420: // less to carry than YUYV
		return 2
	}
	return 3
}

// sizesOf stands in for a list that the driver does not give.
func sizesOf(f v4l2.Format, wish v4l2.Wish) []v4l2.Size {
	if len(f.Sizes) > 0 {
		return f.Sizes
	}
	w, h := wished(wish)
	return []v4l2.Size{{Width: int(w), Height: int(h)}}
}

func ratesOf(z v4l2.Size, wish v4l2.Wish) []float64 {
	if len(z.Rates) > 0 {
		return z.Rates
	}
	return []float64{wish.Rate}
}

// wished fills the side that the wish leaves open, at 16:9.
func wished(wish v4l2.Wish) (w, h float64) {
	w, h = float64(wish.Width), float64(wish.Height)
	switch {
	case w == 0 && h == 0:
		return defaultWidth, defaultHeight
	case w == 0:
		w = math.Round(h * 16 / 9)
	case h == 0:
		h = math.Round(w * 9 / 16)
	}
	return w, h
}

// wishScore is compared from left to right; less is better.
func wishScore(wish v4l2.Wish, z v4l2.Size, rate, rank float64) []float64 {
	w, h := wished(wish)
	zw, zh := float64(z.Width), float64(z.Height)
	// A picture that covers the wish can be scaled down; one that does not
	// has lost what was asked for.
	small := 0.0
	if zw < w && wish.Width > 0 || zh < h && wish.Height > 0 {
		small = 1
	}
	if wish.Width == 0 && wish.Height == 0 && (zw > w || zh > h) {
		small = 1 // no size was asked for: the default is a ceiling
	}
	target := wish.Rate
	if target == 0 {
		target = defaultRate
	}
	return append([]float64{small, math.Abs(zw-w) + math.Abs(zh-h)}, append(rateScore(rate, target), rank, rate)...)
}

// rateScore is how much a rate lacks, in steps that a viewer would notice.
// What is 5 % below, like 29.97 for 30, lacks nothing.
func rateScore(rate, target float64) []float64 {
	lack := max(target*0.95-rate, 0)
	return []float64{math.Ceil(lack / target * 10)}
}

// openScore wants a smooth picture first, then a large one.
func openScore(z v4l2.Size, rate, rank float64) []float64 {
	over, area := 0.0, float64(z.Width*z.Height)
	if z.Width > defaultWidth || z.Height > defaultHeight {
		over, area = 1, -area // the smallest of what is too large
	}
	jerky := 0.0
	if rate != 0 && rate < smoothRate {
		jerky = 1 + smoothRate - rate
	}
	// MJPEG wins over everything else if it is smooth and fits at all; among
	// the rest the format comes last.
	first := 0.0
	if rank > 1 || over > 0 || jerky > 0 {
		first = 1
	}
	return []float64{first, over, math.Ceil(jerky), -area, math.Abs(rate - defaultRate), rank, rate}
}

// Mode is one way in which a camera can deliver.
type Mode struct {
	// Format is the name that V4L2 has for the codec: MJPG, YUYV, H264, …
	Format        string
	Codec         media.Codec
	Width, Height int
	// FPS are the rates it can be had at, the highest first; empty if the
	// driver does not tell.
	FPS []float64
}

// modesOf lists what can be used, grouped by codec, the largest size first.
func modesOf(formats []v4l2.Format) []Mode {
	list := []Mode{}
	for _, f := range formats {
		c, ok := codecOf(f.FourCC)
		if !ok {
			continue
		}
		for _, z := range f.Sizes {
			list = append(list, Mode{Format: f.FourCC.String(), Codec: c, Width: z.Width, Height: z.Height, FPS: z.Rates})
		}
		if len(f.Sizes) == 0 {
			list = append(list, Mode{Format: f.FourCC.String(), Codec: c})
		}
	}
	slices.SortStableFunc(list, func(a, b Mode) int {
		return cmp.Or(cmp.Compare(codecRank(a.Codec, false), codecRank(b.Codec, false)), cmp.Compare(b.Width*b.Height, a.Width*a.Height))
	})
	return list
}
