package device

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"
	"camwire/media/alsa"
	"camwire/media/audio/pcm"
)

// fakeMic delivers sound of a rate, in time, until it has said what is wrong.
type fakeMic struct {
	config alsa.Config
	after  int   // blocks until err
	err    error // nil: goes on for ever

	mono func() time.Duration
	wake chan struct{}

	blocks int
	closed bool
}

func (m *fakeMic) Config() alsa.Config { return m.config }
func (m *fakeMic) Interrupt()          { m.wake <- struct{}{} }
func (m *fakeMic) Close() error        { m.closed = true; return nil }

func (m *fakeMic) Read(timeout time.Duration) (alsa.Block, error) {
	if m.err != nil && m.blocks == m.after {
		if errors.Is(m.err, alsa.ErrTimeout) {
			time.Sleep(timeout) // of a synctest bubble
		}
		return alsa.Block{}, m.err
	}
	began := m.mono()
	t := time.NewTimer(10 * time.Millisecond)
	defer t.Stop()
	select {
	case <-m.wake:
		return alsa.Block{}, alsa.ErrInterrupted
	case <-t.C:
	}
	m.blocks++
	n := m.config.Rate / 100
	b := alsa.Block{Time: began, Samples: make([]float32, n*m.config.Channels)}
	for i := range b.Samples {
		b.Samples[i] = 0.5
	}
	return b, nil
}

// studio is a bench with microphones.
type studio struct {
	*bench
	mu    sync.Mutex
	mics  []alsa.Info
	opens []*fakeMic // one after the other; the last one again and again
	err   error
	made  []*fakeMic
}

func newStudio(t *testing.T, mics ...alsa.Info) *studio {
	s := &studio{bench: newBench(t), mics: mics}
	start := time.Now()
	s.sound = soundSystem{
		list: func() ([]alsa.Info, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.mics, nil
		},
		open: func(r alsa.Ref) (microphone, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.err != nil {
				return nil, s.err
			}
			m := *s.opens[min(len(s.made), len(s.opens)-1)]
			m.mono, m.wake = func() time.Duration { return time.Since(start) }, make(chan struct{}, 1)
			s.made = append(s.made, &m)
			return &m, nil
		},
	}
	return s
}

// camera plugs a camera in, with an interface of that class beside its own.
func (s *studio) camera(class string) {
	s.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, webcam(data(picture(s.t, 1), 0)))
	s.write(filepath.Join(s.sys, "bus", "usb", "devices", "1-1:1.2", "bInterfaceClass"), class)
}

// note is a log that can be read while it is written.
type note struct {
	mu sync.Mutex
	b  strings.Builder
}

func (n *note) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.b.Write(p)
}

func (n *note) count(s string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Count(n.b.String(), s)
}

// hear runs the camera for a while and returns its tracks and its sound.
func (s *studio) hear(microphone string, for_ time.Duration) (media.Tracks, []*media.Frame, *note) {
	s.t.Helper()
	log := &note{}
	src := s.source(Options{Source: "0", Microphone: microphone, Silence: time.Hour, Log: slog.New(slog.NewTextHandler(log, nil))})
	ctx, cancel := context.WithTimeout(s.t.Context(), for_)
	defer cancel()
	out := &sink{}
	if err := src.Run(ctx, out); err != nil {
		s.t.Errorf("the picture has ended: %v", err)
	}
	var sound []*media.Frame
	pictures := 0
	for _, f := range out.frames {
		if f.Track == soundTrack {
			sound = append(sound, f)
		} else {
			pictures++
		}
	}
	if pictures != 1 {
		s.t.Errorf("%d pictures", pictures)
	}
	for _, m := range s.made {
		if !m.closed {
			s.t.Error("a microphone is left open")
		}
	}
	return out.tracks, sound, log
}

var ownMic = alsa.Info{Ref: alsa.Ref{Card: 1}, ID: "Cam", Port: "1-1", Channels: 2}

