//go:build cgo

package worker

import (
	"fmt"
	"time"

	"camwire/media/libav"
	"camwire/media/openh264"
	"camwire/media/turbojpeg"
)

// output makes one kind of thing; its encoder is opened with the first
// picture and again when the size changes.
type output struct {
	Output
	pace       pacer
	jpeg       *turbojpeg.Encoder
	h264       *openh264.Encoder
	width      int // of h264
	height     int
	keyWanted  bool
	bitrateNew bool
}

func newOutput(o Output) *output { return &output{Output: o, pace: pacer{fps: o.FPS}} }

func (o *output) close() {
	if o.jpeg != nil {
		o.jpeg.Close()
		o.jpeg = nil
	}
	o.closeH264()
}

func (o *output) closeH264() {
	if o.h264 != nil {
		_ = o.h264.Close() // frees in any case
		o.h264 = nil
	}
}

// adopt takes over a new description if the encoder can go on with it.
func (o *output) adopt(want Output) bool {
	same := o.Output
	same.Bitrate = want.Bitrate
	if same != want {
		return false
	}
	if o.Bitrate != want.Bitrate {
		o.Bitrate, o.bitrateNew = want.Bitrate, true
	}
	return true
}

// restart begins a new epoch.
func (o *output) restart() {
	o.keyWanted = true
	o.pace = pacer{fps: o.FPS}
}

// due says whether a picture is made of what was shown at pts. H264 takes every
// picture: its rate is the source's.
func (o *output) due(pts time.Duration) bool {
	return o.Kind == OutputH264 || o.pace.due(pts)
}

// size is the output's size for an input of w by h.
func (o *output) size(w, h int) (int, int) {
	ow, oh := min(o.Width, w), min(o.Height, h)
	switch {
	case ow == 0 && oh == 0:
		ow, oh = w, h
	case oh == 0:
		oh = max(1, (h*ow+w/2)/w)
	case ow == 0:
		ow = max(1, (w*oh+h/2)/h)
	}
	if o.Kind == OutputH264 {
		ow, oh = max(ow&^1, openh264.MinSide), max(oh&^1, openh264.MinSide)
	}
	return ow, oh
}

func (o *output) make(p *pipeline, m pic) (picture, error) {
	w, h := o.size(m.codedWidth, m.codedHeight)
	r := picture{Width: w, Height: h, Key: true}
	switch o.Kind {
	case OutputJPEG:
		if o.jpeg == nil {
			var err error
			if o.jpeg, err = turbojpeg.NewEncoder(); err != nil {
				return r, err
			}
		}
		img, err := p.i420(m.Picture, w, h, true)
		if err != nil {
			return r, err
		}
		q := o.Quality
		if q == 0 {
			q = 75
		}
		b, err := o.jpeg.Encode(img, q)
		r.Units = [][]byte{b}
		return r, err
	case OutputGray:
		b, err := o.gray(p, m.Picture, w, h)
		r.Units = [][]byte{b}
		return r, err
	}
	return o.encode(p, m, r)
}

func (o *output) gray(p *pipeline, m *libav.Picture, w, h int) ([]byte, error) {
	s, err := p.convert(m, libav.Gray, w, h, true)
	if err != nil {
		return nil, err
	}
	y, stride := s.img.Luma()
	b := make([]byte, w*h)
	for row := range h {
		copy(b[row*w:(row+1)*w], y[row*stride:])
	}
	return b, nil
}

// encode makes a picture of H.264, in limited range.
func (o *output) encode(p *pipeline, m pic, r picture) (picture, error) {
	src := *m.Picture
	if d := src.Width - r.Width; d >= 0 && d <= 1 && src.Height-r.Height >= 0 && src.Height-r.Height <= 1 {
		// A side that is odd is cropped: scaling by one pixel would only blur.
		src = src.Crop(r.Width, r.Height)
	}
	img, err := p.i420(&src, r.Width, r.Height, false)
	if err != nil {
		return r, err
	}
	if o.h264 == nil || o.width != r.Width || o.height != r.Height {
		o.closeH264()
		o.h264, err = openh264.New(openh264.Options{Width: r.Width, Height: r.Height, FPS: o.FPS, Bitrate: o.Bitrate, GOP: o.GOP})
		if err != nil {
			o.h264 = nil
			return r, err
		}
		o.width, o.height, o.keyWanted, o.bitrateNew = r.Width, r.Height, true, false
	}
	if o.bitrateNew && o.Bitrate > 0 {
		if err := o.h264.SetBitrate(o.Bitrate); err != nil {
			return r, err
		}
		o.bitrateNew = false
	}
	if o.keyWanted {
		if err := o.h264.ForceKey(); err != nil {
			return r, err
		}
	}
	if r.Units, r.Key, err = o.h264.Encode(img); err != nil {
		// It will not mend itself; the next picture gets a new encoder.
		o.closeH264()
		return r, err
	}
	if len(r.Units) > maxUnits {
		return r, fmt.Errorf("%d units in one picture", len(r.Units))
	}
	if r.Key {
		o.keyWanted = false
	}
	return r, nil
}

// pacer thins a sequence of times down to a rate.
type pacer struct {
	fps  float64
	next time.Duration
	any  bool
}

func (p *pacer) step() time.Duration { return time.Duration(float64(time.Second) / p.fps) }

// due asks about a time, took says that it was used.
func (p *pacer) due(pts time.Duration) bool {
	if p.fps <= 0 || !p.any {
		return true
	}
	// Times come with jitter: what is early by less than an eighth counts, and
	// what is early by two steps is another clock.
	early := p.next - pts
	return early <= p.step()/8 || early > 2*p.step()
}

func (p *pacer) took(pts time.Duration) {
	if p.fps <= 0 {
		return
	}
	if late := pts - p.next; !p.any || late > p.step() || late < -p.step() {
		p.next = pts // the first one, a gap, or another clock
	}
	p.next, p.any = p.next+p.step(), true
}
