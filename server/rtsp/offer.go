package rtsp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"camwire/media"
	"camwire/media/codec"
	"camwire/media/hub"
	"camwire/media/stream"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

var (
	errNoPicture   = errors.New("the camera gives no picture at the moment")
	errCannotCarry = errors.New("this stream cannot be carried by RTSP")
)

// leaseKind is how players count in the statistics of a camera.
const leaseKind = "rtsp"

// Payload types. 0, 8 and 26 are static (RFC 3551 section 6).
const (
	videoPayloadType = 96
	audioPayloadType = 97
)

// offer is a camera as it can be played: a lease that keeps it running, and
// the description of its tracks.
type offer struct {
	camera string
	lease  *stream.Lease
	tracks media.Tracks
	epoch  uint32
	desc   *description.Session
	// medias has the place of each track in desc, nil for one left out.
	medias []*description.Media
}

func (o *offer) release() { o.lease.Release() }

// current reports whether the description still holds.
func (o *offer) current() bool {
	_, epoch := o.lease.Hub().Tracks()
	return epoch == o.epoch
}

// open leases a camera, or the H.264 made from it where its pictures cannot
// go out as they are, and waits for what the description needs.
func (s *Server) open(camera string) (*offer, error) {
	str, err := s.opts.Registry.Get(camera)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opts.WaitTimeout)
	defer cancel()
	lease, err := str.Lease(leaseKind)
	if err != nil {
		return nil, err
	}
	tracks, epoch, err := s.known(ctx, lease.Hub())
	if errors.Is(err, errCannotCarry) {
		why := err
		derived, err := str.LeaseDerived("h264", leaseKind)
		lease.Release()
		if err != nil {
			return nil, fmt.Errorf("%w: %w, and H.264 cannot be made of it: %w", errCannotCarry, why, err)
		}
		lease = derived
		tracks, epoch, err = s.known(ctx, lease.Hub())
		if err != nil {
			lease.Release()
			return nil, fmt.Errorf("camera %q as H.264: %w", camera, waited(err))
		}
	} else if err != nil {
		lease.Release()
		return nil, fmt.Errorf("camera %q: %w", camera, waited(err))
	}
	o := &offer{camera: camera, lease: lease, tracks: tracks, epoch: epoch}
	if err := o.describe(); err != nil {
		lease.Release()
		return nil, fmt.Errorf("camera %q: %w", camera, err)
	}
	return o, nil
}

func waited(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, hub.ErrClosed) {
		return fmt.Errorf("%w: %w", errNoPicture, err)
	}
	return err
}

// known waits for the tracks, and for a key frame where only that can tell
// what a description needs. errCannotCarry says that the video must be encoded.
func (s *Server) known(ctx context.Context, h *hub.Hub) (media.Tracks, uint32, error) {
	tracks, err := h.WaitTracks(ctx)
	if err != nil {
		return nil, 0, err
	}
	if v := tracks.Video(); v >= 0 {
		switch t := tracks[v]; {
		case t.Codec.Raw():
			return nil, 0, fmt.Errorf("%w: %s is not compressed", errCannotCarry, t.Codec)
		case t.Codec == media.JPEG:
			f, err := firstKey(ctx, h)
			if err != nil {
				return nil, 0, err
			}
			if _, err := jpegPayloads(f, s.huffman); err != nil {
				return nil, 0, fmt.Errorf("%w: %w", errCannotCarry, err)
			}
		case len(t.Params) == 0 && (t.Codec == media.H264 || t.Codec == media.H265):
			if _, err := firstKey(ctx, h); err != nil {
				return nil, 0, err
			}
		}
	}
	tracks, epoch := h.Tracks()
	return tracks, epoch, nil
}

// firstKey returns the key frame that a player would begin with.
func firstKey(ctx context.Context, h *hub.Hub) (*media.Frame, error) {
	c := h.NewCursor(hub.CursorOptions{})
	for {
		f, err := c.Next(ctx)
		if err != nil {
			return nil, err
		}
		if f.Key && f.Track == c.Tracks().Video() {
			return f, nil
		}
	}
}

func (o *offer) describe() error {
	o.desc = &description.Session{Title: o.camera}
	o.medias = make([]*description.Media, len(o.tracks))
	for i, t := range o.tracks {
		f := formatOf(t)
		if f == nil {
			continue
		}
		m := &description.Media{
			Type:    description.MediaTypeVideo,
			Control: "trackID=" + strconv.Itoa(len(o.desc.Medias)),
			Formats: []format.Format{f},
		}
		if t.Codec.Audio() {
			m.Type = description.MediaTypeAudio
		}
		o.medias[i] = m
		o.desc.Medias = append(o.desc.Medias, m)
	}
	if len(o.desc.Medias) == 0 {
		return fmt.Errorf("%w: its tracks are %s", errCannotCarry, o.tracks)
	}
	return nil
}

// formatOf describes a track, from the stream's own parameters; nil where that
// cannot be done.
func formatOf(t media.Track) format.Format {
	switch t.Codec {
	case media.H264:
		f := &format.H264{PayloadTyp: videoPayloadType, PacketizationMode: 1}
		for _, p := range t.Params {
			switch {
			case len(p) > 0 && p[0]&0x1f == 7 && f.SPS == nil:
				f.SPS = p
			case len(p) > 0 && p[0]&0x1f == 8 && f.PPS == nil:
				f.PPS = p
			}
		}
		return f
	case media.H265:
		f := &format.H265{PayloadTyp: videoPayloadType}
		for _, p := range t.Params {
			if len(p) == 0 {
				continue
			}
			switch p[0] >> 1 & 0x3f {
			case 32:
				f.VPS = p
			case 33:
				f.SPS = p
			case 34:
				f.PPS = p
			}
		}
		return f
	case media.VP8:
		return &format.VP8{PayloadTyp: videoPayloadType}
	case media.VP9:
		return &format.VP9{PayloadTyp: videoPayloadType, ProfileID: parameter(t, "profile-id")}
	case media.AV1:
		return &format.AV1{
			PayloadTyp: videoPayloadType,
			LevelIdx:   parameter(t, "level-idx"), Profile: parameter(t, "profile"), Tier: parameter(t, "tier"),
		}
	case media.JPEG:
		return &format.MJPEG{}
	case media.Opus:
		return &format.Opus{PayloadTyp: audioPayloadType, ChannelCount: max(t.Channels, 1)}
	case media.PCMU:
		return &format.G711{PayloadTyp: 0, MULaw: true, SampleRate: 8000, ChannelCount: 1}
	case media.PCMA:
		return &format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1}
	case media.AAC:
		var c mpeg4audio.AudioSpecificConfig
		if len(t.Params) == 0 || c.Unmarshal(t.Params[0]) != nil {
			return nil
		}
		return &format.MPEG4Audio{
			PayloadTyp: audioPayloadType, Config: &c,
			SizeLength: aacSizeBits, IndexLength: aacIndexBits, IndexDeltaLength: aacIndexBits,
		}
	}
	return nil
}

// parameter reads one number of the track's fmtp.
func parameter(t media.Track, name string) *int {
	for kv := range strings.SplitSeq(codec.FMTP(t), ";") {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			if n, err := strconv.Atoi(v); err == nil {
				return &n
			}
		}
	}
	return nil
}
