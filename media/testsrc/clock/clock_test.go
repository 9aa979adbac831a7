package clock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/image/draw"
)

// picture returns a grey 4:2:0 picture with a busy lower part.
func picture(w, h int, t time.Time) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for i := range m.Y {
		m.Y[i] = byte(i * 7)
	}
	for i := range m.Cb {
		m.Cb[i], m.Cr[i] = 128, 128
	}
	Draw(m.Y, m.YStride, w, h, t)
	return m
}

func throughJPEG(t *testing.T, m image.Image, quality int) *image.YCbCr {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	d, err := jpeg.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	return d.(*image.YCbCr)
}

func scaled(m image.Image, w, h int) image.Image {
	d := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.ApproxBiLinear.Scale(d, d.Bounds(), m, m.Bounds(), draw.Src, nil)
	return d
}

var times = []int64{
	0, 1, span - 1, span, span + 1, 1_700_000_000_123, 1_795_220_400_999, 0x155555555, 0x2aaaaaaaa,
}

func TestReadsWhatItDrew(t *testing.T) {
	for _, size := range [][2]int{{320, 180}, {333, 250}, {640, 360}, {640, 480}, {648, 480}, {800, 600}, {854, 480}, {960, 540}, {1280, 720}, {1366, 768}, {3840, 2160}} {
		for _, ms := range times {
			want := time.UnixMilli(ms)
			got, ok := ReadImage(picture(size[0], size[1], want), want.Add(48*time.Hour))
			if !ok || !got.Equal(want) {
				t.Errorf("%dx%d, %d ms: read %v, %v", size[0], size[1], ms, got.UnixMilli(), ok)
			}
		}
	}
}

