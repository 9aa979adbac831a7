package rtsp

import (
	"context"

	"github.com/bluenviron/gortsplib/v4"
)

// tie makes a session end with the permission of whoever began it. It belongs
// to the session's goroutine.
type tie struct{ end func() }

// loose unties; a session that is not tied is left alone.
func (t *tie) loose() {
	if t.end != nil {
		t.end()
		t.end = nil
	}
}

// tie ties a session that begins to play or to record to what its connection
// has just been granted. The connection ends too, or it would go on asking.
func (s *Server) tie(c *gortsplib.ServerConn, session *gortsplib.ServerSession, t *tie) error {
	g := stateOf(c).granted
	if s.opts.Admit == nil || g == nil {
		return nil
	}
	life, end, err := s.opts.Admit(s.ctx, c.NetConn().RemoteAddr(), g.user, g.pass, g.token, g.perm, g.camera)
	if err != nil {
		return err
	}
	t.loose()
	stop := context.AfterFunc(life, func() {
		if s.ctx.Err() == nil {
			s.log.Info("session ended: its permission has", "camera", g.camera, "remote", c.NetConn().RemoteAddr().String())
		}
		session.Close()
		c.Close()
	})
	t.end = func() { stop(); end() }
	return nil
}
