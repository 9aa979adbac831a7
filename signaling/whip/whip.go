// Package whip is the HTTP end of sending a camera by WebRTC: WHIP (RFC 9725).
// The sessions are those of package session.
package whip

import (
	"context"
	"log/slog"
	"net/http"

	"camwire/media/stream"
	"camwire/signaling/peer"
	"camwire/signaling/session"
)

// TakeoverParam in the query of an offer ("?takeover=1") ends the publisher
// that the camera has; without it a second one is refused.
const TakeoverParam = "takeover"

// Options of New.
type Options struct {
	Registry *stream.Registry
	Peer     *peer.Server
	// Lifetime is that of session.Options.
	Lifetime func(context.Context) (context.Context, context.CancelFunc)
	Log      *slog.Logger
}

// New returns the sessions of publishers.
func New(o Options) *session.Table {
	return session.New(session.Options{
		Protocol: "WHIP", Purpose: "publish", ICEServers: o.Peer.ICEServers, Lifetime: o.Lifetime, Log: o.Log,
		Open: func(r *http.Request, camera, offer string, closed func()) (session.Conn, string, error) {
			p, answer, err := o.Peer.Publish(r.Context(), peer.PublishOptions{
				Registry: o.Registry, Camera: camera, Offer: offer, Takeover: takeover(r),
				PageHost: r.Host, Remote: peer.RemoteAddr(r.RemoteAddr), Closed: closed,
			})
			if err != nil {
				return nil, "", err // no typed nil in an interface
			}
			return p, answer, nil
		},
	})
}

func takeover(r *http.Request) bool {
	switch r.URL.Query().Get(TakeoverParam) {
	case "1", "true", "yes":
		return true
	}
	return false
}
