// Package whep is the HTTP end of watching a camera by WebRTC: WHEP
// (draft-ietf-wish-whep). The sessions are those of package session.
package whep

import (
	"context"
	"log/slog"
	"net/http"

	"camwire/media/stream"
	"camwire/signaling/peer"
	"camwire/signaling/session"
)

// Options of New.
type Options struct {
	Registry *stream.Registry
	Peer     *peer.Server
	// Lifetime is that of session.Options.
	Lifetime func(context.Context) (context.Context, context.CancelFunc)
	Log      *slog.Logger
}

// New returns the sessions of viewers.
func New(o Options) *session.Table {
	return session.New(session.Options{
		Protocol: "WHEP", Purpose: "watch", ICEServers: o.Peer.ICEServers, Lifetime: o.Lifetime, Log: o.Log,
		Open: func(r *http.Request, camera, offer string, closed func()) (session.Conn, string, error) {
			cam, err := o.Registry.Get(camera)
			if err != nil {
				return nil, "", err
			}
			v, answer, err := o.Peer.View(r.Context(), peer.ViewOptions{
				Camera: cam, Offer: offer, PageHost: r.Host, Remote: peer.RemoteAddr(r.RemoteAddr), Closed: closed,
			})
			if err != nil {
				return nil, "", err // no typed nil in an interface
			}
			return v, answer, nil
		},
	})
}
