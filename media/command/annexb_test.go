package command

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// byteStream writes units with start codes, the first of each with four bytes.
func byteStream(units ...[]byte) []byte {
	var b []byte
	for i, u := range units {
		if i == 0 {
			b = append(b, 0)
		}
		b = append(append(b, 0, 0, 1), u...)
	}
	return b
}

// slice264 makes a unit that looks like a slice.
func slice264(first bool, n int) []byte {
	b := bytes.Repeat([]byte{0x5a}, max(n, 3))
	b[0], b[1] = 0x41, 0x40
	if first {
		b[1] = 0x9a
	}
	return b
}

func slice265(first bool, n int) []byte {
	b := bytes.Repeat([]byte{0x5a}, max(n, 4))
	b[0], b[1], b[2] = 0x02, 0x01, 0x40
	if first {
		b[2] = 0xd0
	}
	return b
}

// say writes access units for people.
func say(aus [][][]byte) string {
	var s []string
	for _, au := range aus {
		var u []string
		for _, n := range au {
			u = append(u, fmt.Sprintf("%x/%d", n[0], len(n)))
		}
		s = append(s, strings.Join(u, " "))
	}
	return strings.Join(s, "; ")
}

func TestSplitter(t *testing.T) {
	aud, sei, filler := []byte{0x09, 0xf0, 0x80}, []byte{0x06, 1, 2, 3}, []byte{0x0c, 0xff, 0x80}
	aud5, sfx5 := []byte{0x46, 0x01, 0x50}, []byte{0x50, 0x01, 9, 9}
	vps5, sps5, pps5 := []byte{0x40, 1, 1}, []byte{0x42, 1, 1}, []byte{0x44, 1, 1}
	for name, c := range map[string]struct {
		is265 bool
		in    []byte
		want  string
	}{
		"plain":        {in: byteStream(sps264, pps264, slice264(true, 50), slice264(true, 30), slice264(true, 20)), want: "67/22 68/5 41/50; 41/30; 41/20"},
		"slices":       {in: byteStream(slice264(true, 50), slice264(false, 30), slice264(false, 9), slice264(true, 20), slice264(false, 8)), want: "41/50 41/30 41/9; 41/20 41/8"},
		"delimiters":   {in: byteStream(aud, slice264(true, 50), aud, slice264(true, 30)), want: "9/3 41/50; 9/3 41/30"},
		"messages":     {in: byteStream(sei, slice264(true, 50), filler, sei, slice264(true, 30)), want: "6/4 41/50 c/3; 6/4 41/30"},
		"sets twice":   {in: byteStream(sps264, sps264, pps264, slice264(true, 5), sps264, slice264(true, 5)), want: "67/22 67/22 68/5 41/5; 67/22 41/5"},
		"zeros behind": {in: append(byteStream(slice264(true, 50), append(slice264(true, 30), 0, 0, 0, 0)), byteStream(slice264(true, 7))...), want: "41/50; 41/30; 41/7"},
		"garbage":      {in: append([]byte("hello"), byteStream(slice264(true, 50))...), want: "41/50"},
		"no picture":   {in: byteStream(sps264, pps264), want: ""},
		"nothing":      {in: []byte{0, 0, 0, 0, 0, 0}, want: ""},
		"partitions":   {in: byteStream([]byte{0x42, 0x80, 1}, []byte{0x43, 0x80, 1}, []byte{0x44, 0x80, 1}, slice264(true, 5)), want: "42/3 43/3 44/3; 41/5"},
		"265": {is265: true, in: byteStream(vps5, sps5, pps5, slice265(true, 50), slice265(false, 20), sfx5, slice265(true, 30), aud5, slice265(true, 9)),
			want: "40/3 42/3 44/3 2/50 2/20 50/4; 2/30; 46/3 2/9"},
		"265 layers": {is265: true, in: byteStream(slice265(true, 50), []byte{0x02, 0x09, 0x80, 1}, slice265(true, 30)), want: "2/50 2/4; 2/30"},
	} {
		t.Run(name, func(t *testing.T) {
			var whole string
			for _, chunk := range []int{len(c.in), 1, 2, 3, 7, 64} {
				var got [][][]byte
				s := &splitter{is265: c.is265, emit: func(u [][]byte, _ time.Time) { got = append(got, u) }}
				for part := range slices.Chunk(c.in, max(chunk, 1)) {
					if err := s.push(part, time.Now()); err != nil {
						t.Fatal(err)
					}
				}
				s.finish()
				if whole = say(got); whole != c.want {
					t.Errorf("in pieces of %d: %s\nwant %s", chunk, whole, c.want)
				}
				if s.cuts != 0 {
					t.Errorf("%d cuts", s.cuts)
				}
			}
		})
	}
}

