package rtsp

import (
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