// checkSound: frames of 20 ms in order, with the samples in them.
func checkSound(t *testing.T, frames []*media.Frame, channels, least int) {
	t.Helper()
	if len(frames) < least {
		t.Fatalf("%d frames of sound, want %d", len(frames), least)
	}
	for i, f := range frames {
		if i > 0 {
			if d := f.PTS - frames[i-1].PTS; d < 16*time.Millisecond {
				t.Fatalf("frame %d comes %v after the one before", i, d)
			}
		}
		if len(f.Units) != 1 || len(f.Units[0]) != soundFrame*2*channels || !f.Key {
			t.Fatalf("frame %d: %d units, key %v", i, len(f.Units), f.Key)
		}
		if age := f.Arrived.Sub(f.Captured); age < 0 || age > 100*time.Millisecond {
			t.Fatalf("frame %d is %v old", i, age)
		}
	}
	for _, v := range pcm.FromL16(nil, frames[len(frames)-1].Units[0]) {
		if math.Abs(float64(v)-0.5) > 0.01 {
			t.Fatalf("a sample is %v", v)
		}
	}
}

func TestSound(t *testing.T) {
	for _, c := range []struct {
		name           string
		rate, channels int
		track          int // channels
	}{{"stereo", 48000, 2, 2}, {"mono", 48000, 1, 1}, {"16 kHz", 16000, 1, 1}, {"array", 44100, 4, 1}, {"less than it said", 48000, 1, 2}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mic := ownMic
				mic.Channels = c.track
				s := newStudio(t, alsa.Info{Ref: alsa.Ref{}, Port: "1-9"}, mic)
				s.opens = []*fakeMic{{config: alsa.Config{Rate: c.rate, Channels: c.channels}}}
				s.camera("01")
				tracks, frames, _ := s.hear("", time.Second)
				want := media.Track{Codec: media.L16, ClockRate: 48000, Channels: c.track}
				if len(tracks) != 2 || !tracks[1].Equal(want) {
					t.Fatalf("tracks %+v", tracks)
				}
				checkSound(t, frames, c.track, 48)
			})
		})
	}
}

// TestNoSound: a camera without microphone, and one whose sound nobody wants.
func TestNoSound(t *testing.T) {
	for _, c := range []struct{ name, class, want string }{{"none", "0e", ""}, {"off", "01", "off"}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStudio(t, ownMic)
				s.camera(c.class)
				tracks, frames, _ := s.hear(c.want, time.Second)
				if len(tracks) != 1 || len(frames) != 0 || len(s.made) != 0 {
					t.Errorf("tracks %v, %d frames", tracks, len(frames))
				}
			})
		})
	}
}

// TestSoundByName: any microphone can be the camera's.
func TestSoundByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, alsa.Info{Ref: alsa.Ref{Card: 3, Device: 1}})
		s.opens = []*fakeMic{{config: alsa.Config{Rate: 48000, Channels: 2}}}
		s.camera("0e")
		tracks, frames, _ := s.hear("hw:3,1", time.Second)
		if len(tracks) != 2 || tracks[1].Channels != 1 {
			t.Fatalf("tracks %+v", tracks)
		}
		checkSound(t, frames, 1, 48)
	})
}

