package mjpeg

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/stream"
)

func TestSnapshot(t *testing.T) {
	l := newLab(t, Options{})
	captured := time.Now().Add(-200 * time.Millisecond)
	l.camera("door").push(picture(5, 3000), captured)
	for _, path := range []string{"/api/camera/snapshot/door", "/?action=snapshot", "/webcam/?action=snapshot&cam=door", "/api/camera/snapshot/door?width=480"} {
		r := l.get(path)
		b, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != 200 || number(b) != 5 {
			t.Fatalf("%s: %d, %d bytes, %v", path, r.StatusCode, len(b), err)
		}
		if r.Header.Get("Content-Type") != "image/jpeg" || r.Header.Get("Cache-Control") != "no-cache, no-store" || r.ContentLength != int64(len(b)) {
			t.Errorf("%s: header %v", path, r.Header)
		}
		if got := timestamp(t, r.Header.Get("X-Frame-Timestamp")); !got.Equal(captured.Truncate(time.Microsecond)) {
			t.Errorf("%s: X-Frame-Timestamp %v, want %v", path, got, captured)
		}
		if age, err := strconv.Atoi(r.Header.Get("X-Frame-Age-Ms")); err != nil || age < 200 {
			t.Errorf("%s: X-Frame-Age-Ms %q", path, r.Header.Get("X-Frame-Age-Ms"))
		}
	}
	r := l.get("/api/camera/snapshot/nobody")
	var e map[string]string
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.StatusCode != 404 || e["device_id"] != "nobody" || e["error"] == "" {
		t.Errorf("%d %v %v", r.StatusCode, e, err)
	}
}

func TestSnapshotOfADisabledCamera(t *testing.T) {
	l := newLab(t, Options{})
	if _, err := l.reg.Add("off", stream.Options{Disabled: true}); err != nil {
		t.Fatal(err)
	}
	r := l.get("/api/camera/snapshot/off")
	if text := body(t, r); r.StatusCode != 409 || !strings.Contains(text, "disabled") || !strings.Contains(text, `"device_id":"off"`) {
		t.Errorf("%d %s", r.StatusCode, text)
	}
}

// snapshot is what newest does for one request, on the bubble's clock.
func snapshot(t *testing.T, s *stream.Stream) (*media.Frame, time.Duration, error) {
	t.Helper()
	l, err := s.LeaseDerived("jpeg", "snapshot")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	begun := time.Now()
	f, err := newest(t.Context(), s, l)
	return f, time.Since(begun), err
}

// bubble runs a test with one camera on a clock of its own: one that others
// publish to, or one with a source, which the test then feeds.
func bubble(t *testing.T, pulled bool, f func(*testing.T, *stream.Registry, *stream.Stream, *feed)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		reg := stream.New(stream.Config{Derive: func(p *stream.Stream, _ string) (media.Source, error) { return tap{p}, nil }})
		defer reg.Close()
		var o stream.Options
		cam := newFeed() // in here: its channels belong to the bubble
		if pulled {
			o.Source = cam
		}
		s, err := reg.Add("door", o)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		f(t, reg, s, cam)
	})
}

func TestSnapshotWaitsForTheNextPicture(t *testing.T) {
	bubble(t, true, func(t *testing.T, _ *stream.Registry, s *stream.Stream, cam *feed) {
		go func() {
			time.Sleep(3 * time.Second)
			cam.push(picture(2, 0), time.Now())
		}()
		f, took, err := snapshot(t, s)
		if err != nil || number(f.Units[0]) != 2 || took != 3*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

func TestSnapshotWithoutAnyPicture(t *testing.T) {
	bubble(t, true, func(t *testing.T, _ *stream.Registry, s *stream.Stream, _ *feed) {
		_, took, err := snapshot(t, s)
		if err == nil || !strings.Contains(err.Error(), "connecting") || took != stillWait {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// A camera that sends one picture a minute shows the last one, at once.
func TestSnapshotOfASlowCamera(t *testing.T) {
	bubble(t, false, func(t *testing.T, reg *stream.Registry, s *stream.Stream, _ *feed) {
		p, err := reg.Publish("door", stream.PublishOptions{Type: "mobile"})
		if err != nil {
			t.Fatal(err)
		}
		p.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000}})
		p.Write(&media.Frame{Key: true, Units: [][]byte{picture(4, 0)}})
		time.Sleep(40 * time.Second)
		f, took, err := snapshot(t, s)
		if err != nil || number(f.Units[0]) != 4 || took != 0 {
			t.Fatalf("%v after %v", err, took)
		}
		p.Close()
		time.Sleep(time.Minute)
		if f, took, err = snapshot(t, s); err != nil || number(f.Units[0]) != 4 || took != 0 {
			t.Errorf("after the publisher left: %v after %v", err, took)
		}
	})
}

// The last picture of a camera that is gone is not handed out as if it worked.
func TestSnapshotOfADeadCamera(t *testing.T) {
	bubble(t, true, func(t *testing.T, _ *stream.Registry, s *stream.Stream, cam *feed) {
		cam.push(picture(1, 0), time.Now())
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() { // every attempt fails
			defer close(done)
			for {
				select {
				case cam.fail <- errors.New("connection refused"):
				case <-stop:
					return
				}
			}
		}()
		time.Sleep(5 * time.Second)
		if f, took, err := snapshot(t, s); err != nil || number(f.Units[0]) != 1 {
			t.Errorf("after 5 s: %v after %v", err, took)
		}
		time.Sleep(20 * time.Second)
		if _, took, err := snapshot(t, s); err == nil || !strings.Contains(err.Error(), "connection refused") || took != stillWait {
			t.Errorf("after 25 s: %v after %v", err, took)
		}
		close(stop)
		<-done
	})
}