// TestPause proves what a pause does, and that one in the wrong place is found.
func TestPause(t *testing.T) {
	a, b, c := slice264(true, 50), slice264(true, 30), slice264(false, 20)
	pause := []byte("|")
	for name, tc := range map[string]struct {
		in   [][]byte
		want string
		cuts int
	}{
		"at the end":            {[][]byte{byteStream(sps264, pps264, a), pause, byteStream(b), pause}, "67/22 68/5 41/50; 41/30", 0},
		"without need":          {[][]byte{pause, byteStream(a), pause, pause, byteStream(b), pause}, "41/50; 41/30", 0},
		"before a slice":        {[][]byte{byteStream(sps264, pps264), pause, byteStream(a), pause}, "67/22 68/5 41/50", 0},
		"in a start code":       {[][]byte{byteStream(a), {0, 0}, pause, {0, 1}, b, pause}, "41/50; 41/30", 0},
		"in a header":           {[][]byte{byteStream(a), {0, 0, 1, 0x41}, pause, b[1:], pause}, "41/50; 41/30", 0},
		"behind a filler":       {[][]byte{byteStream(a, []byte{12, 0xff, 0x80}), pause, byteStream(b), pause}, "41/50 c/3; 41/30", 0},
		"before a filler":       {[][]byte{byteStream(a), pause, byteStream([]byte{12, 0xff, 0x80}), byteStream(b), pause}, "41/50; 41/30", 0},
		"in a picture":          {[][]byte{byteStream(a)[:20], pause, byteStream(a)[20:], byteStream(b), pause}, "41/16; 41/30", 1},
		"between two slices":    {[][]byte{byteStream(a), pause, byteStream(c), byteStream(c), byteStream(b), pause}, "41/50; 41/30", 1},
		"in a slice, then more": {[][]byte{byteStream(a)[:20], pause, byteStream(a)[20:], byteStream(c), pause, byteStream(b, c), pause}, "41/16; 41/30 41/20", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var got [][][]byte
			s := &splitter{emit: func(u [][]byte, _ time.Time) { got = append(got, u) }}
			for _, part := range tc.in {
				if bytes.Equal(part, pause) {
					s.flush()
				} else if err := s.push(part, time.Now()); err != nil {
					t.Fatal(err)
				}
			}
			if say(got) != tc.want || s.cuts != tc.cuts {
				t.Errorf("%s, %d cuts\nwant %s, %d", say(got), s.cuts, tc.want, tc.cuts)
			}
		})
	}
}

// TestArrival proves that a picture has the time of its own last byte, not that
// of the next picture's first one.
func TestArrival(t *testing.T) {
	var at []int64
	s := &splitter{emit: func(_ [][]byte, when time.Time) { at = append(at, when.Unix()) }}
	push := func(sec int64, b []byte) {
		if err := s.push(b, time.Unix(sec, 0)); err != nil {
			t.Fatal(err)
		}
	}
	push(1, byteStream(slice264(true, 20))[:10])
	push(2, byteStream(slice264(true, 20))[10:])
	push(3, byteStream(slice264(true, 20), slice264(true, 30)))
	push(4, []byte{0x77})
	s.flush()
	if !slices.Equal(at, []int64{2, 3, 4}) {
		t.Errorf("arrived at %v", at)
	}
}

