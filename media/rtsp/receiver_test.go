package rtsp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/rtptime"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
)

// wire is a Session without a network.
type wire struct {
	clock rtptime.GlobalDecoder2
	media map[*description.Media]format.Format
	cb    map[*description.Media]gortsplib.OnPacketRTPFunc
	sent  []rtcp.Packet
}

func newWire() *wire {
	w := &wire{media: map[*description.Media]format.Format{}, cb: map[*description.Media]gortsplib.OnPacketRTPFunc{}}
	w.clock.Initialize()
	return w
}

func (w *wire) OnPacketRTP(m *description.Media, f format.Format, cb gortsplib.OnPacketRTPFunc) {
	w.media[m], w.cb[m] = f, cb
}

func (w *wire) PacketPTS2(m *description.Media, p *rtp.Packet) (int64, bool) {
	return w.clock.Decode(w.media[m], p)
}

func (w *wire) WritePacketRTCP(_ *description.Media, p rtcp.Packet) error {
	w.sent = append(w.sent, p)
	return nil
}

// tape is a sink that keeps everything.
type tape struct {
	starts []media.Tracks
	frames []*media.Frame
}

func (s *tape) Start(ts media.Tracks) { s.starts = append(s.starts, ts) }
func (s *tape) Write(f *media.Frame)  { s.frames = append(s.frames, f) }
func (s *tape) sizes() (sizes []int)  { return collect(s.frames, (*media.Frame).Size) }
func (s *tape) units() (number []int) {
	return collect(s.frames, func(f *media.Frame) int { return len(f.Units) })
}
func (s *tape) pts() (ms []int) {
	return collect(s.frames, func(f *media.Frame) int { return int(f.PTS.Milliseconds()) })
}
func collect(fs []*media.Frame, of func(*media.Frame) int) (out []int) {
	for _, f := range fs {
		out = append(out, of(f))
	}
	return out
}

func videoOf(f ...format.Format) *description.Media {
	return &description.Media{Type: description.MediaTypeVideo, Formats: f}
}

func soundOf(f ...format.Format) *description.Media {
	return &description.Media{Type: description.MediaTypeAudio, Formats: f}
}

func session(ms ...*description.Media) *description.Session {
	return &description.Session{Medias: ms}
}

func TestReceiverChooses(t *testing.T) {
	aac := &format.MPEG4Audio{PayloadTyp: 97, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3,
		Config: &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 44100, ChannelConfig: 2}}
	back := soundOf(&format.G711{SampleRate: 8000, ChannelCount: 1})
	back.IsBackChannel = true
	for name, c := range map[string]struct {
		desc *description.Session
		want string
	}{
		"first of each":                 {session(videoOf(&format.H264{PayloadTyp: 96}), videoOf(&format.H265{PayloadTyp: 97}), soundOf(aac)), "H264+AAC"},
		"first that works":              {session(videoOf(&format.MPEG4Video{PayloadTyp: 96}, &format.VP8{PayloadTyp: 97})), "VP8"},
		"sound first":                   {session(soundOf(&format.Opus{PayloadTyp: 96, ChannelCount: 2}), videoOf(&format.MJPEG{})), "opus+JPEG"},
		"no talk-back, no 16 kHz G.711": {session(back, soundOf(&format.G711{SampleRate: 16000, ChannelCount: 1}), videoOf(&format.AV1{})), "AV1"},
		"interleaved H264 (mode 2)":     {session(videoOf(&format.H264{PacketizationMode: 2}), videoOf(&format.VP9{})), "VP9"},
	} {
		r, err := NewReceiver(c.desc, nil)
		if err != nil || r.Tracks().String() != c.want || len(r.Medias()) != len(r.Tracks()) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	r, err := NewReceiver(session(soundOf(aac)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if tr := r.Tracks()[0]; tr.ClockRate != 44100 || tr.Channels != 2 || len(tr.Params) != 1 {
		t.Errorf("%+v", tr)
	}
	_, err = NewReceiver(session(videoOf(&format.MPEG4Video{PayloadTyp: 96})), nil)
	if !errors.Is(err, ErrNoTrack) || !strings.Contains(err.Error(), "MP4V-ES/90000") {
		t.Errorf("%v", err)
	}
	if _, err = NewReceiver(session(slices.Repeat([]*description.Media{videoOf(&format.VP8{})}, 17)...), nil); !errors.Is(err, ErrProtocol) {
		t.Errorf("%v", err)
	}
}

// h264 makes packets of a stream whose pictures are 3000 ticks apart.
type h264 struct {
	seq uint16
	ts  uint32
}

func (h *h264) packet(marker bool, payload ...byte) *rtp.Packet {
	p := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: h.seq, Timestamp: h.ts, SSRC: 7, Marker: marker}, Payload: payload}
	h.seq++
	return p
}

