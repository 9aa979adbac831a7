package peer

// ViewerLink is how the connection of one viewer of a camera is.
type ViewerLink struct {
	Camera string
	Link   Link
}

// Links returns those of all viewers.
func (s *Server) Links() []ViewerLink {
	s.mu.Lock()
	viewers := make([]*Viewer, 0, len(s.conns))
	for c := range s.conns {
		if v, ok := c.(*Viewer); ok {
			viewers = append(viewers, v)
		}
	}
	s.mu.Unlock()
	out := make([]ViewerLink, len(viewers))
	for i, v := range viewers {
		out[i] = ViewerLink{Camera: v.opts.Camera.ID(), Link: v.Link()}
	}
	return out
}
