package hub

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"camwire/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	h264 = media.Tracks{{Codec: media.H264, ClockRate: 90000}}
	av   = media.Tracks{{Codec: media.H264, ClockRate: 90000}, {Codec: media.Opus, ClockRate: 48000, Channels: 2}}
	jpeg = media.Tracks{{Codec: media.JPEG, ClockRate: 90000}}
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// feed writes frames at 30 per second; a key frame every gop.
type feed struct {
	h   *Hub
	n   int
	gop int
}

func (f *feed) write(count int) {
	for range count {
		f.h.Write(&media.Frame{
			PTS: time.Duration(f.n) * time.Second / 30, Arrived: t0.Add(time.Duration(f.n) * time.Second / 30),
			Key: f.n%f.gop == 0, Units: [][]byte{{byte(f.n)}},
		})
		f.n++
	}
}

func take(t *testing.T, c *Cursor) *media.Frame {
	t.Helper()
	f, err := c.Try()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func seqs(t *testing.T, c *Cursor) (s []uint64) {
	t.Helper()
	for f := take(t, c); f != nil; f = take(t, c) {
		s = append(s, f.Seq)
	}
	return s
}

func TestNewcomerStartsAtNewestKeyFrame(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	f := &feed{h: h, gop: 10}
	f.write(35)
	got := seqs(t, h.NewCursor(CursorOptions{}))
	if len(got) != 5 || got[0] != 30 || got[4] != 34 {
		t.Errorf("got %v, want 30..34", got)
	}
}

func TestNothingBeforeTheFirstKeyFrame(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	c := h.NewCursor(CursorOptions{})
	h.Write(&media.Frame{Arrived: t0, Units: [][]byte{{1}}})
	if f := take(t, c); f != nil {
		t.Fatalf("got a frame that nobody can decode: %+v", f)
	}
	h.Write(&media.Frame{Arrived: t0, Key: true, Units: [][]byte{{2}}})
	if f := take(t, c); f == nil || !f.Key {
		t.Fatal("key frame did not come")
	}
}

func TestLateReaderJumpsToNewestKeyFrame(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	f := &feed{h: h, gop: 10}
	f.write(1)
	c := h.NewCursor(CursorOptions{MaxLag: 200 * time.Millisecond})
	if take(t, c).Seq != 0 {
		t.Fatal("not at the key frame")
	}
	f.write(24) // 1..24; keys at 10 and 20, the reader is 800 ms late
	got := seqs(t, c)
	if got[0] != 20 || got[len(got)-1] != 24 {
		t.Errorf("got %v, want 20..24", got)
	}
	if c.Skipped() != 19 {
		t.Errorf("skipped %d, want 19", c.Skipped())
	}
}

func TestLateReaderWithoutNewerKeyFrameKeepsItsPlaceAndSaysSo(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	f := &feed{h: h, gop: 1000}
	f.write(1)
	c := h.NewCursor(CursorOptions{MaxLag: 200 * time.Millisecond})
	take(t, c)
	f.write(20)
	if got := take(t, c); got.Seq != 1 || !c.Behind() {
		t.Errorf("seq %d behind %v, want 1 true", got.Seq, c.Behind())
	}
}

func TestNewestSkipsEverythingElse(t *testing.T) {
	h := New(Options{})
	h.Start(jpeg)
	f := &feed{h: h, gop: 1}
	f.write(1)
	c := h.NewCursor(CursorOptions{Newest: true})
	take(t, c)
	f.write(7)
	if got := seqs(t, c); len(got) != 1 || got[0] != 7 {
		t.Errorf("got %v, want [7]", got)
	}
}

func TestIntraKeepsNoBacklog(t *testing.T) {
	h := New(Options{})
	h.Start(jpeg)
	(&feed{h: h, gop: 1}).write(100)
	if n := h.next - h.first; n > intraTail+1 {
		t.Errorf("%d pictures kept", n)
	}
}

func TestRingGrowsWithTheGroupOfPictures(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	f := &feed{h: h, gop: 300}
	f.write(299)
	if got := seqs(t, h.NewCursor(CursorOptions{})); len(got) != 299 {
		t.Fatalf("%d frames, want the whole group of 299", len(got))
	}
	f.write(40) // the next group; the old one leaves after the tail
	if got := seqs(t, h.NewCursor(CursorOptions{})); got[0] != 300 {
		t.Errorf("starts at %d, want 300", got[0])
	}
	if h.first < 280 {
		t.Errorf("old group still held from %d", h.first)
	}
}

func TestByteLimitDropsTheGroup(t *testing.T) {
	h := New(Options{MaxBytes: 100})
	h.Start(h264)
	f := &feed{h: h, gop: 1000}
	f.write(150)
	if h.bytes > 100 {
		t.Errorf("%d bytes held", h.bytes)
	}
	c := h.NewCursor(CursorOptions{})
	if f := take(t, c); f != nil {
		t.Errorf("a newcomer got frame %d, which has no key frame before it", f.Seq)
	}
}

func TestEvictedReaderWaitsForTheNextKeyFrame(t *testing.T) {
	h := New(Options{MaxBytes: 50})
	h.Start(h264)
	f := &feed{h: h, gop: 200}
	f.write(1)
	c := h.NewCursor(CursorOptions{})
	take(t, c)
	f.write(150)
	if got := take(t, c); got != nil {
		t.Fatalf("got %d", got.Seq)
	}
	f.write(60)
	if got := take(t, c); got == nil || !got.Key {
		t.Error("did not start at the next key frame")
	}
}

func TestNewEpochNewTracks(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	f := &feed{h: h, gop: 10}
	f.write(5)
	c := h.NewCursor(CursorOptions{})
	first := take(t, c)
	h.Start(media.Tracks{{Codec: media.VP8, ClockRate: 90000}})
	f.n = 0
	f.write(1)
	got := take(t, c)
	if got == nil || got.Epoch == first.Epoch || c.Tracks()[0].Codec != media.VP8 {
		t.Errorf("got %+v of %v", got, c.Tracks())
	}
}

func TestRestartOfTheSameTracksGoesOnInTime(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	f := &feed{h: h, gop: 10}
	f.write(31)
	c := h.NewCursor(CursorOptions{})
	last := take(t, c)
	epoch := last.Epoch
	// The source comes back two seconds later and counts from zero.
	h.Start(h264)
	back := &media.Frame{PTS: 0, Arrived: last.Arrived.Add(2 * time.Second), Key: true, Units: [][]byte{{1}}}
	h.Write(back)
	got := take(t, c)
	if got.Epoch != epoch {
		t.Error("an equal track list began a new epoch")
	}
	if d := got.PTS - last.PTS; d != 2*time.Second {
		t.Errorf("PTS went on by %v, want 2s", d)
	}
}

func TestLeadingTrackDecides(t *testing.T) {
	h := New(Options{})
	h.Start(av)
	h.Write(&media.Frame{Track: 1, Key: true, Arrived: t0, Units: [][]byte{{1}}})
	h.Write(&media.Frame{Track: 0, Key: true, Arrived: t0, Units: [][]byte{{2}}})
	h.Write(&media.Frame{Track: 1, Key: true, Arrived: t0, Units: [][]byte{{3}}})
	if got := seqs(t, h.NewCursor(CursorOptions{})); got[0] != 1 {
		t.Errorf("starts at %v, want the video key frame 1", got)
	}
	if h.Latest().Track != 0 {
		t.Error("latest is not the video")
	}
	h.Write(&media.Frame{Track: 2, Units: [][]byte{{3}}}) // no such track: dropped, no panic
}

func TestRewind(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	c := h.NewCursor(CursorOptions{})
	if c.Rewind() {
		t.Error("went back to nothing")
	}
	f := &feed{h: h, gop: 10}
	f.write(15)
	seqs(t, c)
	if !c.Rewind() || take(t, c).Seq != 10 {
		t.Error("not at the newest key frame")
	}
}

func TestNextWakesAndEnds(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	c := h.NewCursor(CursorOptions{})
	got := make(chan error, 1)
	go func() {
		if _, err := c.Next(context.Background()); err != nil {
			got <- err
			return
		}
		_, err := c.Next(context.Background())
		got <- err
	}()
	(&feed{h: h, gop: 1}).write(1)
	h.Close()
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h2 := New(Options{})
	if _, err := h2.NewCursor(CursorOptions{}).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := h2.WaitTracks(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// A reader that never reads costs the producer and the other readers nothing,
// and every reader sees an ordered sequence.
func TestConcurrentReaders(t *testing.T) {
	h := New(Options{})
	h.Start(h264)
	h.NewCursor(CursorOptions{}) // never read
	var wg sync.WaitGroup
	for range 8 {
		c := h.NewCursor(CursorOptions{})
		wg.Go(func() {
			var last uint64
			for {
				f, err := c.Next(context.Background())
				if err != nil {
					return
				}
				if f.Seq < last {
					t.Errorf("%d after %d", f.Seq, last)
				}
				last = f.Seq
			}
		})
	}
	(&feed{h: h, gop: 30}).write(5000)
	h.Close()
	wg.Wait()
}

func BenchmarkWrite100Readers(b *testing.B) {
	h := New(Options{})
	h.Start(h264)
	var wg sync.WaitGroup
	for range 100 {
		c := h.NewCursor(CursorOptions{})
		wg.Go(func() {
			for {
				if _, err := c.Next(context.Background()); err != nil {
					return
				}
			}
		})
	}
	f := &feed{h: h, gop: 60}
	for b.Loop() {
		f.write(1)
	}
	h.Close()
	wg.Wait()
}