// TestSoundComesBack: whatever happens to the microphone, the picture goes on
// and the sound comes back; each reason is told once.
func TestSoundComesBack(t *testing.T) {
	good := &fakeMic{config: alsa.Config{Rate: 48000, Channels: 2}}
	for name, mend := range map[string]func(*studio){
		"unplugged": func(s *studio) {
			s.opens = []*fakeMic{{config: good.config, after: 20, err: &alsa.Error{Reason: alsa.ErrUnplugged}}, good}
		},
		"hung": func(s *studio) {
			s.opens = []*fakeMic{{config: good.config, after: 20, err: alsa.ErrTimeout}, good}
		},
		"busy": func(s *studio) {
			s.opens = []*fakeMic{good}
			s.err = &alsa.Error{Reason: alsa.ErrBusy}
			time.AfterFunc(20*time.Second, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.err = nil
			})
		},
		"not there yet": func(s *studio) {
			s.opens = []*fakeMic{good}
			all := s.mics
			s.mics = nil
			time.AfterFunc(20*time.Second, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.mics = all
			})
		},
		"strange": func(s *studio) {
			s.opens = []*fakeMic{{config: alsa.Config{Rate: 47999, Channels: 2}}, good}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mic := ownMic
				mic.Channels = 1
				s := newStudio(t, mic)
				mend(s)
				s.camera("01")
				_, frames, log := s.hear("auto", time.Minute)
				if log.count("no sound from the microphone") != 1 {
					t.Errorf("told %d times: %s", log.count("no sound"), log.b.String())
				}
				if name != "unplugged" && name != "hung" && log.count("microphone opened") != 1 {
					t.Errorf("the end of it was not told: %s", log.b.String())
				}
				checkSound(t, frames, 1, 1500)
			})
		})
	}
}

// TestPictureFirst: a camera without a picture has no sound either.
func TestPictureFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStudio(t, ownMic)
		s.opens = []*fakeMic{{config: alsa.Config{Rate: 48000, Channels: 2}}}
		s.plug(usb{0, "1-1", "046d:0825", "S1", "Cam"}, webcam())
		s.write(filepath.Join(s.sys, "bus", "usb", "devices", "1-1:1.2", "bInterfaceClass"), "01")
		out := &sink{}
		if err := s.source(Options{Source: "0", Silence: time.Minute}).Run(t.Context(), out); !errors.Is(err, ErrHangs) {
			t.Errorf("got %v", err)
		}
		if len(out.tracks) != 2 || len(out.frames) != 0 || len(s.made) != 0 {
			t.Errorf("tracks %v, %d frames, %d microphones opened", out.tracks, len(out.frames), len(s.made))
		}
	})
}

func TestMicrophoneOption(t *testing.T) {
	b := newBench(t)
	for _, m := range []string{"", "auto", "off", "hw:0,0", "hw:12,3"} {
		if _, err := newSource(Options{Source: "0", Microphone: m}, b.system); err != nil {
			t.Errorf("%q: %v", m, err)
		}
	}
	for _, m := range []string{"on", "hw:1", "default", "plughw:1,0"} {
		if _, err := newSource(Options{Source: "0", Microphone: m}, b.system); err == nil || !strings.Contains(err.Error(), "hw:1,0") {
			t.Errorf("%q: %v", m, err)
		}
	}
}

// TestFramer: times follow the kernel's smoothly; after a loss they jump.
func TestFramer(t *testing.T) {
	f, err := newFramer(alsa.Config{Rate: 48000, Channels: 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []time.Duration
	add := func(at time.Duration, lost bool) {
		f.add(alsa.Block{Samples: make([]float32, 480), Time: at, Lost: lost}, func(pts time.Duration, _ []byte) { got = append(got, pts) })
	}
	tremble := []time.Duration{0, 3e6, -4e6, 2e6, -1e6}
	for i := range 100 {
		add(time.Second+time.Duration(i)*10*time.Millisecond+tremble[i%5], false)
	}
	if len(got) != 50 {
		t.Fatalf("%d frames", len(got))
	}
	for i, pts := range got {
		if d := (pts - time.Second - time.Duration(i)*20*time.Millisecond).Abs(); d > 2*time.Millisecond {
			t.Errorf("frame %d is off by %v", i, d)
		}
	}
	got = nil
	for i := range 4 {
		add(3*time.Second+time.Duration(i)*10*time.Millisecond, i == 0)
	}
	if len(got) != 2 || got[0] != 3*time.Second {
		t.Errorf("after a loss: %v", got)
	}
	got = nil
	for i := range 4 { // a clock that runs back
		add(time.Second+time.Duration(i)*10*time.Millisecond, i == 0)
	}
	if len(got) != 2 || got[0] < 3*time.Second {
		t.Errorf("time has run back: %v", got)
	}
	f.add(alsa.Block{}, nil)
}
