package testsrc

import (
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"camwire/media/worker"
)

// Options of a test source. The zero value is the default test picture.
type Options struct {
	// Width and Height in pixels, 64 to 3840 and 64 to 2160; odd sizes are
	// rounded down. Default 1280x720.
	Width, Height int
	// FPS in pictures per second, above 0 to 120; default 30.
	FPS float64
	// Codec is what the source delivers: "h264" (default) and "jpeg" are
	// encoded in a worker process, "raw" are I420 planes.
	Codec string
	// GOP is the time between two key frames of h264, 100 ms to 60 s;
	// default 2 s. They are also made on demand.
	GOP time.Duration
	// Bitrate of h264 in bit/s, 50,000 to 50,000,000; default by size,
	// 2.5 Mbit/s at 1280x720.
	Bitrate int
	// Quality of jpeg, 1 to 100; default 80.
	Quality int
	// Pattern is the background: "gradient" (default), "bars" or "plain".
	Pattern string
	// Name is written into the picture; default "Camwire".
	Name string

	// Log takes what is worth knowing; default: nothing.
	Log *slog.Logger
	// Worker says how the encoder's process is run.
	Worker worker.Options
}

// Bounds of the options.
const (
	minSide, maxWidth, maxHeight = 64, 3840, 2160
	maxFPS                       = 120
	maxName                      = 40
)

var (
	codecs   = []string{"h264", "raw", "jpeg"}
	patterns = []string{"gradient", "bars", "plain"}
)

// Parse reads a source as it is written in the configuration:
//
//	test:
//	test:?width=640&height=360&fps=15&codec=h264|raw|jpeg&gop=2&bitrate=800000&quality=80&pattern=gradient|bars|plain&name=Door
//
// Gop is in seconds. The result still needs a Log and a Worker.
func Parse(source string) (Options, error) {
	var o Options
	rest, ok := strings.CutPrefix(source, "test:")
	if !ok {
		return o, fmt.Errorf("test picture: source %q does not begin with \"test:\" as it must", source)
	}
	query, ok := strings.CutPrefix(rest, "?")
	if !ok && rest != "" {
		return o, fmt.Errorf("test picture: %q: options begin with test:? as in test:?width=640&height=360", source)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return o, fmt.Errorf("test picture: %q: %w", source, err)
	}
	for key, list := range values {
		if err := o.set(key, list[len(list)-1]); err != nil {
			return o, err
		}
	}
	_, err = o.withDefaults()
	return o, err
}

func (o *Options) set(key, value string) error {
	var err error
	number := func(p *int) {
		if *p, err = strconv.Atoi(value); err == nil && *p == 0 {
			err = strconv.ErrRange // zero would silently mean the default
		}
	}
	float := func(p *float64) {
		if *p, err = strconv.ParseFloat(value, 64); err == nil && *p == 0 {
			err = strconv.ErrRange
		}
	}
	switch key {
	case "width":
		number(&o.Width)
	case "height":
		number(&o.Height)
	case "fps":
		float(&o.FPS)
	case "bitrate":
		number(&o.Bitrate)
	case "quality":
		number(&o.Quality)
	case "gop":
		var s float64
		if float(&s); err == nil {
			if !(s > 0 && s <= 3600) {
				return fmt.Errorf("test picture: gop %q is outside 0.1 to 60 seconds", value)
			}
			o.GOP = time.Duration(s * float64(time.Second))
		}
	case "codec":
		o.Codec = value
	case "pattern":
		o.Pattern = value
	case "name":
		o.Name = value
	default:
		return fmt.Errorf("test picture: unknown option %q: there are width, height, fps, codec, gop, bitrate, quality, pattern and name", key)
	}
	if err != nil {
		return fmt.Errorf("test picture: %s %q is not a number above 0", key, value)
	}
	return nil
}

// withDefaults checks the options and fills in what is not set.
func (o Options) withDefaults() (Options, error) {
	if o.Width == 0 && o.Height == 0 {
		o.Width, o.Height = 1280, 720
	}
	if o.Width == 0 {
		o.Width = o.Height * 16 / 9
	}
	if o.Height == 0 {
		o.Height = o.Width * 9 / 16
	}
	if o.FPS == 0 {
		o.FPS = 30
	}
	if o.Codec == "" {
		o.Codec = "h264"
	}
	if o.GOP == 0 {
		o.GOP = 2 * time.Second
	}
	if o.Quality == 0 {
		o.Quality = 80
	}
	if o.Pattern == "" {
		o.Pattern = "gradient"
	}
	if o.Name == "" {
		o.Name = "Camwire"
	}
	if name := []rune(o.Name); len(name) > maxName {
		o.Name = string(name[:maxName-1]) + "…"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Width < minSide || o.Width > maxWidth:
		return o, fmt.Errorf("test picture: width %d is outside %d to %d", o.Width, minSide, maxWidth)
	case o.Height < minSide || o.Height > maxHeight:
		return o, fmt.Errorf("test picture: height %d is outside %d to %d", o.Height, minSide, maxHeight)
	case !(o.FPS >= 0.1 && o.FPS <= maxFPS):
		return o, fmt.Errorf("test picture: fps %g is outside 0.1 to %d", o.FPS, maxFPS)
	case !slices.Contains(codecs, o.Codec):
		return o, fmt.Errorf("test picture: unknown codec %q: there are %s", o.Codec, strings.Join(codecs, ", "))
	case o.GOP < 100*time.Millisecond || o.GOP > time.Minute:
		return o, fmt.Errorf("test picture: gop %g is outside 0.1 to 60 seconds", o.GOP.Seconds())
	case o.Bitrate != 0 && (o.Bitrate < 50_000 || o.Bitrate > 50_000_000):
		return o, fmt.Errorf("test picture: bitrate %d is outside 50000 to 50000000", o.Bitrate)
	case o.Quality < 1 || o.Quality > 100:
		return o, fmt.Errorf("test picture: quality %d is outside 1 to 100", o.Quality)
	case !slices.Contains(patterns, o.Pattern):
		return o, fmt.Errorf("test picture: unknown pattern %q: there are %s", o.Pattern, strings.Join(patterns, ", "))
	}
	o.Width, o.Height = o.Width&^1, o.Height&^1
	return o, nil
}
