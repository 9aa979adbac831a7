package upload

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"mime/multipart"
	"strings"
	"testing"
	"testing/iotest"

	"camwire/media/codec"
	"camwire/media/stream"
	"camwire/server"
)

// resized returns the picture with another size in its frame header.
func resized(b []byte, w, h int) []byte {
	b = bytes.Clone(b)
	i := bytes.Index(b, []byte{0xff, 0xc0})
	b[i+5], b[i+6], b[i+7], b[i+8] = byte(h>>8), byte(h), byte(w>>8), byte(w)
	return b
}

func TestParse(t *testing.T) {
	good := shot(1, 500)
	film := append(bytes.Clone(good), "....ftypmp42"...)
	zeros := append(bytes.Clone(good), 0, 0, 0)
	for name, tt := range map[string]struct {
		in   []byte
		want []byte // nil: refused
	}{
		"as it is":        {good, good},
		"zeros behind it": {zeros, zeros},
		"film behind it":  {film, good},
		"largest":         {resized(good, 16384, 4096), resized(good, 16384, 4096)},
		"too wide":        {resized(good, 16385, 1), nil},
		"too high":        {resized(good, 1, 16385), nil},
		"too many pixels": {resized(good, 8193, 8192), nil},
		"no size":         {resized(good, 0, 10), nil},
		"no end":          {good[:len(good)-1], nil},
		"no beginning":    {good[2:], nil},
		"empty":           {nil, nil},
	} {
		p, err := parse(tt.in)
		if (err == nil) != (tt.want != nil) || !bytes.Equal(p.data, tt.want) {
			t.Errorf("%s: %d bytes, %v", name, len(p.data), err)
		}
	}
}

func TestSlurp(t *testing.T) {
	data := make([]byte, 100_000)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	for _, expect := range []int{0, 1, 50_000, 100_000, 1 << 30} {
		for _, limit := range []int{100_000, 200_000} {
			b, err := slurp(iotest.DataErrReader(bytes.NewReader(data)), expect, limit)
			if err != nil || !bytes.Equal(b, data) {
				t.Errorf("%d of %d: %d bytes, %v", expect, limit, len(b), err)
			}
			if cap(b)-len(b) > len(b)/tooRoomy+512 {
				t.Errorf("%d of %d: %d bytes kept for %d", expect, limit, cap(b), len(b))
			}
		}
		if _, err := slurp(bytes.NewReader(data), expect, 99_999); !errors.Is(err, errTooLarge) {
			t.Errorf("%d: %v", expect, err)
		}
	}
	if _, err := slurp(iotest.ErrReader(io.ErrClosedPipe), 0, 10); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(shot(1, 0))
	f.Add(append(shot(1, 0), "film"...))
	f.Add(shot(1, 0)[:100])
	f.Add([]byte{0xff, 0xd8, 0xff, 0xd9})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		p, err := parse(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			return
		}
		w, h, err := codec.JPEGSize(p.data)
		if err != nil || w != p.width || h != p.height || w > maxSide || h > maxSide || w*h > maxPixels || !bytes.HasPrefix(b, p.data) || !codec.JPEGComplete(p.data) {
			t.Fatalf("%dx%d, %v", w, h, err)
		}
	})
}

func FuzzForm(f *testing.F) {
	add := func(fields ...field) {
		_, b := encodeForm(fields...)
		// One boundary for all.
		boundary, _, _ := strings.Cut(string(b[2:]), "\r\n")
		f.Add(bytes.ReplaceAll(b, []byte(boundary), []byte("x")))
	}
	add(id("cam"), pic(shot(1, 0)))
	add(pic(shot(1, 0)), other([]byte("words")), id("cam"))
	add(id("cam"), id("cam"))
	f.Add([]byte("--x\r\nContent-Disposition: form-data; name=image\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=FF=D8\r\n--x--"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 4096
		checked := ""
		fm := form{max: limit, check: func(id string) error {
			checked = id
			if !stream.ValidID(id) {
				return server.Errorf(400, "bad")
			}
			return nil
		}}
		err := fm.read(multipart.NewReader(bytes.NewReader(b), "x"))
		if len(fm.image) > limit || len(fm.id) > maxID || fm.id != checked {
			t.Fatalf("%d bytes, id %q, checked %q", len(fm.image), fm.id, checked)
		}
		if err == nil {
			if len(fm.image) == 0 || !stream.ValidID(fm.id) {
				t.Fatalf("%d bytes, id %q", len(fm.image), fm.id)
			}
			return
		}
		if status, _ := server.StatusOf(err); status != 400 && status != 413 {
			t.Fatalf("%d %v", status, err)
		}
	})
}