func TestSplitterLimits(t *testing.T) {
	s := &splitter{emit: func([][]byte, time.Time) { t.Error("a picture") }}
	var err error
	block := bytes.Repeat([]byte{1}, 1<<20)
	if err = s.push(byteStream(slice264(true, 3)), time.Now()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil && n < 100; n++ {
		err = s.push(block, time.Now())
	}
	if !errors.Is(err, ErrTooLarge) || n > maxUnit>>20+1 {
		t.Errorf("%v after %d MiB", err, n)
	}

	s = &splitter{emit: func([][]byte, time.Time) { t.Error("a picture") }}
	for n, err = 0, nil; err == nil && n < 100; n++ { // garbage is not kept
		if err = s.push(block, time.Now()); cap(s.cur) > 4<<20 {
			t.Fatalf("%d bytes kept of nothing", cap(s.cur))
		}
	}
	if err != nil {
		t.Error(err)
	}

	s = &splitter{emit: func([][]byte, time.Time) { t.Error("a picture") }}
	many := bytes.Repeat(byteStream([]byte{6, 1, 2}), 100)
	for n, err = 0, nil; err == nil && n < 100; n++ {
		err = s.push(many, time.Now())
	}
	if !errors.Is(err, ErrTooLarge) || n > maxNALs/100+1 {
		t.Errorf("%v after %d units", err, n*100)
	}
}

// TestNoFrameOfDelay proves that a picture does not wait for the next one.
func TestNoFrameOfDelay(t *testing.T) {
	e, w, k := plumb(t)
	done := make(chan error, 1)
	go func() { done <- e.annexB(false) }()
	for i := range 5 {
		au := byteStream(slice264(true, 1000+i))
		if i == 0 {
			au = byteStream(sps264, pps264, slice264(true, 1000))
		}
		_, err := w.Write(au)
		must(t, 0, err)
		f := k.next(t)
		if n := len(f.Units[len(f.Units)-1]); n != 1000+i {
			t.Errorf("picture %d of %d bytes", i, n)
		}
	}
	// A block that somebody's buffer has cut is waited for.
	big := byteStream(slice264(true, 2*blockSize))
	_, err := w.Write(big[:blockSize])
	must(t, 0, err)
	_, err = w.Write(big[blockSize:])
	must(t, 0, err)
	if f := k.next(t); len(f.Units[0]) != 2*blockSize {
		t.Errorf("a picture of %d bytes was cut at %d", 2*blockSize, len(f.Units[0]))
	}
	w.Close()
	if err := <-done; !over(err) {
		t.Error(err)
	}
}

func FuzzSplitter(f *testing.F) {
	f.Add(false, uint64(1), byteStream(sps264, pps264, slice264(true, 20), slice264(false, 5), slice264(true, 3)))
	f.Add(true, uint64(2), byteStream([]byte{0x40, 1, 1}, slice265(true, 20), slice265(true, 5)))
	f.Add(false, uint64(3), []byte{0, 0, 1, 0, 0, 1, 0x65, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, is265 bool, seed uint64, in []byte) {
		split := func(pieces bool, pauses bool) (aus [][][]byte, size int) {
			random := rand.New(rand.NewPCG(seed, 1))
			s := &splitter{is265: is265, emit: func(u [][]byte, _ time.Time) {
				if len(u) == 0 {
					t.Fatal("an empty access unit")
				}
				for _, n := range u {
					if len(n) == 0 || n[len(n)-1] == 0 || bytes.Contains(n, startCode) {
						t.Fatalf("unit %x", n)
					}
					size += len(n)
				}
				aus = append(aus, u)
			}}
			for rest := in; len(rest) > 0; {
				n := len(rest)
				if pieces {
					n = 1 + random.IntN(n)
				}
				if err := s.push(rest[:n], time.Now()); err != nil {
					return aus, size
				}
				rest = rest[n:]
				if pauses && random.IntN(2) == 0 {
					s.flush()
				}
			}
			s.finish()
			return aus, size
		}
		once, size := split(false, false)
		if size > len(in) {
			t.Fatal("more came out than went in")
		}
		if again, _ := split(true, false); say(once) != say(again) {
			t.Fatalf("at once %s\nin pieces %s", say(once), say(again))
		}
		if _, size := split(true, true); size > len(in) {
			t.Fatal("more came out than went in")
		}
	})
}
