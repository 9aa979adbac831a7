package stream

import (
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
)

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Derive: func(*Stream, string) (media.Source, error) { return nil, nil }})
		defer r.Close()
		s, err := r.Add("cam", Options{})
		if err != nil {
			t.Fatal(err)
		}
		direct, err := s.Lease("webrtc")
		if err != nil {
			t.Fatal(err)
		}
		defer direct.Release()
		derived, err := s.LeaseDerived("jpeg", "mjpeg")
		if err != nil {
			t.Fatal(err)
		}
		defer derived.Release()
		hidden, err := s.LeaseInternal()
		if err != nil {
			t.Fatal(err)
		}
		defer hidden.Release()

		captured := time.Now()
		time.Sleep(10 * time.Millisecond)
		direct.Sent(captured)
		direct.Sent(time.Now().Add(time.Second)) // a clock that is ahead
		time.Sleep(time.Hour)
		derived.Sent(captured)
		reader := derived.Reader()
		reader.Sent(captured, 1) // the first is old, and may be
		reader.Sent(time.Now(), 3)
		reader.Sent(time.Now(), 3)
		(&Reader{}).Sent(captured, 1)
		hidden.Sent(captured)
		derived.Stream().Worked(2*time.Millisecond, time.Millisecond)

		got := s.Stats()
		w := got.Delay["webrtc"]
		if w.Count != 2 || w.Sum != 10*time.Millisecond || w.Below[5*time.Millisecond] != 1 || w.Below[10*time.Millisecond] != 2 {
			t.Errorf("webrtc: %+v", w)
		}
		m := got.Delay["mjpeg"]
		if m.Count != 3 || m.Below[3*time.Second] != 2 || got.Dropped["mjpeg"] != 3 {
			t.Errorf("mjpeg: %+v, %d dropped", m, got.Dropped["mjpeg"])
		}
		if _, there := got.Delay[internalLease]; there {
			t.Error("an internal lease counts as a viewer")
		}
		if got.Decode != 2*time.Millisecond || got.Encode != time.Millisecond || got.Pictures != 1 {
			t.Errorf("work: %+v", got)
		}
	})
}
