// Package metrics tells Prometheus how the server and its cameras are. It keeps
// no figures of its own: whenever somebody asks, it looks at the registry and at
// what its options give it. Labels are ids of cameras and words of this program;
// nothing that a stranger can invent becomes one.
//
// Drawing and alarms do not belong here; a dashboard is in cmd/camwire/deploy.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Link is how one WebRTC viewer receives a camera.
type Link struct {
	Camera string
	// Lost is the fraction of packets that did not arrive lately, 0 to 1.
	Lost float64
	// RTT is the round trip, zero while unknown.
	RTT time.Duration
}

// Codec says what codec work goes on.
type Codec struct {
	// Processes there are now, and how many were started so far.
	Processes int
	Started   uint64
	// Cameras that are being decoded now.
	Cameras int
}

// Options of a Handler. Functions may be nil: what they would tell is left out.
type Options struct {
	// Registry holds the cameras; required.
	Registry *stream.Registry
	// Version of the program.
	Version string
	// Links of all WebRTC viewers.
	Links func() []Link
	// Codec work.
	Codec func() Codec
	// Sessions that are open, by kind: http, websocket, webrtc, rtsp, ….
	Sessions func() map[string]int
	// Refused requests and connections, by the name of the limit.
	Refused func() map[string]uint64
	// Log gets scrapes that were broken off, at debug level; default none.
	Log *slog.Logger
}

// Handler answers GET /metrics.
type Handler struct{ http http.Handler }

// New returns a handler. Registry is required.
func New(o Options) *Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&collector{o},
	)
	return &Handler{promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	})}
}

// Routes returns the address. The figures are about all cameras and the machine:
// it takes admin, or view without a restriction to some cameras.
func (h *Handler) Routes() []server.Route {
	return []server.Route{{Method: http.MethodGet, Path: "/metrics", Perm: auth.View, Handler: h.serve}}
}

// everyCamera is no camera's id: only who may see all of them may see it.
const everyCamera = "*"

func (h *Handler) serve(c *gin.Context) {
	if !server.Identity(c).May(auth.View, everyCamera) {
		server.Fail(c, fmt.Errorf("%w: metrics tell about all cameras: this needs admin, or view for every camera", auth.ErrForbidden))
		return
	}
	c.Header("Cache-Control", "no-store")
	h.http.ServeHTTP(c.Writer, c.Request)
}

// metric describes one family.
type metric struct {
	*prometheus.Desc
	typ prometheus.ValueType
}

func family(name, help string, typ prometheus.ValueType, labels ...string) metric {
	return metric{prometheus.NewDesc("camwire_"+name, help, labels, nil), typ}
}

// families are all that this package tells, beside Go's own and the process's.
type families struct {
	build                                                              metric
	state, fps, bitrate, frames, bytes, reconnects, age, viewers       metric
	loss, lossWorst, rttWorst, delay, dropped, decode, encode, picture metric
	sessions, processes, started, decoding, refused                    metric
}

func newFamilies() families {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return families{
		build:      family("build_info", "Version of Camwire; always 1.", gauge, "version", "go"),
		state:      family("camera_state", "1 for the state that the camera is in, 0 for the others.", gauge, "camera", "state"),
		fps:        family("camera_fps", "Frames per second that the source delivers.", gauge, "camera"),
		bitrate:    family("camera_bits_per_second", "Bits per second that the source delivers.", gauge, "camera"),
		frames:     family("camera_frames_total", "Frames that the source has delivered.", counter, "camera"),
		bytes:      family("camera_bytes_total", "Bytes that the source has delivered.", counter, "camera"),
		reconnects: family("camera_reconnects_total", "Times that the source ended or failed and was tried again.", counter, "camera"),
		age:        family("camera_last_frame_age_seconds", "Time since the last frame; left out before the first.", gauge, "camera"),
		viewers:    family("camera_viewers", "Viewers, by the way they watch.", gauge, "camera", "kind"),
		loss:       family("camera_webrtc_loss_ratio", "Fraction of packets lost in the last reports of the WebRTC viewers, on average.", gauge, "camera"),
		lossWorst:  family("camera_webrtc_loss_worst_ratio", "Fraction of packets lost in the last report of the worst WebRTC viewer.", gauge, "camera"),
		rttWorst:   family("camera_webrtc_rtt_worst_seconds", "Longest round trip to a WebRTC viewer.", gauge, "camera"),
		delay:      family("camera_delay_seconds", "Time from the capture of a frame to its sending, of frames sent live, by kind of viewer.", gauge, "camera", "kind"),
		dropped:    family("camera_dropped_frames_total", "Frames that viewers of a kind were too slow for.", counter, "camera", "kind"),
		decode:     family("camera_decode_seconds_total", "Time spent decoding.", counter, "camera"),
		encode:     family("camera_encode_seconds_total", "Time spent scaling and encoding.", counter, "camera"),
		picture:    family("camera_pictures_total", "Pictures that were decoded or encoded.", counter, "camera"),
		sessions:   family("sessions", "Connections and sessions that are open.", gauge, "kind"),
		processes:  family("codec_processes", "Processes that decode and encode.", gauge),
		started:    family("codec_process_starts_total", "Codec processes that were started for derived streams.", counter),
		decoding:   family("codec_cameras", "Cameras that are being decoded or encoded.", gauge),
		refused:    family("refused_total", "Requests and connections that were refused by a limit.", counter, "limit"),
	}
}

