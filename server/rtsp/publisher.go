package rtsp

import (
	"context"
	"log/slog"
	"time"

	source "camwire/media/rtsp"
	"camwire/media/stream"

	"github.com/bluenviron/gortsplib/v4"
)

// yieldAfter is how long a publisher must have sent no picture before another
// one takes its camera: the encoder that was restarted comes back before the
// death of its first connection has been noticed.
const yieldAfter = 10 * time.Second

// publisher is a session that publishes a camera, from ANNOUNCE to its end.
type publisher struct {
	camera      string
	log         *slog.Logger
	session     *gortsplib.ServerSession
	receiver    *source.Receiver
	publication *stream.Publication
	release     func()
	tie         tie

	cancel context.CancelFunc
	done   chan struct{} // watch has returned
}

func (s *Server) newPublisher(camera string, ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*publisher, error) {
	remote := ctx.Conn.NetConn().RemoteAddr()
	log := s.log.With("camera", camera, "remote", remote.String())
	receiver, err := source.NewReceiver(ctx.Description, log)
	if err != nil {
		return nil, err
	}
	from := addrOf(remote)
	if err := s.sessions.take(from); err != nil {
		return nil, err
	}
	session := ctx.Session
	publication, err := s.opts.Registry.Publish(camera, stream.PublishOptions{
		Type:       "rtsp",
		Location:   "published by " + from.String(),
		RequestKey: receiver.RequestKey,
		Yields:     func() bool { return receiver.Silence() > yieldAfter },
		Ended:      func(error) { session.Close() },
	})
	if err != nil {
		s.sessions.give(from)
		return nil, err
	}
	watching, cancel := context.WithCancel(s.ctx)
	p := &publisher{
		camera: camera, log: log, session: session, receiver: receiver, publication: publication,
		release: func() { s.sessions.give(from) },
		cancel:  cancel, done: make(chan struct{}),
	}
	go p.watch(watching, s.opts)
	log.Info("RTSP publisher announced", "tracks", receiver.Tracks().String())
	return p, nil
}

// watch ends a session that sends nothing, also one that announces and never
// records: it would keep the camera from the next publisher.
func (p *publisher) watch(ctx context.Context, o Options) {
	defer close(p.done)
	if err := p.receiver.Watch(ctx, o.SilenceTimeout); ctx.Err() == nil {
		p.log.Warn("RTSP publisher ended", "error", err)
		p.session.Close()
	}
}

// close is called once, when the session has ended.
func (p *publisher) close(why error) {
	p.cancel()
	<-p.done
	p.receiver.Close()
	p.publication.Close()
	p.release()
	st := p.receiver.Stats()
	p.log.Info("RTSP publisher left", "reason", why,
		"frames", st.Frames, "packets_lost", st.Lost, "broken", st.Broken)
}
