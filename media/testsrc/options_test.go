package testsrc

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		source string
		want   Options
	}{
		{"test:", Options{}},
		{"test:?", Options{}},
		{"test:?width=1920&height=1080&fps=29.97&codec=raw&gop=0.5&bitrate=2500000&quality=60&pattern=bars&name=Front+door",
			Options{Width: 1920, Height: 1080, FPS: 29.97, Codec: "raw", GOP: 500 * time.Millisecond, Bitrate: 2500000, Quality: 60, Pattern: "bars", Name: "Front door"}},
	} {
		got, err := Parse(c.source)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.source, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for source, want := range map[string]string{
		"rtsp://x":                     `does not begin with "test:"`,
		"test:foo":                     "options begin with test:?",
		"test:?width=0":                `width "0" is not a number above 0`,
		"test:?width=wide":             `width "wide" is not a number above 0`,
		"test:?width=10":               "width 10 is outside 64 to 3840",
		"test:?width=640&height=99999": "height 99999 is outside 64 to 2160",
		"test:?width=640&fps=-1":       "fps -1 is outside 0.1 to 120",
		"test:?fps=NaN":                "fps NaN is outside",
		"test:?fps=1e99":               "fps 1e+99 is outside",
		"test:?codec=h265":             `unknown codec "h265": there are h264, raw, jpeg`,
		"test:?gop=0.01":               "gop 0.01 is outside 0.1 to 60 seconds",
		"test:?gop=NaN":                `gop "NaN" is outside`,
		"test:?bitrate=5":              "bitrate 5 is outside 50000",
		"test:?quality=101":            "quality 101 is outside 1 to 100",
		"test:?pattern=zebra":          `unknown pattern "zebra"`,
		"test:?color=red":              `unknown option "color": there are width, height`,
		"test:?width=%zz":              "invalid URL escape",
	} {
		if _, err := Parse(source); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("test:?width=640&height=360&fps=15&codec=raw&gop=2&bitrate=800000&pattern=bars&name=x")
	f.Add("test:?fps=NaN&gop=Inf")
	f.Add("test:")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := Parse(s)
		if err != nil {
			return
		}
		if o, err = o.withDefaults(); err != nil {
			t.Fatalf("parsed, but %v", err)
		}
		if o.Width < minSide || o.Height < minSide || o.Width&1 != 0 || o.Height&1 != 0 || !(o.FPS > 0) || o.GOP <= 0 {
			t.Fatalf("%+v", o)
		}
	})
}
