//go:build cgo

package turbojpeg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/jpeg"
	"testing"
)

var ratios = []image.YCbCrSubsampleRatio{
	image.YCbCrSubsampleRatio420, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio444,
	image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411,
}

// gradient is a smooth picture that survives coding.
func gradient(r image.YCbCrSubsampleRatio, w, h int) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, w, h), r)
	for y := range h {
		for x := range w {
			m.Y[m.YOffset(x, y)] = byte(255 * x / w)
			m.Cb[m.COffset(x, y)] = byte(255 * y / h)
			m.Cr[m.COffset(x, y)] = 128
		}
	}
	return m
}

func codecs(t testing.TB) (*Encoder, *Decoder) {
	t.Helper()
	e, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	d, err := NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return e, d
}

func near(a, b byte) bool { return int(a)-int(b) < 8 && int(b)-int(a) < 8 }

func TestRoundTrip(t *testing.T) {
	e, d := codecs(t)
	for _, r := range ratios {
		for _, size := range []image.Point{{64, 48}, {65, 49}, {63, 47}, {33, 1}, {1, 1}, {8, 640}} {
			m := gradient(r, size.X, size.Y)
			b, err := e.Encode(m, 95)
			if err != nil {
				t.Fatalf("%v %v: %v", r, size, err)
			}
			c, err := jpeg.DecodeConfig(bytes.NewReader(b))
			if err != nil || c.Width != size.X || c.Height != size.Y {
				t.Errorf("%v %v: the standard library sees %dx%d, %v", r, size, c.Width, c.Height, err)
			}
			head, err := d.Header(b)
			if err != nil || head != (Header{Width: size.X, Height: size.Y, Ratio: r}) {
				t.Fatalf("%v %v: header %+v, %v", r, size, head, err)
			}
			for _, denom := range []int{1, 2, 4, 8} {
				dst, err := Shape(head, denom)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.Decode(b, head, dst); err != nil {
					t.Fatalf("%v %v / %d: %v", r, size, denom, err)
				}
				if w, h := dst.Rect.Dx(), dst.Rect.Dy(); size.X == 64 && !near(dst.Y[(h/2)*dst.YStride+w/2], byte(255*(w/2*denom+denom/2)/64)) {
					t.Errorf("%v %v / %d: the middle is %d", r, size, denom, dst.Y[(h/2)*dst.YStride+w/2])
				}
			}
		}
	}
}

