package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"camwire/media"
	"camwire/media/alsa"
	"camwire/media/audio/pcm"
)

// Words that Options.Microphone takes beside "hw:1,0".
const (
	MicrophoneAuto = "auto"
	MicrophoneOff  = "off"
)

const (
	soundRate  = 48000
	soundFrame = 960 // samples of 20 ms
	soundStep  = 20 * time.Millisecond
	// soundSilence is how long a microphone may deliver nothing before it
	// counts as hung.
	soundSilence = 3 * time.Second
	// soundTrack is the place of the sound in the list of tracks.
	soundTrack = 1
	// soundJump is how far the time of a sound may be from where it is
	// expected before something must be missing.
	soundJump = 50 * time.Millisecond
)

// Pauses between attempts to open a microphone.
const (
	firstSoundRetry = 500 * time.Millisecond
	maxSoundRetry   = 5 * time.Second
)

// microphone is the part of *alsa.Device that is used here.
type microphone interface {
	Config() alsa.Config
	Read(timeout time.Duration) (alsa.Block, error)
	Interrupt()
	Close() error
}

// soundSystem is where microphones are looked for; the zero value has none.
type soundSystem struct {
	list func() ([]alsa.Info, error)
	open func(alsa.Ref) (microphone, error)
}

func localSound() soundSystem {
	if !alsa.Supported {
		return soundSystem{}
	}
	return soundSystem{list: alsa.List, open: func(r alsa.Ref) (microphone, error) {
		d, err := alsa.Open(r)
		if err != nil {
			return nil, err
		}
		return d, nil
	}}
}

// checkMicrophone checks an Options.Microphone.
func checkMicrophone(s string) error {
	if s == "" || s == MicrophoneAuto || s == MicrophoneOff {
		return nil
	}
	if _, err := alsa.ParseRef(s); err != nil {
		return fmt.Errorf("%w; or auto for the camera's own, or off", err)
	}
	return nil
}

// startWithSound starts the sink with the picture and, where there is a
// microphone, its sound. The sink that it returns is to be used from then on;
// stop ends the sound and returns when it has ended.
//
// Whatever becomes of the microphone, the picture goes on: nobody touches it
// before the first picture has come, which also has the first choice of the
// bandwidth of the USB. The sound's track is there from the start even when the
// microphone is not, so that its coming changes nothing for those who watch.
func (s *Source) startWithSound(ctx context.Context, n node, r *reader, sink media.Sink) (use media.Sink, stop func()) {
	v := s.voice(n, r.clock)
	if v == nil {
		sink.Start(media.Tracks{r.track})
		return sink, func() {}
	}
	locked := &lockedSink{sink: sink, first: make(chan struct{})}
	locked.Start(media.Tracks{r.track, {Codec: media.L16, ClockRate: soundRate, Channels: v.channels}})
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		select {
		case <-locked.first:
			v.run(ctx, locked)
		case <-ctx.Done():
		}
	})
	return locked, func() {
		cancel()
		running.Wait()
	}
}

// lockedSink lets two goroutines write in turn.
type lockedSink struct {
	first chan struct{} // closed with the first frame

	mu   sync.Mutex
	sink media.Sink
	any  bool
}

func (l *lockedSink) Start(ts media.Tracks) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sink.Start(ts)
}

func (l *lockedSink) Write(f *media.Frame) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sink.Write(f)
	if !l.any {
		l.any = true
		close(l.first)
	}
}

// voice is the sound of one Run.
type voice struct {
	sound    soundSystem
	want     string // as Options.Microphone
	port     string // the camera's place on the bus
	channels int    // of the track
	clock    kernelClock
	now      func() time.Time
	log      *slog.Logger
}

// voice returns what is to be heard, nil for nothing.
func (s *Source) voice(n node, clock kernelClock) *voice {
	v := &voice{
		sound: s.system.sound, want: s.opts.Microphone, port: n.port, channels: 1,
		clock: clock, now: time.Now, log: s.opts.Log.With("path", n.path),
	}
	switch {
	case v.sound.open == nil || v.want == MicrophoneOff:
		return nil
	case v.auto() && !hasSound(s.system.sys, n.port):
		return nil
	}
	if i, err := v.find(); err == nil && i.Channels == 2 {
		v.channels = 2
	}
	return v
}

func (v *voice) auto() bool { return v.want == "" || v.want == MicrophoneAuto }

// hasSound reports whether a USB device has an interface of the class audio.
// That is known before the sound driver has found it.
func hasSound(sys, port string) bool {
	if port == "" {
		return false
	}
	interfaces, err := filepath.Glob(filepath.Join(sys, "bus", "usb", "devices", port+":*", "bInterfaceClass"))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(interfaces, func(path string) bool { return attribute(path) == "01" })
}

// errNoMicrophone says that the camera's own microphone is not there (yet).
var errNoMicrophone = errors.New("the camera's microphone is not known to the kernel: is the driver snd-usb-audio there?")