func (h *h264) next() { h.ts += 3600 }

const (
	idr0   = 0x80 // slice header that begins with first_mb_in_slice 0
	later  = 0x40 // one that does not
	fuHead = 0x7c // FU-A of NAL ref idc 3
)

func attach(t *testing.T, f format.Format) (*Receiver, *tape, func(*rtp.Packet)) {
	t.Helper()
	m := videoOf(f)
	r, err := NewReceiver(session(m), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, w := &tape{}, newWire()
	if err := r.Attach(w, s); err != nil {
		t.Fatal(err)
	}
	if len(s.starts) != 1 {
		t.Fatalf("%d starts", len(s.starts))
	}
	return r, s, func(p *rtp.Packet) { w.cb[m](p) }
}

func TestReceiverDropsBrokenPictures(t *testing.T) {
	r, s, in := attach(t, &format.H264{PayloadTyp: 96, PacketizationMode: 1})
	var h h264
	in(h.packet(true, 0x41, later, 0)) // no key frame yet: its time cannot be known
	h.next()
	in(h.packet(true, 0x65, idr0, 1))
	h.next()
	in(h.packet(false, 0x41, idr0, 1, 1)) // two slices
	in(h.packet(true, 0x41, later, 1, 1))
	h.next()
	in(h.packet(false, fuHead, 0x81, idr0, 2))
	h.seq++ // lost in the middle of a fragmented slice
	in(h.packet(false, fuHead, 0x41, 2))
	in(h.packet(true, 0x41, later, 2)) // a good slice of the same picture
	h.next()
	in(h.packet(true, 0x41, idr0, 3, 3, 3))
	h.next()
	h.seq++ // the first slice lost, the second one is whole
	in(h.packet(true, 0x41, later, 4))
	h.next()
	in(h.packet(true, 0x41, idr0, 5, 5, 5, 5))
	h.next()
	in(h.packet(false, 0x41, idr0, 6)) // the last packet lost, and with it the marker bit
	h.next()
	h.seq++
	in(h.packet(true, 0x41, idr0, 7, 7, 7, 7, 7))
	if got := s.sizes(); !slices.Equal(got, []int{3, 8, 5, 6, 7}) {
		t.Errorf("sizes %v", got)
	}
	if got := s.pts(); !slices.Equal(got, []int{0, 40, 120, 200, 280}) {
		t.Errorf("PTS %v", got)
	}
	if st := r.Stats(); st != (Stats{Frames: 5, Lost: 3, Broken: 3}) {
		t.Errorf("%+v", st)
	}
}

// TestReceiverWithoutMarker is a camera that never sets the marker bit.
func TestReceiverWithoutMarker(t *testing.T) {
	_, s, in := attach(t, &format.H264{PayloadTyp: 96, PacketizationMode: 1})
	var h h264
	for i := range 4 {
		in(h.packet(false, 0x67, 0x42, 0, 30))
		in(h.packet(false, 0x68, 1))
		in(h.packet(false, 0x65, idr0, byte(i)))
		h.next()
	}
	if !slices.Equal(s.units(), []int{3, 3, 3}) || !slices.Equal(s.pts(), []int{0, 40, 80}) {
		t.Errorf("units %v, PTS %v", s.units(), s.pts())
	}
}

func TestReceiverLimitsAccessUnits(t *testing.T) {
	r, s, in := attach(t, &format.H264{PayloadTyp: 96, PacketizationMode: 1})
	var h h264
	in(h.packet(true, 0x65, idr0))
	h.next()
	big := make([]byte, 60000)
	big[0], big[1] = 0x41, idr0
	for range 400 { // 24 MB without an end
		in(h.packet(false, big...))
	}
	h.next()
	in(h.packet(true, 0x41, idr0, 9))
	if st := r.Stats(); len(s.frames) != 2 || st.Broken != 1 {
		t.Errorf("%d frames, %+v", len(s.frames), st)
	}
}

func TestReceiverAsksForKeyFrames(t *testing.T) {
	m := videoOf(&format.VP8{PayloadTyp: 96})
	r, err := NewReceiver(session(m), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWire()
	r.RequestKey() // nothing to ask yet
	if err := r.Attach(w, &tape{}); err != nil {
		t.Fatal(err)
	}
	r.RequestKey()
	if len(w.sent) != 0 {
		t.Error("asked without knowing whom")
	}
	w.cb[m](&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 1234, Marker: true}, Payload: []byte{0x10, 0}})
	r.RequestKey()
	if len(w.sent) != 1 || w.sent[0].(*rtcp.PictureLossIndication).MediaSSRC != 1234 {
		t.Errorf("%v", w.sent)
	}
	r.Close()
	r.RequestKey()
	w.cb[m](&rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 1234, Marker: true, SequenceNumber: 1}, Payload: []byte{0x10, 0}})
	if len(w.sent) != 1 || r.Stats().Frames != 1 {
		t.Error("goes on after Close")
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, in := attach(t, &format.H264{PayloadTyp: 96, PacketizationMode: 1})
		began := time.Now()
		done := make(chan error, 1)
		go func() { done <- r.Watch(t.Context(), 10*time.Second) }()
		var h h264
		for range 5 {
			time.Sleep(4 * time.Second)
			in(h.packet(true, 0x65, idr0))
			h.next()
		}
		if err := <-done; !errors.Is(err, ErrSilent) {
			t.Errorf("%v", err)
		}
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("ended after %v, want 20 s with frames and 10 without", d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Watch(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		in(h.packet(true, 0x7a)) // FU-B is not supported: that is why nothing comes
		if err := r.Watch(t.Context(), time.Second); !errors.Is(err, ErrSilent) || !strings.Contains(err.Error(), "but packets that make none") {
			t.Errorf("%v", err)
		}
	})
}

