package rtsp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	source "camwire/media/rtsp"
	"camwire/media/stream"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// handler answers gortsplib's calls. Those about a connection come from the
// goroutine of that connection, those about a session from the session's while
// the connection's waits, so what belongs to either needs no lock.
//
// Only OnDescribe and the first OnSetup of a session may take their time:
// while a later call of a session lasts, a second connection that names the
// session would hold up the whole server.
type handler struct{ s *Server }

// connState is what a connection remembers between requests.
type connState struct {
	granted *grant // newest
	offer   *offer // described, not set up yet
}

func (st *connState) forget() {
	if st.offer != nil {
		st.offer.release()
		st.offer = nil
	}
}

func stateOf(c *gortsplib.ServerConn) *connState {
	st, ok := c.UserData().(*connState)
	if !ok {
		st = &connState{}
		c.SetUserData(st)
	}
	return st
}

// streaming tells the connection whether media flow.
func streaming(c *gortsplib.ServerConn, on bool) {
	if n, ok := c.NetConn().(*conn); ok {
		n.stream(on)
	}
}

func (h *handler) OnConnOpen(ctx *gortsplib.ServerHandlerOnConnOpenCtx) {
	ctx.Conn.SetUserData(&connState{})
}

func (h *handler) OnConnClose(ctx *gortsplib.ServerHandlerOnConnCloseCtx) {
	stateOf(ctx.Conn).forget()
}

func (h *handler) OnRequest(c *gortsplib.ServerConn, req *base.Request) {
	if n, ok := c.NetConn().(*conn); ok {
		n.whole()
	}
	if req.Method == base.Teardown || req.Method == base.Pause {
		streaming(c, false)
	}
}

func (h *handler) OnResponse(_ *gortsplib.ServerConn, res *base.Response) {
	res.Header["Server"] = base.HeaderValue{"camwire"}
	if _, ok := res.Header["WWW-Authenticate"]; ok {
		res.Header["WWW-Authenticate"] = base.HeaderValue{`Basic realm="camwire"`}
	}
}

// OnDescribe opens the camera and describes it. The camera stays open for the
// SETUP that follows.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	camera, res, err := h.s.authorize(ctx.Conn, ctx.Request, ctx.Path, ctx.Query, false)
	if res != nil {
		return res, nil, err
	}
	st := stateOf(ctx.Conn)
	st.forget()
	o, err := h.s.open(camera)
	if err != nil {
		return h.s.refuse(base.Describe, camera, ctx.Conn, err), nil, nil
	}
	body, err := o.desc.Marshal(false)
	if err != nil {
		o.release()
		return h.s.refuse(base.Describe, camera, ctx.Conn, err), nil, nil
	}
	st.offer = o
	res = response(base.StatusOK, "")
	res.Body = body
	return res, nil, nil
}

func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	pub, publishing := ctx.Session.UserData().(*publisher)
	camera, res, err := h.s.authorize(ctx.Conn, ctx.Request, ctx.Path, ctx.Query, publishing)
	if res != nil {
		return res, nil, err
	}
	if publishing {
		if pub.camera != camera {
			return response(base.StatusBadRequest, ""), nil, nil
		}
		return response(base.StatusOK, ""), nil, nil
	}
	p, ok := ctx.Session.UserData().(*player)
	if !ok {
		if p, err = h.s.newPlayer(camera, ctx); err != nil {
			return h.s.refuse(base.Setup, camera, ctx.Conn, err), nil, nil
		}
		ctx.Session.SetUserData(p)
	}
	if p.offer.camera != camera {
		return response(base.StatusBadRequest, "a session is about one camera"), nil, nil
	}
	return response(base.StatusOK, ""), p.stream, nil
}

func (h *handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	camera, res, err := h.s.authorize(ctx.Conn, ctx.Request, ctx.Path, ctx.Query, false)
	if res != nil {
		return res, err
	}
	p, ok := ctx.Session.UserData().(*player)
	if !ok || p.offer.camera != camera {
		return response(base.StatusMethodNotValidInThisState, ""), nil
	}
	if err := h.s.tie(ctx.Conn, ctx.Session, &p.tie); err != nil {
		return response(base.StatusUnauthorized, ""), liberrors.ErrServerAuth{}
	}
	p.start()
	streaming(ctx.Conn, true)
	return response(base.StatusOK, ""), nil
}

func (h *handler) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	camera, res, err := h.s.authorize(ctx.Conn, ctx.Request, ctx.Path, ctx.Query, true)
	if res != nil {
		return res, err
	}
	if ctx.Session.UserData() != nil {
		return response(base.StatusMethodNotValidInThisState, ""), nil
	}
	p, err := h.s.newPublisher(camera, ctx)
	if err != nil {
		return h.s.refuse(base.Announce, camera, ctx.Conn, err), nil
	}
	ctx.Session.SetUserData(p)
	return response(base.StatusOK, ""), nil
}

func (h *handler) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	camera, res, err := h.s.authorize(ctx.Conn, ctx.Request, ctx.Path, ctx.Query, true)
	if res != nil {
		return res, err
	}
	p, ok := ctx.Session.UserData().(*publisher)
	if !ok || p.camera != camera {
		return response(base.StatusMethodNotValidInThisState, ""), nil
	}
	if err := h.s.tie(ctx.Conn, ctx.Session, &p.tie); err != nil {
		return response(base.StatusUnauthorized, ""), liberrors.ErrServerAuth{}
	}
	if err := p.receiver.Attach(ctx.Session, p.publication); err != nil {
		return h.s.refuse(base.Record, camera, ctx.Conn, err), nil
	}
	streaming(ctx.Conn, true)
	return response(base.StatusOK, ""), nil
}

