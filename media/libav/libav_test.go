//go:build cgo

package libav_test

import (
	"errors"
	"image"
	"strings"
	"testing"

	"camwire/media"
	"camwire/media/libav"
	"camwire/media/libav/libavtest"
)

func annexB(units [][]byte) (b []byte) {
	for _, u := range units {
		b = append(append(b, 0, 0, 0, 1), u...)
	}
	return b
}

func TestCheck(t *testing.T) {
	if err := libav.Check(); err != nil {
		t.Fatal(err)
	}
}

func TestDecodeIsExactAndAtOnce(t *testing.T) {
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.H264, Args: strings.Fields("-c:v libx264 -qp 1 -bf 0 -g 15")})
	d, err := libav.Open(media.H264, libav.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for i, f := range clip.Frames {
		n := 0
		err := d.Decode(annexB(f.Units), int64(i), func(p *libav.Picture) error {
			n++
			if p.ID != int64(i) || p.Key != (i%15 == 0) || p.Corrupt || p.FullRange || p.Width != 320 || p.Height != 240 {
				t.Errorf("frame %d: %+v", i, p)
			}
			if i == 7 {
				if got := libavtest.PSNR(p.YCbCr(), libavtest.Picture(t, "320x240", 320, 240, 7)); got < 45 {
					t.Errorf("PSNR %.1f dB", got)
				}
			}
			return nil
		})
		if err != nil || n != 1 {
			t.Fatalf("frame %d: %d pictures, %v", i, n, err)
		}
	}
	stop := errors.New("stop")
	if err := d.Decode(annexB(clip.Frames[0].Units), 0, func(*libav.Picture) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of the callback: %v", err)
	}
	d.Close()
	if err := d.Decode([]byte{1}, 0, nil); err == nil {
		t.Error("closed decoder took a frame")
	}
}