func TestSurvivesJPEGAndScaling(t *testing.T) {
	for _, c := range []struct{ w, h, toW, toH int }{
		{1280, 720, 1280, 720}, {1280, 720, 640, 360}, {1280, 720, 320, 180}, {1280, 720, 500, 281},
		{1920, 1080, 480, 270}, {640, 480, 320, 240}, {854, 480, 427, 240},
		{800, 600, 333, 250}, {320, 180, 320, 180}, {320, 240, 640, 480}, {700, 400, 350, 200},
	} {
		for _, ms := range times[6:7] {
			want := time.UnixMilli(ms)
			m := throughJPEG(t, scaled(throughJPEG(t, picture(c.w, c.h, want), 50), c.toW, c.toH), 50)
			got, ok := ReadImage(m, want)
			if !ok || !got.Equal(want) {
				t.Errorf("%+v, %d ms: read %v, %v", c, ms, got.UnixMilli(), ok)
			}
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct{ at, near int64 }{
		{5 * span, 5*span - 1000}, {5*span - 1, 5*span + 1000}, {3*span + 7, 3*span + 7 + span/2 - 10},
		{3*span + 7, 3*span + 7 - span/2 + 10}, {1_795_220_400_999, 1_795_220_500_000},
	} {
		got := nearest(c.at%span, time.UnixMilli(c.near))
		if got.UnixMilli() != c.at {
			t.Errorf("%d near %d: got %d", c.at, c.near, got.UnixMilli())
		}
	}
}

func TestNoClock(t *testing.T) {
	now := time.UnixMilli(1_795_220_400_999)
	flat := image.NewYCbCr(image.Rect(0, 0, 640, 360), image.YCbCrSubsampleRatio420)
	if _, ok := ReadImage(flat, now); ok {
		t.Error("read a clock in a flat picture")
	}
	if _, ok := ReadImage(image.NewYCbCr(image.Rect(0, 0, 20, 10), image.YCbCrSubsampleRatio420), now); ok {
		t.Error("read a clock in a tiny picture")
	}
	// A damaged bit pair is caught by the CRC, whichever it is.
	for i := range columns {
		m := picture(640, 360, now)
		for x := i * 16; x < i*16+16; x++ {
			for y := range 16 {
				a, b := m.YOffset(x, y), m.YOffset(x, y+16)
				m.Y[a], m.Y[b] = m.Y[b], m.Y[a]
			}
		}
		if got, ok := ReadImage(m, now); ok {
			t.Errorf("bit %d swapped: still read %v", i, got)
		}
	}
	m := image.NewYCbCr(image.Rect(0, 0, 300, 200), image.YCbCrSubsampleRatio420)
	Draw(m.Y, m.YStride, 300, 200, now)
	if !bytes.Equal(m.Y, make([]byte, len(m.Y))) {
		t.Error("drew into a picture that is too narrow")
	}
}

// The reader for browsers reads the same pictures.
func TestModule(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: clock.mjs is not tested")
	}
	type job struct {
		Width, Height int
		Near, Want    int64
		File          string
	}
	dir := t.TempDir()
	var jobs []job
	for i, size := range [][2]int{{320, 180}, {640, 360}, {250, 141}} {
		for j, ms := range times {
			want := time.UnixMilli(ms)
			m := throughJPEG(t, scaled(picture(640, 360, want), size[0], size[1]), 60)
			rgba := image.NewRGBA(m.Bounds())
			draw.Draw(rgba, rgba.Bounds(), m, image.Point{}, draw.Src)
			j := job{size[0], size[1], ms + 1e9, ms, filepath.Join(dir, fmt.Sprintf("%d-%d", i, j))}
			if err := os.WriteFile(j.File, rgba.Pix, 0o600); err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, j)
		}
	}
	grey := image.NewRGBA(image.Rect(0, 0, 320, 180))
	draw.Draw(grey, grey.Bounds(), image.NewUniform(color.Gray{Y: 99}), image.Point{}, draw.Src)
	blank := job{320, 180, 0, -1, filepath.Join(dir, "blank")}
	if err := os.WriteFile(blank.File, grey.Pix, 0o600); err != nil {
		t.Fatal(err)
	}
	jobs = append(jobs, blank)
	module, err := filepath.Abs("clock.mjs")
	if err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	script := `import { drawClock, readClock } from ` + fmt.Sprintf("%q", "file://"+module) + `
import { readFileSync } from 'node:fs'
for (const j of ` + string(list) + `) {
  const data = new Uint8ClampedArray(readFileSync(j.File))
  const got = readClock({ data, width: j.Width, height: j.Height }, j.Near) ?? -1
  if (got !== j.Want) throw new Error(j.File + ': read ' + got + ', want ' + j.Want)
}
for (const time of [0, 1, 1795220400999, 2 ** 34 - 1, 2 ** 34]) {
  const width = 640, height = 64, data = new Uint8ClampedArray(4 * width * height)
  const ctx = {
    fillStyle: '',
    fillRect(x, y, w, h) {
      for (let j = y; j < y + h; j++) data.fill(this.fillStyle === '#fff' ? 255 : 0, 4 * (j * width + x), 4 * (j * width + x + w))
    },
  }
  drawClock(ctx, width, time)
  const got = readClock({ data, width, height }, time)
  if (got !== time) throw new Error('drew ' + time + ', read ' + got)
}`
	file := filepath.Join(dir, "test.mjs")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func FuzzRead(f *testing.F) {
	m := picture(640, 360, time.UnixMilli(1_795_220_400_999))
	f.Add(m.Y, 640)
	f.Add([]byte{}, 640)
	f.Fuzz(func(t *testing.T, y []byte, w int) {
		if w <= 0 || w > 4096 {
			return
		}
		h := len(y) / w
		Read(func(px, py int) uint8 {
			if px < 0 || px >= w || py < 0 || py >= h {
				t.Fatalf("asked for %d,%d of %dx%d", px, py, w, h)
			}
			return y[py*w+px]
		}, w, h, time.UnixMilli(1_795_220_400_999))
	})
}

func BenchmarkDraw720(b *testing.B) {
	m := picture(1280, 720, time.UnixMilli(1))
	now := time.UnixMilli(1_795_220_400_999)
	for b.Loop() {
		Draw(m.Y, m.YStride, 1280, 720, now)
	}
}