func (h *handler) OnPause(ctx *gortsplib.ServerHandlerOnPauseCtx) (*base.Response, error) {
	p, playing := ctx.Session.UserData().(*player)
	_, res, err := h.s.authorize(ctx.Conn, ctx.Request, ctx.Path, ctx.Query, !playing)
	if res != nil {
		return res, err
	}
	if playing {
		p.pause()
	}
	return response(base.StatusOK, ""), nil
}

// OnGetParameter is a keep-alive.
func (h *handler) OnGetParameter(*gortsplib.ServerHandlerOnGetParameterCtx) (*base.Response, error) {
	return response(base.StatusOK, ""), nil
}

func (h *handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	switch u := ctx.Session.UserData().(type) {
	case *player:
		u.tie.loose()
		u.close(ctx.Error)
	case *publisher:
		u.tie.loose()
		u.close(ctx.Error)
	}
}

// OnPacketsLost has nothing to do: the Receiver counts for itself, also over
// TCP. Without this method gortsplib would write to the standard log.
func (h *handler) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

func (h *handler) OnDecodeError(ctx *gortsplib.ServerHandlerOnDecodeErrorCtx) {
	if p, ok := ctx.Session.UserData().(*publisher); ok {
		p.receiver.DecodeError(ctx.Error)
	}
}

func (h *handler) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}

// newPlayer prepares a session that plays: with what the connection has been
// told by DESCRIBE, or anew.
func (s *Server) newPlayer(camera string, ctx *gortsplib.ServerHandlerOnSetupCtx) (*player, error) {
	from := addrOf(ctx.Conn.NetConn().RemoteAddr())
	if err := s.sessions.take(from); err != nil {
		return nil, err
	}
	p, err := s.makePlayer(camera, ctx)
	if err != nil {
		s.sessions.give(from)
		return nil, err
	}
	p.release = func() { s.sessions.give(from) }
	return p, nil
}

func (s *Server) makePlayer(camera string, ctx *gortsplib.ServerHandlerOnSetupCtx) (*player, error) {
	st := stateOf(ctx.Conn)
	o := st.offer
	st.offer = nil
	if o != nil && (o.camera != camera || !o.current()) {
		o.release()
		o = nil
	}
	if o == nil {
		var err error
		if o, err = s.open(camera); err != nil {
			return nil, err
		}
	}
	str := &gortsplib.ServerStream{Server: s.srv, Desc: o.desc}
	if err := str.Initialize(); err != nil {
		o.release()
		return nil, err
	}
	return &player{
		s: s, session: ctx.Session, stream: str, offer: o,
		udp: ctx.Transport == gortsplib.TransportUDP,
		log: s.log.With("camera", camera, "remote", ctx.Conn.NetConn().RemoteAddr().String(),
			"transport", ctx.Transport.String()),
	}, nil
}

// refuse answers an error: the kind of it to the client, all of it to the log.
func (s *Server) refuse(verb base.Method, camera string, c *gortsplib.ServerConn, err error) *base.Response {
	if errors.Is(err, errTooMany) {
		s.opts.Refused("sessions")
	}
	s.refused(string(verb), camera, c.NetConn().RemoteAddr(), err)
	return response(statusOf(err))
}

// refused logs, at most once a second.
func (s *Server) refused(what, camera string, remote net.Addr, err error) {
	s.refusals.Lock()
	sum, due := s.refusals.Add(time.Now(), 1)
	s.refusals.Unlock()
	if !due {
		return
	}
	if len(camera) > 64 {
		camera = camera[:64] + "…"
	}
	ip := netip.Addr{}
	if remote != nil {
		ip = addrOf(remote)
	}
	s.log.Warn("RTSP request refused", "request", what, "camera", camera, "remote", ip.String(), "count", sum, "error", err)
}

// statusOf is the one place that maps errors to RTSP statuses.
func statusOf(err error) (base.StatusCode, string) {
	for _, m := range []struct {
		err  error
		code base.StatusCode
		say  bool // the reason may be told
	}{
		{stream.ErrBadID, base.StatusBadRequest, true},
		{stream.ErrUnknown, base.StatusNotFound, true},
		{stream.ErrClosed, base.StatusNotFound, true},
		{stream.ErrDisabled, base.StatusForbidden, true},
		{stream.ErrNotPushable, base.StatusForbidden, true},
		{stream.ErrPublished, base.StatusForbidden, true},
		{stream.ErrFull, base.StatusNotEnoughBandwidth, true},
		{stream.ErrTooMany, base.StatusNotEnoughBandwidth, true},
		{errTooMany, base.StatusNotEnoughBandwidth, true},
		{errCannotCarry, base.StatusUnsupportedMediaType, true},
		{source.ErrNoTrack, base.StatusUnsupportedMediaType, true},
		{source.ErrProtocol, base.StatusBadRequest, false},
		{errNoPicture, base.StatusServiceUnavailable, true},
		{context.Canceled, base.StatusServiceUnavailable, false},
	} {
		if errors.Is(err, m.err) {
			if m.say {
				return m.code, m.err.Error()
			}
			return m.code, ""
		}
	}
	return base.StatusInternalServerError, ""
}