func TestDamageIsMarked(t *testing.T) {
	clip := libavtest.Make(t, libavtest.Spec{Codec: media.H264})
	d, err := libav.Open(media.H264, libav.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	au := annexB(clip.Frames[0].Units)
	marked := false
	err = d.Decode(au[:len(au)*2/3], 0, func(p *libav.Picture) error {
		marked = p.Corrupt
		return nil
	})
	if err == nil && !marked {
		t.Error("a third of the picture is missing, and nobody says so")
	}
}

func TestPixelLimit(t *testing.T) {
	for _, c := range []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1} {
		clip := libavtest.Make(t, libavtest.Spec{Codec: c, Frames: 1})
		d, err := libav.Open(c, libav.Options{MaxPixels: 320*240 - 1})
		if err != nil {
			t.Fatal(err)
		}
		var au []byte
		switch c {
		case media.H264, media.H265:
			au = annexB(clip.Frames[0].Units)
		case media.AV1:
			for _, u := range clip.Frames[0].Units {
				au = append(au, u[0]|2)
				n := len(u) - 1
				for ; n >= 128; n >>= 7 {
					au = append(au, byte(n)|128)
				}
				au = append(append(au, byte(n)), u[1:]...)
			}
		default:
			au = clip.Frames[0].Units[0]
		}
		_, err = libav.DecodeYCbCr(d, au)
		d.Close()
		if err == nil {
			t.Errorf("%s: a picture over the limit was decoded", c)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := libav.Open(media.Opus, libav.Options{}); err == nil {
		t.Error("opened a video decoder for Opus")
	}
}

// ramp is a 4:2:0 picture in which every value of every sample occurs.
func ramp(t *testing.T, w, h int) libav.Picture {
	t.Helper()
	cw, ch := (w+1)/2, (h+1)/2
	b := make([]byte, w*h+2*cw*ch, w*h+2*cw*ch+64)
	for i := range b {
		b[i] = byte(i)
	}
	p, err := libav.Wrap(libav.I420, w, h, false, [][]byte{b[:w*h], b[w*h : w*h+cw*ch], b[w*h+cw*ch:]})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRangeConversion(t *testing.T) {
	round := func(v float64) int { return int(min(max(v, 0), 255) + 0.5) }
	for _, full := range []bool{true, false} {
		src := ramp(t, 257, 5)
		src.FullRange = !full
		dst, err := libav.NewImage(libav.I420, 257, 5, full)
		if err != nil {
			t.Fatal(err)
		}
		var c libav.Converter
		if err := c.Convert(dst, &src); err != nil {
			t.Fatal(err)
		}
		in, out := src.YCbCr(), dst.YCbCr()
		check := func(name string, a, b byte, limited, extent float64) {
			v := float64(a)
			want := round((v - limited) * 255 / extent)
			if name == "chroma" {
				want = round((v-128)*255/extent + 128)
			}
			if !full {
				want = round(v*extent/255 + limited)
				if name == "chroma" {
					want = round((v-128)*extent/255 + 128)
				}
			}
			if d := int(b) - want; d < -1 || d > 1 {
				t.Errorf("full %v: %s %d became %d instead of %d", full, name, a, b, want)
			}
		}
		for x := range 256 {
			check("luma", in.Y[x], out.Y[x], 16, 219)
		}
		for y := range 3 {
			for x := range 129 {
				check("chroma", in.Cb[y*in.CStride+x], out.Cb[y*out.CStride+x], 16, 224)
				check("chroma", in.Cr[y*in.CStride+x], out.Cr[y*out.CStride+x], 16, 224)
			}
		}
		dst.Free()
		dst.Free()
	}
}

// TestScalerRange says that scaling and range conversion go together.
func TestScalerRange(t *testing.T) {
	for _, v := range []byte{16, 128, 235} {
		y := make([]byte, 64*64, 64*64+64)
		for i := range y {
			y[i] = v
		}
		c := make([]byte, 32*32, 32*32+64)
		for i := range c {
			c[i] = 240
		}
		src, err := libav.Wrap(libav.I420, 64, 64, false, [][]byte{y, c, c})
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []image.Point{{64, 64}, {63, 64}, {32, 32}, {13, 7}, {1, 1}, {100, 90}} {
			for _, f := range []libav.Format{libav.I420, libav.Gray} {
				dst, err := libav.NewImage(f, size.X, size.Y, true)
				if err != nil {
					t.Fatal(err)
				}
				var conv libav.Converter
				if err := conv.Convert(dst, &src); err != nil {
					t.Fatalf("%v: %v", size, err)
				}
				luma, stride := dst.Luma()
				want := int(float64(int(v)-16)*255/219 + 0.5)
				if got := int(luma[(size.Y-1)*stride+size.X-1]); got < want-2 || got > want+2 {
					t.Errorf("%v format %d: luma %d became %d instead of %d", size, f, v, got, want)
				}
				if f == libav.I420 {
					if got := dst.YCbCr().Cb[0]; got < 253 {
						t.Errorf("%v: chroma 240 became %d instead of 255", size, got)
					}
				}
				conv.Close()
				dst.Free()
			}
		}
	}
}

func TestWrapErrors(t *testing.T) {
	for name, f := range map[string]func() (libav.Picture, error){
		"no size":    func() (libav.Picture, error) { return libav.Wrap(libav.I420, 0, 2, false, nil) },
		"one plane":  func() (libav.Picture, error) { return libav.Wrap(libav.I420, 2, 2, false, [][]byte{make([]byte, 9)}) },
		"short":      func() (libav.Picture, error) { return libav.Wrap(libav.YUYV, 2, 2, false, [][]byte{make([]byte, 7)}) },
		"bad format": func() (libav.Picture, error) { return libav.Wrap(libav.I444, 2, 2, false, nil) },
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	codecs := []media.Codec{media.H264, media.H265, media.VP8, media.VP9, media.AV1}
	for i, c := range codecs {
		if c == media.AV1 {
			f.Add(i, []byte{0x12, 0, 0x0a, 1, 0})
			continue
		}
		for _, fr := range libavtest.Make(f, libavtest.Spec{Codec: c, Frames: 2, Size: "64x64"}).Frames {
			if len(fr.Units) == 1 && c != media.H264 && c != media.H265 {
				f.Add(i, fr.Units[0])
			} else {
				f.Add(i, annexB(fr.Units))
			}
		}
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		d, err := libav.Open(codecs[uint(i)%uint(len(codecs))], libav.Options{MaxPixels: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		var c libav.Converter
		defer c.Close()
		_ = d.Decode(b, 1, func(p *libav.Picture) error {
			if p.Width*p.Height > 1<<20 {
				t.Errorf("picture of %dx%d", p.Width, p.Height)
			}
			m, err := libav.NewImage(libav.I420, 32, 16, true)
			if err != nil {
				return err
			}
			defer m.Free()
			return c.Convert(m, p)
		})
	})
}
