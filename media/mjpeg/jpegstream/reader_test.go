package jpegstream

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// picture makes a JPEG that differs by n.
func picture(t testing.TB, n int) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 64, 48))
	for y := range 48 {
		for x := range 64 {
			m.SetGray(x, y, color.Gray{Y: uint8(x*n + y*7 + n*x*y)})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 60 + n%40}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withThumbnail puts a picture with its own EOI into a header segment.
func withThumbnail(t testing.TB, p, thumb []byte) []byte {
	t.Helper()
	n := len(thumb) + 2
	seg := append([]byte{0xff, 0xe1, byte(n >> 8), byte(n)}, thumb...)
	return slices.Concat(p[:2], seg, p[2:])
}

func readAll(r *Reader) (ps [][]byte, err error) {
	for {
		p, err := r.Next()
		if err != nil {
			return ps, err
		}
		ps = append(ps, p.Data)
	}
}

func section(eol, head string, length int, body []byte) []byte {
	var b bytes.Buffer
	b.WriteString(head)
	if length >= 0 {
		fmt.Fprintf(&b, "Content-Length: %d%s", length, eol)
	}
	b.WriteString(eol)
	b.Write(body)
	return b.Bytes()
}

func TestOddCameras(t *testing.T) {
	a, b, c := picture(t, 1), picture(t, 2), picture(t, 3)
	all := [][]byte{a, b, c}
	thumb := withThumbnail(t, a, b)
	cat := slices.Concat[[]byte]
	each := func(f func(p []byte) []byte) []byte { return cat(f(a), f(b), f(c)) }
	const crlf = "\r\n"
	for name, tc := range map[string]struct {
		boundary string
		body     []byte
		want     [][]byte
		dropped  uint64
	}{
		"as it should be": {"b", each(func(p []byte) []byte {
			return cat(section(crlf, "--b\r\nContent-Type: image/jpeg\r\n", len(p), p), []byte(crlf))
		}), all, 0},
		"no length": {"b", each(func(p []byte) []byte {
			return cat(section(crlf, "--b\r\nContent-Type: image/jpeg\r\n", -1, p), []byte(crlf))
		}), all, 0},
		"line feeds only": {"b", each(func(p []byte) []byte {
			return cat(section("\n", "--b\nContent-Type: image/jpeg\n", -1, p), []byte("\n"))
		}), all, 0},
		"boundary with dashes in the header only": {"--b", each(func(p []byte) []byte {
			return section(crlf, "b\r\nContent-Type: image/jpeg\r\n", len(p), p)
		}), all, 0},
		"boundary with dashes twice": {"--b", each(func(p []byte) []byte {
			return section(crlf, "----b\r\nContent-Type: image/jpeg\r\n", len(p), p)
		}), all, 0},
		"another boundary than announced": {"b", each(func(p []byte) []byte {
			return section(crlf, "--other\r\nContent-Type: image/jpeg\r\n", len(p), p)
		}), all, 0},
		"no boundary lines": {"b", each(func(p []byte) []byte {
			return section(crlf, "Content-Type: image/jpeg\r\n", len(p), p)
		}), all, 0},
		"no headers":               {"b", each(func(p []byte) []byte { return cat([]byte("--b\r\n\r\n"), p) }), all, 0},
		"no headers, no line":      {"b", each(func(p []byte) []byte { return cat([]byte("--b\r\n"), p) }), all, 0},
		"nothing but pictures":     {"", cat(a, b, c), all, 0},
		"pictures filled up":       {"", each(func(p []byte) []byte { return cat(p, make([]byte, 700)) }), all, 0},
		"a preamble":               {"b", cat([]byte("hello\r\nthis: is\r\n\r\n"), section(crlf, "--b\r\n", len(a), a)), [][]byte{a}, 0},
		"a long binary preamble":   {"b", cat(bytes.Repeat([]byte{1, 0xff, 0xd8}, 9000), a), [][]byte{a}, 1},
		"an empty line too many":   {"b", each(func(p []byte) []byte { return cat(section(crlf, "--b\r\n", len(p), []byte(crlf)), p) }), all, 0},
		"many headers":             {"b", section(crlf, "--b\r\nX-A: 1\r\nX-B: image\r\ncontent-type:image/jpg; q=1\r\n", len(a), a), [][]byte{a}, 0},
		"a length that is none":    {"b", cat([]byte("--b\r\nContent-Length: many\r\n\r\n"), a), [][]byte{a}, 0},
		"a negative length":        {"b", cat([]byte("--b\r\nContent-Length: -5\r\n\r\n"), a), [][]byte{a}, 0},
		"empty parts":              {"b", cat(section(crlf, "--b\r\n", 0, nil), section(crlf, "--b\r\n", len(a), a)), [][]byte{a}, 0},
		"closed and opened again":  {"b", cat(section(crlf, "--b\r\n", len(a), a), []byte("\r\n--b--\r\n--b\r\n\r\n"), b), [][]byte{a, b}, 0},
		"a thumbnail inside":       {"", cat(thumb, b), [][]byte{thumb, b}, 0},
		"a thumbnail, with length": {"b", section(crlf, "--b\r\n", len(thumb), thumb), [][]byte{thumb}, 0},
		"other parts between": {"b", cat(
			section(crlf, "--b\r\nContent-Type: text/xml\r\n", 5, []byte("<a/>\n")), section(crlf, "--b\r\n", len(a), a),
			section(crlf, "--b\r\nContent-Type: text/plain\r\n", -1, []byte("motion: yes\r\n\r\n")), section(crlf, "--b\r\n", len(b), b)), [][]byte{a, b}, 0},
		"cut off, without length":    {"b", cat([]byte("--b\r\n\r\n"), a[:len(a)-20], []byte("\r\n--b\r\n\r\n"), b), [][]byte{b}, 1},
		"cut off in its header":      {"b", cat([]byte("--b\r\n\r\n"), a[:50], []byte("\r\n--b\r\n\r\n"), b, c), [][]byte{b, c}, 1},
		"cut off, with length":       {"b", cat(section(crlf, "--b\r\n", len(a)-20, a[:len(a)-20]), []byte(crlf), section(crlf, "--b\r\n", len(b), b)), [][]byte{b}, 1},
		"lengths that are too short": {"b", cat(bytes.Repeat(section(crlf, "--b\r\n", len(a)-9, a), 3), section(crlf, "--b\r\n", 9, b)), [][]byte{b}, 3},
		"end within a picture":       {"b", cat(section(crlf, "--b\r\n", len(a), a), section(crlf, "--b\r\n", len(b), b[:100])), [][]byte{a}, 0},
		"nothing":                    {"b", nil, nil, 0},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"at once":      func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				body := bytes.Clone(tc.body)
				r := New(wrap(bytes.NewReader(body)), tc.boundary, 0)
				got, err := readAll(r)
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("error %v", err)
				}
				if !slices.EqualFunc(got, tc.want, bytes.Equal) {
					t.Errorf("%d pictures, want %d (or they are others)", len(got), len(tc.want))
				}
				if r.Dropped() != tc.dropped {
					t.Errorf("%d dropped, want %d", r.Dropped(), tc.dropped)
				}
				if !bytes.Equal(body, tc.body) {
					t.Error("the input was written to")
				}
			})
		}
	}
}