// FuzzReceiver feeds what a hostile sender might send, for every codec.
func FuzzReceiver(f *testing.F) {
	formats := []func() format.Format{
		func() format.Format { return &format.H264{PayloadTyp: 96, PacketizationMode: 1} },
		func() format.Format { return &format.H265{PayloadTyp: 96} },
		func() format.Format { return &format.AV1{PayloadTyp: 96} },
		func() format.Format { return &format.VP8{PayloadTyp: 96} },
		func() format.Format { return &format.VP9{PayloadTyp: 96} },
		func() format.Format { return &format.MJPEG{} },
		func() format.Format { return &format.Opus{PayloadTyp: 96, ChannelCount: 1} },
		func() format.Format { return &format.G711{SampleRate: 8000, ChannelCount: 1} },
		func() format.Format {
			return &format.MPEG4Audio{PayloadTyp: 96, SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3,
				Config: &mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: 8000, ChannelCount: 1}}
		},
	}
	f.Add(byte(0), []byte{3, 0x81, 0x65, 0x80, 1, 4, 0x01, 0x7c, 0x85, 1, 4, 0x11, 0x7c, 0x45, 2})
	f.Add(byte(1), []byte{4, 0x81, 0x26, 1, 0x80, 4, 0x01, 0x62, 1, 0x93, 0})
	f.Add(byte(2), []byte{4, 0x81, 0x10, 0x0a, 1, 3, 0x01, 0x50, 0x32})
	f.Add(byte(3), []byte{3, 0x81, 0x10, 0, 0})
	f.Add(byte(4), []byte{3, 0x81, 0x0c, 0x80, 0})
	f.Add(byte(5), []byte{12, 0x81, 0, 0, 0, 0, 1, 0, 8, 8, 1, 2, 3})
	f.Add(byte(8), []byte{6, 0x81, 0, 16, 0, 16, 1, 2})
	f.Fuzz(func(t *testing.T, which byte, script []byte) {
		forma := formats[int(which)%len(formats)]()
		r, s, in := attach(t, forma)
		var seq uint16
		var ts uint32
		// Each packet: length, then flags (80 marker, 01 next timestamp,
		// 10 same timestamp after a loss), then the payload.
		for len(script) >= 2 {
			n := min(int(script[0]), len(script)-2)
			flags, payload := script[1], script[2:2+n]
			script = script[2+n:]
			if flags&1 != 0 {
				ts += 3000
			}
			if flags&0x10 != 0 {
				seq += uint16(flags)
			}
			p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts, Marker: flags&0x80 != 0}, Payload: payload}
			forma.PTSEqualsDTS(p) // gortsplib asks on a goroutine where a panic is the end
			in(p)
			seq++
		}
		if int(r.Stats().Frames) != len(s.frames) {
			t.Errorf("%d frames counted, %d delivered", r.Stats().Frames, len(s.frames))
		}
		for _, f := range s.frames {
			if f.Size() == 0 || f.Arrived.IsZero() {
				t.Errorf("%+v", f)
			}
			for _, u := range f.Units {
				if len(u) == 0 {
					t.Error("empty unit")
				}
			}
		}
	})
}
