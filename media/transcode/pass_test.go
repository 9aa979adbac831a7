package transcode

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/stream"
)

var jpegTrack = media.Track{Codec: media.JPEG, ClockRate: 90000}

func (b *bench) playJPEG(picture []byte, frames int) {
	for range frames {
		b.write(picture)
		time.Sleep(time.Second / 30)
	}
	synctest.Wait()
}

func TestJPEGPassesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, jpegTrack, stream.Options{Quality: 50, Width: 640, Height: 480})
		defer b.close()
		picture := makeJPEG(320, 180, 80)
		b.playJPEG(picture, 1)
		leases := []*stream.Lease{b.lease("jpeg"), b.lease("jpeg-320-0"), b.lease("jpeg-1000-80")}
		synctest.Wait()
		for _, l := range leases {
			got := frames(l)
			if len(got) != 1 || !bytes.Equal(got[0].Units[0], picture) {
				t.Fatalf("%s: %d pictures at once", l.Stream().ID(), len(got))
			}
		}
		b.playJPEG(picture, 30)
		for _, l := range leases {
			f := l.Hub().Latest()
			if !bytes.Equal(f.Units[0], picture) || &f.Units[0][0] != &picture[0] {
				t.Fatal("not the same bytes")
			}
			i := l.Stream().Info()
			if i.Frames != 31 || i.Tracks[0].Codec != media.JPEG || i.Tracks[0].Width != 320 {
				t.Fatalf("%+v", i)
			}
			if src := b.cam.Hub().Latest(); !f.Captured.Equal(src.Captured) || !f.Arrived.Equal(src.Arrived) {
				t.Fatal("times are lost")
			}
			l.Release()
		}
		if s := b.tr.Stats(); s.Workers != 0 || s.Stages != 0 || s.Passed != 93 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestPassedJPEGIsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, jpegTrack, stream.Options{FPS: 5})
		defer b.close()
		l := b.lease("jpeg")
		defer l.Release()
		synctest.Wait()
		b.playJPEG(tinyJPEG, 90)
		if i := l.Stream().Info(); i.Frames < 14 || i.Frames > 17 || i.Tracks[0].FPS != 5 {
			t.Fatalf("%d frames in 3 s, %+v", i.Frames, i.Tracks)
		}
	})
}

func TestJPEGTooLargeToDecode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, jpegTrack, stream.Options{})
		defer b.close()
		pass, scaled := b.lease("jpeg"), b.lease("jpeg-160-0")
		defer pass.Release()
		defer scaled.Release()
		synctest.Wait()
		b.playJPEG(tinyJPEG, 3)
		bomb := bytes.Clone(tinyJPEG)
		sof := bytes.Index(bomb, []byte{0xff, 0xc0})
		copy(bomb[sof+5:], []byte{0xff, 0xff, 0xff, 0xff})
		b.playJPEG(bomb, 5)
		b.playJPEG(tinyJPEG, 3)
		if n := len(b.last().fed); n != 6 {
			t.Fatalf("the worker got %d frames", n)
		}
		if i := pass.Stream().Info(); i.Frames != 6 || i.Tracks[0].Width != 320 {
			t.Fatalf("passed %d frames, %+v", i.Frames, i.Tracks)
		}
	})
}

// What can be passed through and what not changes with the camera's stream.
func TestChangesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, jpegTrack, stream.Options{Width: 400})
		defer b.close()
		j, h := b.lease("jpeg"), b.lease("h264")
		defer j.Release()
		defer h.Release()
		synctest.Wait()
		b.playJPEG(tinyJPEG, 30)
		e := b.last()
		if s := b.tr.Stats(); s.Passed != 30 || len(e.outputs) != 1 {
			t.Fatalf("small: %+v, outputs %+v", s, e.outputs)
		}
		b.playJPEG(makeJPEG(1280, 720, 80), 30)
		if s := b.tr.Stats(); s.Passed != 30 || len(e.outputs) != 2 {
			t.Fatalf("large: %+v, outputs %+v", s, e.outputs)
		}
		b.playJPEG(tinyJPEG, 30)
		if s := b.tr.Stats(); s.Passed < 59 || len(e.outputs) != 1 {
			t.Fatalf("small again: %+v, outputs %+v", s, e.outputs)
		}
		// Another codec: an input of its own, the same worker, the same viewers.
		b.pub.Start(media.Tracks{vp8})
		b.play(30, 30)
		if e.inputs != 2 || e.track.Codec != media.VP8 || len(e.outputs) != 2 {
			t.Fatalf("VP8: %d inputs, %+v, outputs %+v", e.inputs, e.track, e.outputs)
		}
		b.pub.Start(media.Tracks{jpegTrack})
		passed := b.tr.Stats().Passed
		b.playJPEG(tinyJPEG, 30)
		if s := b.tr.Stats(); s.Passed < passed+29 || s.Workers != 1 || e.inputs != 3 || len(e.outputs) != 1 {
			t.Fatalf("JPEG: %+v, %d inputs, outputs %+v", s, e.inputs, e.outputs)
		}
		for _, l := range []*stream.Lease{j, h} {
			if i := l.Stream().Info(); i.State != stream.Live || i.Restarts != 0 || i.Frames < 140 {
				t.Fatalf("%s: %s, %d restarts, %d frames", i.ID, i.State, i.Restarts, i.Frames)
			}
		}
	})
}
