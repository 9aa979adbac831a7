package api

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"camwire/media"
	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// activeWithin is how fresh the last frame of an active camera is.
const activeWithin = 10 * time.Second

// camera is one entry of the list. The fields up to StreamWSURL are a
// published contract, the others are ours.
type camera struct {
	DeviceID   string `json:"device_id"`
	Name       string `json:"name"`
	SourceType string `json:"source_type"`
	// Active says that the last frame is at most 10 s old.
	Active bool `json:"active"`
	// LastFrameAge is in seconds, null when there never was a frame.
	LastFrameAge *float64 `json:"last_frame_age"`
	// FrameSize is the size of the last frame in bytes.
	FrameSize int `json:"frame_size"`
	// Subscribers is how many are watching, in whatever way.
	Subscribers int    `json:"subscribers"`
	SnapshotURL string `json:"snapshot_url"`
	MJPEGURL    string `json:"mjpeg_url"`
	StreamWSURL string `json:"stream_ws_url"`

	State stream.State `json:"state"`
	// Error is why it is lost or failed, null when nothing is wrong.
	Error *string `json:"error"`
	// Codec of the video, "" while unknown.
	Codec media.Codec `json:"codec"`
	// Audio is the codec of the sound, "" for none.
	Audio media.Codec `json:"audio"`
	// Width and Height in pixels, 0 while unknown.
	Width  int     `json:"width"`
	Height int     `json:"height"`
	FPS    float64 `json:"fps"`
	// Bitrate in bit/s.
	Bitrate int    `json:"bitrate"`
	WHEPURL string `json:"whep_url"`
	// Viewers counts those watching by the way they do.
	Viewers map[string]int `json:"viewers"`
}

// status is one entry of the server's own view on its cameras.
type status struct {
	DeviceID string `json:"device_id"`
	Name     string `json:"name"`
	// Source has its secrets masked.
	Source  string  `json:"source"`
	Running bool    `json:"running"`
	FPS     float64 `json:"fps"`
	// Resolution is "1280x720", or "" while unknown.
	Resolution string  `json:"resolution"`
	FrameCount uint64  `json:"frame_count"`
	Error      *string `json:"error"`
}

func (h handler) list(c *gin.Context) {
	now := time.Now()
	l := []camera{} // never null
	for _, s := range h.visible(c) {
		l = append(l, describe(s.Info(), now))
	}
	answer(c, l)
}

func (h handler) status(c *gin.Context) {
	l := []status{}
	for _, s := range h.visible(c) {
		l = append(l, report(s.Info()))
	}
	answer(c, l)
}

// visible returns the cameras that whoever asks may see, sorted by id.
func (h handler) visible(c *gin.Context) []*stream.Stream {
	who := server.Identity(c)
	all := h.Registry.List()
	l := all[:0]
	for _, s := range all {
		if who.May(auth.View, s.ID()) {
			l = append(l, s)
		}
	}
	return l
}

func answer(c *gin.Context, v any) {
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, v)
}

func describe(i stream.Info, now time.Time) camera {
	video := videoOf(i.Tracks)
	d := camera{
		DeviceID: i.ID, Name: i.Name, SourceType: i.Type, FrameSize: i.LastSize,
		SnapshotURL: "/api/camera/snapshot/" + i.ID,
		MJPEGURL:    "/api/camera/mjpeg/" + i.ID,
		StreamWSURL: "/api/camera/ws/" + i.ID,
		WHEPURL:     "/whep/" + i.ID,
		State:       i.State, Error: reason(i),
		Codec: video.Codec, Width: video.Width, Height: video.Height,
		FPS: round(i.FPS, 10), Bitrate: i.Bitrate, Viewers: i.Viewers,
	}
	if a := i.Tracks.Audio(); a >= 0 {
		d.Audio = i.Tracks[a].Codec
	}
	if !i.LastFrame.IsZero() {
		age := max(now.Sub(i.LastFrame), 0)
		d.Active = age <= activeWithin
		seconds := round(age.Seconds(), 1000)
		d.LastFrameAge = &seconds
	}
	for _, n := range i.Viewers {
		d.Subscribers += n
	}
	return d
}

func report(i stream.Info) status {
	video := videoOf(i.Tracks)
	r := status{
		DeviceID: i.ID, Name: i.Name, Source: i.Location,
		Running: i.State == stream.Live,
		FPS:     round(i.FPS, 10), FrameCount: i.Frames, Error: reason(i),
	}
	if video.Width > 0 && video.Height > 0 {
		r.Resolution = strconv.Itoa(video.Width) + "x" + strconv.Itoa(video.Height)
	}
	return r
}

func videoOf(ts media.Tracks) media.Track {
	if v := ts.Video(); v >= 0 {
		return ts[v]
	}
	return media.Track{}
}

func reason(i stream.Info) *string {
	if i.Reason == "" {
		return nil
	}
	return &i.Reason
}

func round(v, steps float64) float64 { return math.Round(v*steps) / steps }
