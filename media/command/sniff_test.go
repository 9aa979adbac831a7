package command

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func noise(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(2 + random.IntN(0x40)) // no start code, no marker, no sync byte
	}
	return b
}

func TestDetect(t *testing.T) {
	j := picture(t, 1)
	w := newTSWriter(t)
	ts := slices.Concat(w.picture(0, sps264, pps264, slice264(true, 900)), w.picture(1, slice264(true, 400)))
	h264 := byteStream([]byte{9, 0xf0, 0x80}, sps264, pps264, slice264(true, 900))
	text := []byte("Starting up, frame 1\n")
	for name, c := range map[string]struct {
		in   []byte
		want format
		from int
	}{
		"pictures":          {j, formatJPEG, 0},
		"multipart":         {append([]byte("--b\r\nContent-Type: image/jpeg\r\n\r\n"), j...), formatJPEG, 0},
		"transport":         {ts, formatTS, 0},
		"transport, midway": {ts[100:], formatTS, packetSize - 100},
		"h264":              {h264, formatH264, 1},
		"short start code":  {h264[1:], formatH264, 0},
		"text before":       {append(bytes.Clone(text), h264...), formatH264, len(text) + 1},
		"text before ts":    {append(bytes.Clone(text), ts...), formatTS, len(text)},
		"nothing":           {nil, formatUnknown, 0},
		"noise":             {noise(5000), formatUnknown, 5000},
		"slices only":       {byteStream(slice264(true, 900)), formatUnknown, 0},
		"a picture inside":  {byteStream(slice264(true, 900), append([]byte{6}, j...)), formatUnknown, 0},
	} {
		f, from := detect(c.in, false)
		if f != c.want || f != formatUnknown && from != c.from {
			t.Errorf("%s: %v at %d, want %v at %d", name, f, from, c.want, c.from)
		}
		for n := range c.in { // no prefix may mislead
			if f, _ := detect(c.in[:n], false); f != formatUnknown && f != c.want {
				t.Errorf("%s: the first %d bytes are %v", name, n, f)
				break
			}
		}
	}
}

func TestSniff(t *testing.T) {
	j := picture(t, 1)
	p := newPipe(bytesFile{bytes.NewReader(j)}, patience)
	if f, err := p.sniff(); f != formatJPEG || err != nil {
		t.Fatal(f, err)
	}
	b := make([]byte, len(j)+1)
	if n, _ := p.Read(b); !bytes.Equal(b[:n], j) {
		t.Error("what was looked at is gone")
	}
	p = newPipe(bytesFile{bytes.NewReader(append([]byte("YUV4MPEG2 W64"), noise(2*maxHead)...))}, patience)
	if _, err := p.sniff(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "YUV4MPEG2") {
		t.Error(err)
	}
	p = newPipe(bytesFile{bytes.NewReader([]byte("short"))}, patience)
	if _, err := p.sniff(); !over(err) {
		t.Error(err)
	}
}

// TestFruitless proves that output without a picture does not go on for ever.
func TestFruitless(t *testing.T) {
	p := newPipe(bytesFile{bytes.NewReader(noise(100))}, time.Second)
	p.good = time.Now().Add(-time.Hour)
	p.trouble = "they are blue"
	if _, err := p.Read(make([]byte, 10)); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "they are blue") {
		t.Error(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p = newPipe(r, 20*time.Millisecond)
	if _, err := p.read(make([]byte, 10), time.Millisecond); !errors.Is(err, errIdle) {
		t.Error(err)
	}
	if _, err := p.Read(make([]byte, 10)); !errors.Is(err, ErrSilent) {
		t.Error(err)
	}
}

func TestTail(t *testing.T) {
	var l tail
	l.readFrom(strings.NewReader("gone\none\r\n\n  \nframe=1\rframe=2\rtwo\nrtsp://admin:hunter2@cam/x?token=s3cret\n" +
		strings.Repeat("y", 10000) + "\n\x1b[31mred\x00\xff\nlast"))
	got := l.lines()
	want := []string{"two", "rtsp://***@cam/x?token=***", strings.Repeat("y", tailLength) + "…", "[31mred ?", "last"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func FuzzDetect(f *testing.F) {
	f.Add(byteStream(sps264, pps264, slice264(true, 400)))
	f.Add(append(bytes.Repeat([]byte{0x47}, 400), 0xff, 0xd8, 0xff))
	f.Add([]byte("--b\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\xff\xe0"))
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, final := range []bool{false, true} {
			form, from := detect(in, final)
			if form != formatUnknown && (from < 0 || from >= len(in)) {
				t.Fatalf("%v at %d of %d", form, from, len(in))
			}
		}
	})
}