// TestNoWaiting proves that a picture is handed out with its last byte.
func TestNoWaiting(t *testing.T) {
	a := picture(t, 1)
	for name, body := range map[string][]byte{
		"plain":       a,
		"no length":   section("\r\n", "--b\r\n", -1, a),
		"with length": section("\r\n", "--b\r\n", len(a), a),
	} {
		t.Run(name, func(t *testing.T) {
			tooMuch := errors.New("it read on")
			r := New(io.MultiReader(bytes.NewReader(body), iotest.ErrReader(tooMuch)), "b", 0)
			if p, err := r.Next(); err != nil || !bytes.Equal(p.Data, a) {
				t.Fatalf("got %d bytes, %v", len(p.Data), err)
			}
			if _, err := r.Next(); !errors.Is(err, tooMuch) {
				t.Fatalf("error %v", err)
			}
		})
	}
}

func TestTimestamp(t *testing.T) {
	a := picture(t, 1)
	for in, want := range map[string]time.Time{
		"1700000000.250000": time.Unix(1700000000, 250000000),
		"12345.5":           time.Unix(12345, 500000000),
		"-1":                {}, "NaN": {}, "Inf": {}, "1e300": {}, "soon": {}, "": {}, "0": {},
	} {
		r := New(bytes.NewReader(section("\r\n", "--b\r\nX-Timestamp: "+in+"\r\n", len(a), a)), "b", 0)
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !p.Timestamp.Truncate(time.Microsecond).Equal(want) {
			t.Errorf("%q: %v, want %v", in, p.Timestamp, want)
		}
	}
}

// endless gives b for ever and counts.
type endless struct {
	b []byte
	n int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e.b)
	}
	e.n += n
	return n, nil
}

