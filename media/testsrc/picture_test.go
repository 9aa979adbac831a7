package testsrc

import (
	"bytes"
	"image"
	"image/png"
	"os"
	"testing"
	"time"

	"camwire/media/testsrc/clock"
)

func (c *canvas) image() *image.YCbCr {
	return &image.YCbCr{
		Y: c.y, Cb: c.u, Cr: c.v, YStride: c.w, CStride: c.w / 2,
		SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: image.Rect(0, 0, c.w, c.h),
	}
}

func testPicture(t testing.TB, o Options) *picture {
	t.Helper()
	o, err := o.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPicture(o, caption(o))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var someTime = time.Date(2026, 11, 21, 13, 37, 42, 890e6, time.FixedZone("", 3600))

// The changed regions of each frame add up to the picture drawn from nothing.
func TestChangesAddUp(t *testing.T) {
	for _, o := range []Options{{Width: 640, Height: 360}, {Width: 320, Height: 240}, {Width: 64, Height: 64}, {Width: 642, Height: 362, Pattern: "bars"}, {Width: 800, Height: 64}} {
		p := testPicture(t, o)
		for i := range 40 {
			elapsed := time.Duration(i) * 333 * time.Millisecond
			at := someTime.Add(elapsed)
			got := p.draw(at, elapsed)
			if i%8 == 7 && !bytes.Equal(got.pix, testPicture(t, o).draw(at, elapsed).pix) {
				t.Fatalf("%dx%d: picture %d differs from one drawn at once", o.Width, o.Height, i)
			}
			if got.w >= clock.MinWidth && got.h >= 2*clock.Height(got.w) {
				if c, ok := clock.ReadImage(got.image(), at); !ok || !c.Equal(at.Truncate(time.Millisecond)) {
					t.Fatalf("%dx%d: clock says %v, %v", got.w, got.h, c, ok)
				}
			}
		}
	}
}

// TestLook writes a picture for people to judge when CAMWIRE_LOOK names a file.
func TestLook(t *testing.T) {
	file := os.Getenv("CAMWIRE_LOOK")
	if file == "" {
		t.Skip("CAMWIRE_LOOK is not set")
	}
	o := Options{Pattern: os.Getenv("CAMWIRE_PATTERN"), Name: "Workshop"}
	if os.Getenv("CAMWIRE_SMALL") != "" {
		o.Width, o.Height = 320, 240
	}
	m := testPicture(t, o).draw(someTime, 2300*time.Millisecond).image()
	rgba := image.NewRGBA(m.Rect)
	for y := range m.Rect.Dy() {
		for x := range m.Rect.Dx() {
			// The planes are limited range, image.YCbCr is full.
			c := m.YCbCrAt(x, y)
			full := func(v byte, lo, n float64) byte { return byte(min(max((float64(v)-lo)*255/n, 0), 255)) }
			c.Y = full(c.Y, 16, 219)
			c.Cb = byte(min(max(128+(float64(c.Cb)-128)*255/224, 0), 255))
			c.Cr = byte(min(max(128+(float64(c.Cr)-128)*255/224, 0), 255))
			rgba.Set(x, y, c)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := png.Encode(f, rgba); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkDraw720(b *testing.B) {
	p := testPicture(b, Options{})
	i := 0
	for b.Loop() {
		e := time.Duration(i) * time.Second / 30
		p.draw(someTime.Add(e), e)
		i++
	}
}
