//go:build cgo

package openh264

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"math"
	"time"

	"github.com/pion/mediadevices/pkg/codec"
	"github.com/pion/mediadevices/pkg/codec/openh264"
	"github.com/pion/mediadevices/pkg/frame"
	"github.com/pion/mediadevices/pkg/io/video"
	"github.com/pion/mediadevices/pkg/prop"
)

// MaxPixels is what the encoder's highest level (5.2) takes: 36,864 macroblocks.
const MaxPixels = 36864 * 256

// MinSide is the smallest width or height that the encoder takes.
const MinSide = 16

// Options for an Encoder.
type Options struct {
	// Width and Height in pixels, even, at least 16.
	Width, Height int
	// FPS is the nominal rate in pictures per second; 0 means 30, 1 to 60.
	FPS float64
	// Bitrate in bit/s; 0 means 0.1 bit per pixel.
	Bitrate int
	// GOP is the time between two IDR pictures; 0 means on request only. The
	// encoder adds one of its own where the scene changes.
	GOP time.Duration
}

// Encoder encodes one stream as constrained baseline, one slice per picture,
// one thread, no reordering, no picture ever skipped. It is for one goroutine.
type Encoder struct {
	o    Options
	rc   codec.ReadCloser
	next *image.YCbCr
}

// New makes an encoder; Close it.
func New(o Options) (*Encoder, error) {
	if o.Width < MinSide || o.Height < MinSide || o.Width%2 != 0 || o.Height%2 != 0 || o.Width*o.Height > MaxPixels {
		return nil, fmt.Errorf("openh264: cannot encode %dx%d: sides must be even, at least %d, and the picture at most %d pixels",
			o.Width, o.Height, MinSide, MaxPixels)
	}
	if o.FPS == 0 {
		o.FPS = 30
	}
	o.FPS = min(max(o.FPS, 1), 60)
	if o.Bitrate <= 0 {
		o.Bitrate = int(0.1 * float64(o.Width*o.Height) * o.FPS)
	}
	p, err := openh264.NewParams()
	if err != nil {
		return nil, fmt.Errorf("openh264: %w", err)
	}
	p.BitRate = o.Bitrate
	p.UsageType = openh264.CameraVideoRealTime
	p.RCMode = openh264.RCBitrateMode
	p.EnableFrameSkip = false // a skipped picture comes out as an empty packet
	p.IntraPeriod = uint(math.Round(o.GOP.Seconds() * o.FPS))
	p.MultipleThreadIdc = 1
	p.SliceMode = openh264.SMSingleSlice

	e := &Encoder{o: o}
	source := video.ReaderFunc(func() (image.Image, func(), error) {
		if e.next == nil {
			return nil, nil, errors.New("no picture")
		}
		return e.next, func() {}, nil
	})
	e.rc, err = p.BuildVideoEncoder(source, prop.Media{Video: prop.Video{
		Width: o.Width, Height: o.Height, FrameRate: float32(o.FPS), FrameFormat: frame.FormatI420,
	}})
	if err != nil {
		return nil, fmt.Errorf("openh264: %dx%d: %w", o.Width, o.Height, err)
	}
	return e, nil
}

// Encode encodes one 4:2:0 picture of the encoder's size with limited-range
// samples (the stream says nothing of the range, and that means limited). The
// units have no start codes and are nobody else's; SPS and PPS come before
// each IDR, with ids that change from one to the next.
func (e *Encoder) Encode(m *image.YCbCr) (units [][]byte, key bool, err error) {
	if e.rc == nil {
		return nil, false, errors.New("openh264: encoder is closed")
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if w != e.o.Width || h != e.o.Height || m.SubsampleRatio != image.YCbCrSubsampleRatio420 {
		return nil, false, fmt.Errorf("openh264: picture is %dx%d %v instead of %dx%d 4:2:0", w, h, m.SubsampleRatio, e.o.Width, e.o.Height)
	}
	if m.YStride < w || m.CStride < w/2 || len(m.Y) < m.YStride*(h-1)+w ||
		len(m.Cb) < m.CStride*(h/2-1)+w/2 || len(m.Cr) < m.CStride*(h/2-1)+w/2 {
		return nil, false, errors.New("openh264: plane is too short")
	}
	e.next = m
	b, release, err := e.rc.Read()
	e.next = nil
	if err != nil {
		return nil, false, fmt.Errorf("openh264: %w", err)
	}
	release()
	units = split(b)
	for _, u := range units {
		key = key || u[0]&0x1f == 5
	}
	if len(units) == 0 {
		return nil, false, errors.New("openh264: the encoder gave nothing")
	}
	return units, key, nil
}

// ForceKey makes the next picture an IDR.
func (e *Encoder) ForceKey() error {
	if e.rc == nil {
		return errors.New("openh264: encoder is closed")
	}
	c, ok := e.rc.Controller().(codec.KeyFrameController)
	if !ok {
		return errors.New("openh264: encoder has no key frame control")
	}
	return c.ForceKeyFrame()
}

// SetBitrate changes the target in bit/s from the next picture on.
func (e *Encoder) SetBitrate(bps int) error {
	if e.rc == nil {
		return errors.New("openh264: encoder is closed")
	}
	c, ok := e.rc.Controller().(codec.BitRateController)
	if !ok {
		return errors.New("openh264: encoder has no bit rate control")
	}
	if bps <= 0 {
		return fmt.Errorf("openh264: bit rate %d", bps)
	}
	return c.SetBitRate(bps)
}

// Close frees the encoder. It may be called more than once.
func (e *Encoder) Close() error {
	if e.rc == nil {
		return nil
	}
	err := e.rc.Close()
	e.rc = nil
	return err
}

// split cuts an Annex B stream (ITU-T H.264 annex B) into its NAL units.
func split(b []byte) [][]byte {
	var units [][]byte
	code := []byte{0, 0, 1}
	i := bytes.Index(b, code)
	for i >= 0 {
		b = b[i+3:]
		i = bytes.Index(b, code)
		u := b
		if i >= 0 {
			u = b[:i]
		}
		// The zero byte of a four-byte start code, or trailing_zero_8bits.
		if u = bytes.TrimRight(u, "\x00"); len(u) > 0 {
			units = append(units, u[:len(u):len(u)])
		}
	}
	return units
}