func TestLimits(t *testing.T) {
	const limit = 100_000
	a := picture(t, 1)
	for name, tc := range map[string]struct {
		head string
		then []byte
		want error
		most int // bytes that may be read to find out
		says string
	}{
		"announced too large": {"--b\r\nContent-Length: 100001\r\n\r\n", []byte{0}, ErrTooLarge, limit, "100001"},
		"absurd length":       {"--b\r\nContent-Length: 9223372036854775807\r\n\r\n", []byte{0}, ErrTooLarge, limit, ""},
		"no end":              {"--b\r\n\r\n" + string(a[:len(a)-2]), []byte{0}, ErrTooLarge, 3 * limit, "no end"},
		"no line end":         {"", []byte{'x'}, ErrNoPicture, 3 * limit, ""},
		"only lines":          {"", []byte("hello\n"), ErrNoPicture, 3 * limit, ""},
		"only empty lines":    {"--b\r\nContent-Length: 5\r\n\r\n", []byte("\r\n"), ErrNoPicture, 3 * limit, ""},
		"only empty parts":    {"", []byte("--b\r\nContent-Length: 0\r\n\r\n"), ErrNoPicture, 3 * limit, ""},
		"only other parts":    {"", []byte("--b\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\n\x89PNG\r\n"), ErrNoPicture, 3 * limit, "image/png"},
		"large other part":    {"", []byte("--b\r\nContent-Type: video/mp4\r\nContent-Length: 400000000\r\n\r\n"), ErrNoPicture, 3 * limit, "video/mp4"},
		"only broken ones":    {"", []byte{0xff, 0xd8, 0xff, 0, '\n'}, ErrNoPicture, 3 * limit, ""},
	} {
		t.Run(name, func(t *testing.T) {
			src := &endless{b: tc.then}
			r := New(io.MultiReader(strings.NewReader(tc.head), src), "b", limit)
			_, err := r.Next()
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if src.n > tc.most {
				t.Errorf("%d bytes read to find that out", src.n)
			}
			if len(r.buf) > 2*(limit+maxLine) {
				t.Errorf("buffer of %d bytes", len(r.buf))
			}
		})
	}
}

func TestNoProgress(t *testing.T) {
	stuck := readFunc(func([]byte) (int, error) { return 0, nil })
	if _, err := New(stuck, "", 0).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestEnd(t *testing.T) {
	a := picture(t, 1)
	thumb := withThumbnail(t, a, picture(t, 2))
	for name, tc := range map[string]struct {
		in []byte
		n  int
		ok bool
	}{
		"whole":                       {a, len(a), true},
		"something behind":            {append(bytes.Clone(a), "more"...), len(a), true},
		"without end":                 {a[:len(a)-1], 0, false},
		"only the thumbnail is there": {thumb[:len(thumb)-len(a)+2], 0, false},
		"with thumbnail":              {thumb, len(thumb), true},
		"empty":                       {nil, 0, false},
		"no JPEG":                     {[]byte("GIF89a"), 0, false},
		"header only":                 {[]byte{0xff, 0xd8, 0xff, 0xd9}, 0, false},
	} {
		if n, ok := End(tc.in); n != tc.n && tc.ok || ok != tc.ok {
			t.Errorf("%s: %d, %v; want %d, %v", name, n, ok, tc.n, tc.ok)
		}
	}
}

func FuzzReader(f *testing.F) {
	a := picture(f, 1)
	f.Add("b", section("\r\n", "--b\r\nContent-Type: image/jpeg\r\n", len(a), a))
	f.Add("--b", section("\n", "--b\nX-Timestamp: 1.5\n", -1, a))
	f.Add("", append(bytes.Clone(a[:200]), a...))
	f.Add("b", section("\r\n", "--b\r\nContent-Type: text/xml\r\n", 3, []byte("<a>\r\n--b--\r\n")))
	f.Fuzz(func(t *testing.T, boundary string, in []byte) {
		const limit = 20_000
		once := New(bytes.NewReader(in), boundary, limit)
		got, err := readAll(once)
		if err == nil {
			t.Fatal("it never ends")
		}
		total := 0
		for _, p := range got {
			if !bytes.HasPrefix(p, soi[:2]) || len(p) > limit {
				t.Fatalf("picture of %d bytes, %x", len(p), p[:min(len(p), 4)])
			}
			total += len(p)
		}
		if total > len(in) {
			t.Fatal("more came out than went in")
		}
		// How the bytes arrive must not matter.
		again, _ := readAll(New(iotest.OneByteReader(bytes.NewReader(in)), boundary, limit))
		if !slices.EqualFunc(got, again, bytes.Equal) {
			t.Fatalf("%d pictures at once, %d byte by byte", len(got), len(again))
		}
	})
}