// find looks for the microphone that is meant now.
func (v *voice) find() (alsa.Info, error) {
	list, err := v.sound.list()
	if err != nil {
		return alsa.Info{}, err
	}
	if v.auto() {
		for _, i := range list {
			if i.Port == v.port {
				return i, nil
			}
		}
		return alsa.Info{}, errNoMicrophone
	}
	ref, err := alsa.ParseRef(v.want)
	if err != nil {
		return alsa.Info{}, err
	}
	for _, i := range list {
		if i.Ref == ref {
			return i, nil
		}
	}
	return alsa.Info{}, &alsa.Error{Ref: ref, Reason: alsa.ErrNotFound}
}

// run delivers sound until ctx is done, and tries again for ever.
func (v *voice) run(ctx context.Context, sink media.Sink) {
	pause, told := firstSoundRetry, ""
	for {
		heard, err := v.session(ctx, sink, told != "")
		if ctx.Err() != nil {
			return
		}
		if heard {
			pause, told = firstSoundRetry, ""
		}
		if text := err.Error(); text != told {
			v.log.Warn("no sound from the microphone, the picture goes on without", "reason", err)
			told = text
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, maxSoundRetry)
	}
}

// session opens the microphone and reads it until it fails. Heard reports
// whether it delivered anything.
func (v *voice) session(ctx context.Context, sink media.Sink, again bool) (heard bool, err error) {
	i, err := v.find()
	if err != nil {
		return false, err
	}
	m, err := v.sound.open(i.Ref)
	if err != nil {
		return false, err
	}
	defer func() { _ = m.Close() }()
	stop := context.AfterFunc(ctx, m.Interrupt)
	defer stop()
	c := m.Config()
	f, err := newFramer(c, v.channels)
	if err != nil {
		return false, err
	}
	level := slog.LevelDebug
	if again {
		level = slog.LevelInfo
	}
	v.log.Log(ctx, level, "microphone opened", "microphone", i.Ref.String(), "name", i.Name, "rate", c.Rate, "channels", c.Channels)
	for {
		b, err := m.Read(soundSilence)
		if errors.Is(err, alsa.ErrTimeout) {
			err = fmt.Errorf("microphone %s hangs: no sound for %v", i.Ref, soundSilence)
		}
		if err != nil {
			return heard, err
		}
		heard = true
		f.add(b, func(pts time.Duration, units []byte) {
			arrived := v.now()
			captured := arrived
			if age := v.clock.at(arrived) - pts; age >= 0 && age < maxAge {
				captured = arrived.Add(-age)
			}
			sink.Write(&media.Frame{Track: soundTrack, PTS: pts, Captured: captured, Arrived: arrived, Key: true, Units: [][]byte{units}})
		})
	}
}

// framer makes frames of 20 ms at 48 kHz of what a microphone delivers. Their
// times follow the kernel's, whose trembling is taken out.
type framer struct {
	config    alsa.Config
	channels  int
	resampler *pcm.Resampler
	lag       time.Duration // what the resampler holds back

	queue   []float32
	next    time.Duration // time of the first sample in queue
	started bool
}

func newFramer(c alsa.Config, channels int) (*framer, error) {
	r, err := pcm.NewResampler(c.Rate, soundRate, channels)
	if err != nil {
		return nil, err
	}
	f := &framer{config: c, channels: channels, resampler: r}
	f.lag = time.Duration(r.Delay()) * time.Second / time.Duration(c.Rate)
	return f, nil
}

// add takes a block and gives out the frames that are full.
func (f *framer) add(b alsa.Block, out func(pts time.Duration, l16 []byte)) {
	frames := len(b.Samples) / f.config.Channels
	if frames == 0 {
		return
	}
	if b.Lost {
		f.queue, f.started = f.queue[:0], false
		f.resampler.Reset()
	}
	f.queue = f.resampler.Append(f.queue, f.mix(b.Samples))
	end := b.Time + time.Duration(frames)*time.Second/time.Duration(f.config.Rate) - f.lag
	at := end - time.Duration(len(f.queue)/f.channels)*time.Second/soundRate
	switch d := at - f.next; {
	case !f.started, d > soundJump:
		// Never back: that sound has been given out.
		f.next, f.started = max(at, f.next), true
	case d > -soundJump:
		f.next += d / 16
	default:
		// It was told a time too late once, and comes back little by little.
		f.next -= soundStep / 16
	}
	rest := f.queue
	for len(rest) >= soundFrame*f.channels {
		out(f.next, pcm.AppendL16(make([]byte, 0, 2*soundFrame*f.channels), rest[:soundFrame*f.channels]))
		rest = rest[soundFrame*f.channels:]
		f.next += soundStep
	}
	f.queue = f.queue[:copy(f.queue, rest)]
}

// mix brings the microphone's channels to those of the track.
func (f *framer) mix(in []float32) []float32 {
	if f.config.Channels == f.channels {
		return in
	}
	in = pcm.Mono(in, f.config.Channels)
	if f.channels == 2 {
		in = pcm.Stereo(in)
	}
	return in
}
