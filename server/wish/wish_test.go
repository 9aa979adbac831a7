package wish

import (
	"net/url"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Wish{
		"": {}, "width=640&quality=50&fps=2.5": {Width: 640, Quality: 50, Interval: 400 * time.Millisecond},
	} {
		v, err := url.ParseQuery(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Parse(v); err != nil || got != want {
			t.Errorf("%q: %+v %v", in, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "width=640&quality=50&fps=10", "fps=NaN", "fps=-0", "fps=1e-9", "width=0x10", "quality=%00", "a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		v, _ := url.ParseQuery(raw)
		w, err := Parse(v)
		if err != nil {
			if len(err.Error()) > 400 {
				t.Errorf("error of %d bytes", len(err.Error()))
			}
			return
		}
		if w.Width != 0 && (w.Width < minWidth || w.Width > maxWidth) || w.Quality < 0 || w.Quality > 100 ||
			w.Interval < 0 || w.Interval > 101*time.Second {
			t.Errorf("%q: %+v", raw, w)
		}
	})
}