func TestGray(t *testing.T) {
	e, d := codecs(t)
	m := image.NewGray(image.Rect(0, 0, 31, 17))
	for i := range m.Pix {
		m.Pix[i] = 200
	}
	b, err := e.EncodeGray(m, 80)
	if err != nil {
		t.Fatal(err)
	}
	head, err := d.Header(b)
	if err != nil || !head.Gray {
		t.Fatalf("%+v, %v", head, err)
	}
	dst, err := Shape(head, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(b, head, dst); err != nil || !near(dst.Y[0], 200) {
		t.Errorf("%d, %v", dst.Y[0], err)
	}
}

// sized replaces the size in the header.
func sized(b []byte, w, h int) []byte {
	b = append([]byte(nil), b...)
	i := bytes.Index(b, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(b[i+5:], uint16(h))
	binary.BigEndian.PutUint16(b[i+7:], uint16(w))
	return b
}

func TestLimits(t *testing.T) {
	e, d := codecs(t)
	b, err := e.Encode(gradient(image.YCbCrSubsampleRatio420, 64, 64), 75)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []image.Point{{50000, 10}, {10, 50000}, {16384, 16384}, {16385, 1}} {
		if _, err := d.Header(sized(b, size.X, size.Y)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v: %v", size, err)
		}
	}
	if _, err := d.Header(sized(b, 0, 10)); err == nil {
		t.Error("width 0 was accepted")
	}
	d.MaxPixels = 64*64 - 1
	if _, err := d.Header(b); !errors.Is(err, ErrTooLarge) {
		t.Errorf("lower limit: %v", err)
	}
	for _, m := range []*image.YCbCr{{}, {Rect: image.Rect(0, 0, 20000, 1)}, {Rect: image.Rect(0, 0, 16, 16), SubsampleRatio: image.YCbCrSubsampleRatio410},
		{Rect: image.Rect(0, 0, 16, 16), YStride: 16, CStride: 8, Y: make([]byte, 16), Cb: make([]byte, 64), Cr: make([]byte, 64)}} {
		if _, err := e.Encode(m, 75); err == nil {
			t.Errorf("%v was encoded", m.Rect)
		}
	}
}

func TestDamage(t *testing.T) {
	e, d := codecs(t)
	b, err := e.Encode(gradient(image.YCbCrSubsampleRatio420, 320, 240), 90)
	if err != nil {
		t.Fatal(err)
	}
	head, err := d.Header(b)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := Shape(head, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(b[:len(b)/2], head, dst); !errors.Is(err, ErrDamaged) {
		t.Errorf("half a JPEG: %v", err)
	}
	// Padding before the end of the image, as some cameras write it.
	padded := append(append([]byte(nil), b[:len(b)-2]...), 0, 0, 0, 0, 0xff, 0xd9)
	if err := d.Decode(padded, head, dst); err != nil {
		t.Errorf("padded JPEG: %v", err)
	}
	// The room is for another picture than the bytes have.
	if err := d.Decode(sized(b, 640, 480), head, dst); err == nil {
		t.Error("a JPEG was decoded into a picture of another size")
	}
	small := *dst
	small.Y = small.Y[:100:100]
	if err := d.Decode(b, head, &small); err == nil {
		t.Error("a JPEG was decoded into too little memory")
	}
	for _, bad := range [][]byte{nil, {0xff}, {0xff, 0xd8, 0xff, 0xd9}, []byte("no JPEG at all")} {
		if _, err := d.Header(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("% x: %v", bad, err)
		}
	}
}

// TestNoHuffmanTables is what UVC cameras send: Motion JPEG without DHT.
func TestNoHuffmanTables(t *testing.T) {
	var buf bytes.Buffer
	m := image.NewYCbCr(image.Rect(0, 0, 32, 32), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = 90
	}
	// The standard library writes the standard tables.
	if err := jpeg.Encode(&buf, m, nil); err != nil {
		t.Fatal(err)
	}
	b := buf.Bytes()
	i := bytes.Index(b, []byte{0xff, 0xc4})
	n := 2 + int(binary.BigEndian.Uint16(b[i+2:]))
	b = append(append([]byte(nil), b[:i]...), b[i+n:]...)
	_, d := codecs(t)
	head, err := d.Header(b)
	if err != nil {
		t.Fatal(err)
	}
	dst, err := Shape(head, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(b, head, dst); err != nil || !near(dst.Y[0], 90) {
		t.Errorf("%d, %v", dst.Y[0], err)
	}
}

func TestClosed(t *testing.T) {
	e, d := codecs(t)
	e.Close()
	e.Close()
	d.Close()
	d.Close()
	if _, err := e.Encode(gradient(image.YCbCrSubsampleRatio420, 16, 16), 75); err == nil {
		t.Error("closed encoder worked")
	}
	if _, err := d.Header([]byte{0xff, 0xd8, 0xff, 0xd9}); err == nil {
		t.Error("closed decoder worked")
	}
}

func FuzzDecode(f *testing.F) {
	e, d := codecs(f)
	for _, r := range ratios {
		b, err := e.Encode(gradient(r, 40, 24), 70)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, 1)
		f.Add(b[:len(b)*2/3], 2)
	}
	d.MaxPixels = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte, denom int) {
		head, err := d.Header(b)
		if err != nil {
			return
		}
		if denom != 2 && denom != 4 && denom != 8 {
			denom = 1
		}
		dst, err := Shape(head, denom)
		if err != nil {
			t.Fatal(err)
		}
		_ = d.Decode(b, head, dst)
	})
}