// collector reads everything anew at each scrape.
type collector struct{ o Options }

// Describe tells that there is nothing fixed to tell: cameras come and go.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	f := newFamilies()
	send := func(m metric, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.Desc, m.typ, v, labels...)
	}
	send(f.build, 1, clean(c.o.Version), runtime.Version())
	now := time.Now()
	known := map[string]bool{}
	for _, s := range c.o.Registry.List() {
		known[s.ID()] = true
		camera(f, s, now, send, out)
	}
	if c.o.Links != nil {
		links(f, c.o.Links(), known, send)
	}
	if c.o.Codec != nil {
		w := c.o.Codec()
		send(f.processes, float64(w.Processes))
		send(f.started, float64(w.Started))
		send(f.decoding, float64(w.Cameras))
	}
	if c.o.Sessions != nil {
		for kind, n := range c.o.Sessions() {
			send(f.sessions, float64(n), kind)
		}
	}
	if c.o.Refused != nil {
		for limit, n := range c.o.Refused() {
			send(f.refused, float64(n), limit)
		}
	}
}

type sender func(m metric, v float64, labels ...string)

func camera(f families, s *stream.Stream, now time.Time, send sender, out chan<- prometheus.Metric) {
	id, i, st := s.ID(), s.Info(), s.Stats()
	for _, state := range []stream.State{stream.Idle, stream.Connecting, stream.Live, stream.Lost, stream.Failed, stream.Disabled} {
		v := 0.0
		if i.State == state {
			v = 1
		}
		send(f.state, v, id, string(state))
	}
	send(f.fps, i.FPS, id)
	send(f.bitrate, float64(i.Bitrate), id)
	send(f.frames, float64(i.Frames), id)
	send(f.bytes, float64(i.Bytes), id)
	send(f.reconnects, float64(i.Restarts), id)
	if !i.LastFrame.IsZero() {
		send(f.age, max(now.Sub(i.LastFrame), 0).Seconds(), id)
	}
	// A kind that was there keeps its line at 0, or graphs would end in the air.
	viewers := i.Viewers
	for kind := range st.Delay {
		if _, there := viewers[kind]; !there {
			viewers[kind] = 0
		}
	}
	for kind, n := range viewers {
		send(f.viewers, float64(n), id, kind)
	}
	for kind, d := range st.Delay {
		buckets := make(map[float64]uint64, len(d.Below))
		for most, n := range d.Below {
			buckets[most.Seconds()] = n
		}
		out <- prometheus.MustNewConstHistogram(f.delay.Desc, d.Count, d.Sum.Seconds(), buckets, id, kind)
	}
	for kind, n := range st.Dropped {
		send(f.dropped, float64(n), id, kind)
	}
	send(f.decode, st.Decode.Seconds(), id)
	send(f.encode, st.Encode.Seconds(), id)
	send(f.picture, float64(st.Pictures), id)
}

// links sums up the WebRTC viewers of each camera.
func links(f families, all []Link, known map[string]bool, send sender) {
	type sum struct {
		n           int
		lost, worst float64
		rtt         time.Duration
	}
	by := map[string]*sum{}
	for _, l := range all {
		if !known[l.Camera] {
			continue // removed in the meantime
		}
		s := by[l.Camera]
		if s == nil {
			s = &sum{}
			by[l.Camera] = s
		}
		s.n++
		s.lost += l.Lost
		s.worst, s.rtt = max(s.worst, l.Lost), max(s.rtt, l.RTT)
	}
	for id, s := range by {
		send(f.loss, s.lost/float64(s.n), id)
		send(f.lossWorst, s.worst, id)
		send(f.rttWorst, s.rtt.Seconds(), id)
	}
}

// clean keeps a label readable whatever the linker was told.
func clean(s string) string { return strings.ToValidUTF8(s, "?") }
