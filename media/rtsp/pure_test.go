package rtsp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMaskURL(t *testing.T) {
	for in, want := range map[string]string{
		"rtsp://10.0.0.1/a":                                 "rtsp://10.0.0.1/a",
		"rtsp://u:p@10.0.0.1/a":                             "rtsp://u:***@10.0.0.1/a",
		"rtsp://u:p@ss@w:rd@10.0.0.1:554/a?b=1":             "rtsp://u:***@10.0.0.1:554/a?b=1",
		"rtsp://u@10.0.0.1/a":                               "rtsp://u@10.0.0.1/a",
		"rtsp://h/a?token=abc&x=1":                          "rtsp://h/a?token=***&x=1",
		"rtsp://h/user=admin_password=tlJwpbo6_channel=1":   "rtsp://h/user=admin_password=***_channel=1",
		"rtsp://h/cam?user=a&Pwd=secret&stream=0":           "rtsp://h/cam?user=a&Pwd=***&stream=0",
		"no URL: u:p%zz@h":                                  "no URL: u:p%zz@h",
		"rtsp://u:p%zz@h/":                                  "rtsp://u:***@h/",
		"rtsp://admin:a/b#c@192.168.1.2/Streaming/channels": "rtsp://admin:***@192.168.1.2/Streaming/channels",
	} {
		if got := MaskURL(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestNewChecksTheURL(t *testing.T) {
	for _, u := range []string{
		"", "cam", "http://h/a", "rtsp:///a", "rtsp://", "rtsp://u:s3cret%zz@h/a", "rtsp://u:s3cret#x@h/a",
		"rtsp://h/a#fragment", "RTSP//s3cret", "rtsp://u:s3cret@/a",
	} {
		_, err := New(Options{URL: u})
		if !errors.Is(err, ErrURL) {
			t.Errorf("%q: %v", u, err)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error holds the password: %v", u, err)
		}
	}
	if _, err := New(Options{URL: "rtsp://h/a", Transport: "pigeon"}); err == nil {
		t.Error("a transport that does not exist")
	}
	for u, host := range map[string]string{
		"rtsp://10.0.0.1/a": "10.0.0.1:554", "rtsps://cam:9/a": "cam:9", "rtsps://cam": "cam:322",
		"rtsp://[fe80::1]/x": "[fe80::1]:554", "rtsp://u:p%40ss@h/": "h:554",
	} {
		s, err := New(Options{URL: u})
		if err != nil || s.host != host {
			t.Errorf("%q: %v, %v", u, s, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, s := range []string{"rtsp://u:p@h:554/a?token=x", "rtsps://[::1]/", "rtsp://%", "://:@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := MaskURL(s)
		if MaskURL(once) != once {
			t.Errorf("%q: masking is not stable: %q", s, once)
		}
		if src, err := New(Options{URL: s}); err == nil && src.url.Hostname() == "" {
			t.Errorf("%q: no host", s)
		}
	})
}

func TestThrottle(t *testing.T) {
	var th Throttle
	now := time.Unix(1, 0)
	for _, c := range []struct {
		after time.Duration
		n     uint64
		sum   uint64
		due   bool
	}{
		{0, 1, 1, true}, {100 * time.Millisecond, 2, 2, false}, {800 * time.Millisecond, 3, 5, false},
		{100 * time.Millisecond, 1, 6, true}, {time.Hour, 1, 1, true},
	} {
		now = now.Add(c.after)
		if sum, due := th.Add(now, c.n); sum != c.sum || due != c.due {
			t.Errorf("%v: got %d %v, want %d %v", c.after, sum, due, c.sum, c.due)
		}
	}
}

func TestGuard(t *testing.T) {
	type packet struct {
		seq    uint16
		ts     uint32
		marker bool
		want   verdict
	}
	for name, ps := range map[string][]packet{
		"in order, over the wrap": {
			{65534, 1, false, verdict{}}, {65535, 1, true, verdict{}}, {0, 2, true, verdict{}}, {1, 3, false, verdict{}},
		},
		"hole in a picture: the rest of it is dropped": {
			{1, 10, false, verdict{}}, {3, 10, false, verdict{Lost: 1, Cut: true, Drop: true}},
			{4, 10, true, verdict{Drop: true}}, {5, 11, true, verdict{}},
		},
		"end of a picture lost": {
			{1, 10, false, verdict{}}, {4, 11, false, verdict{Lost: 2, Cut: true}}, {5, 11, true, verdict{}},
		},
		"whole pictures lost": {
			{1, 10, true, verdict{}}, {9, 15, true, verdict{Lost: 7}}, {10, 16, true, verdict{}},
		},
		"hole over the wrap": {
			{65535, 10, false, verdict{}}, {1, 10, true, verdict{Lost: 1, Cut: true, Drop: true}},
		},
		"sent twice": {
			{5, 10, false, verdict{}}, {5, 10, false, verdict{Cut: true}},
		},
	} {
		var g guard
		for i, p := range ps {
			if got := g.packet(p.seq, p.ts, p.marker); got != p.want {
				t.Errorf("%s, packet %d: got %+v, want %+v", name, i, got, p.want)
			}
		}
	}
	var g guard
	g.packet(1, 10, false)
	g.giveUp(10)
	if !g.packet(2, 10, false).Drop || g.packet(3, 11, false).Drop {
		t.Error("giveUp must drop exactly the rest of that timestamp")
	}
}

func TestWithoutSize(t *testing.T) {
	for _, c := range []struct{ in, want []byte }{
		{nil, nil},
		{[]byte{0x30, 1, 2}, []byte{0x30, 1, 2}},          // has none
		{[]byte{0x32, 2, 1, 2}, []byte{0x30, 1, 2}},       // one byte of size
		{[]byte{0x36, 8, 1, 7}, []byte{0x34, 8, 7}},       // with extension
		{[]byte{0x32, 0x82, 0, 1, 2}, []byte{0x30, 1, 2}}, // two bytes of size
		{[]byte{0x32, 1, 1, 2, 3}, []byte{0x30, 1}},       // something behind
		{[]byte{0x32, 9, 1}, []byte{0x30, 1}},             // too long: what is there
		{[]byte{0x32}, nil},
		{[]byte{0x36, 1}, nil},
	} {
		in := bytes.Clone(c.in)
		if got := withoutSize(in); !bytes.Equal(got, c.want) {
			t.Errorf("%x: got %x, want %x", c.in, got, c.want)
		}
		if !bytes.Equal(in, c.in) {
			t.Errorf("%x: input modified", c.in)
		}
	}
}

func FuzzWithoutSize(f *testing.F) {
	f.Add([]byte{0x32, 2, 1, 2})
	f.Add([]byte{0x36, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := withoutSize(b); len(got) > len(b) || len(got) > 0 && len(b) > 0 && b[0]&2 != 0 && got[0]&2 != 0 {
			t.Errorf("%x: %x", b, got)
		}
	})
}

func TestDuration(t *testing.T) {
	for _, c := range []struct {
		ticks, rate int64
		want        time.Duration
	}{
		{90000, 90000, time.Second}, {-45000, 90000, -500 * time.Millisecond}, {1, 0, 0},
		{90000 * 86400 * 3650, 90000, 3650 * 24 * time.Hour},
	} {
		if got := duration(c.ticks, c.rate); got != c.want {
			t.Errorf("%d/%d: %v, want %v", c.ticks, c.rate, got, c.want)
		}
	}
}
