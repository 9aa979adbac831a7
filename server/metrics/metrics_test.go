package metrics

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "0123456789abcdef0123456789abcdef"

// lab is a server with two cameras that have been watched.
func lab(t *testing.T, anonymous ...auth.Permission) *httptest.Server {
	t.Helper()
	reg := stream.New(stream.Config{})
	t.Cleanup(reg.Close)
	cam, err := reg.Add("door", stream.Options{Source: still{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Add("gate", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	lease, err := cam.Lease("webrtc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lease.Hub().WaitTracks(t.Context()); err != nil {
		t.Fatal(err)
	}
	lease.Sent(time.Now())
	lease.Dropped(7)
	lease.Release()
	cam.Worked(time.Second, 2*time.Second)
	gate, err := auth.New(auth.Options{Token: token, Policy: auth.Policy{Anonymous: anonymous}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Options{Gate: gate})
	if err != nil {
		t.Fatal(err)
	}
	h := New(Options{
		Registry: reg, Version: "v1\xff",
		Links: func() []Link {
			return []Link{
				{"door", 0.5, 10 * time.Millisecond}, {"door", 0.25, 30 * time.Millisecond},
				{"gone", 1, time.Hour},
			}
		},
		Codec:    func() Codec { return Codec{Processes: 1, Started: 2, Cameras: 1} },
		Sessions: func() map[string]int { return map[string]int{"http": 3} },
		Refused:  func() map[string]uint64 { return map[string]uint64{server.LimitBody: 4} },
	})
	if err := s.Register(h.Routes()); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return web
}

// still delivers nothing but its track list.
type still struct{}

func (still) Run(ctx context.Context, s media.Sink) error {
	s.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
	<-ctx.Done()
	return nil
}

func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	rec, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Body.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, rec.Body); err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return rec.StatusCode, b.String()
}

func TestMetrics(t *testing.T) {
	web := lab(t)
	status, text := get(t, web.URL+"/metrics", token)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	for _, line := range []string{
		`camwire_build_info{go="`,
		`camwire_camera_state{camera="gate",state="disabled"} 1`,
		`camwire_camera_state{camera="door",state="live"} 0`,
		`camwire_camera_viewers{camera="door",kind="webrtc"} 0`,
		`camwire_camera_webrtc_loss_ratio{camera="door"} 0.375`,
		`camwire_camera_webrtc_loss_worst_ratio{camera="door"} 0.5`,
		`camwire_camera_webrtc_rtt_worst_seconds{camera="door"} 0.03`,
		`camwire_camera_delay_seconds_count{camera="door",kind="webrtc"} 1`,
		`camwire_camera_delay_seconds_bucket{camera="door",kind="webrtc",le="0.35"} `,
		`camwire_camera_dropped_frames_total{camera="door",kind="webrtc"} 7`,
		`camwire_camera_decode_seconds_total{camera="door"} 1`,
		`camwire_camera_encode_seconds_total{camera="door"} 2`,
		`camwire_camera_pictures_total{camera="door"} 1`,
		`camwire_camera_reconnects_total{camera="door"} 0`,
		`camwire_sessions{kind="http"} 3`,
		`camwire_codec_processes 1`,
		`camwire_codec_process_starts_total 2`,
		`camwire_refused_total{limit="body"} 4`,
		`go_goroutines `,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("missing: %s", line)
		}
	}
	if strings.Contains(text, `"gone"`) {
		t.Error("a camera that is no more has a line")
	}
}

func TestWhoMaySeeMetrics(t *testing.T) {
	if status, _ := get(t, lab(t).URL+"/metrics", ""); status != http.StatusUnauthorized {
		t.Errorf("a stranger gets %d", status)
	}
	if status, _ := get(t, lab(t, auth.View).URL+"/metrics", ""); status != http.StatusOK {
		t.Errorf("a stranger who may view all gets %d", status)
	}
	if status, _ := get(t, lab(t, auth.Publish).URL+"/metrics", ""); status == http.StatusOK {
		t.Error("a stranger who may publish gets metrics")
	}
}

// Every metric that the dashboard and the example of alarms name exists.
func TestDashboardNames(t *testing.T) {
	_, text := get(t, lab(t).URL+"/metrics", token)
	name := regexp.MustCompile(`\b(camwire|go|process)_[a-z0-9_]+\b`)
	for _, file := range []string{"grafana.json", "prometheus.yml", "prometheus-rules.yml"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "cmd", "camwire", "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		names := name.FindAllString(string(b), -1)
		if file != "prometheus.yml" && len(names) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, n := range names {
			if !strings.Contains(text, "\n"+n+"{") && !strings.Contains(text, "\n"+n+" ") {
				t.Errorf("%s: there is no metric %s", file, n)
			}
		}
	}
}
