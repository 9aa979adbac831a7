package server

import (
	"net/http"
)

// cors lets the pages of named origins in (Fetch standard, section 3.3): a
// dashboard on another port or host that plays a camera by WHEP. It reports
// true when it has answered a preflight. Cookies are never shared, so such a
// page signs in by a token or sees what strangers may see.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	w.Header().Add("Vary", "Origin")
	if !s.opts.Gate.AllowedOrigin(origin) {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	// What WHEP answers with (RFC 9725 section 4.2) and ours.
	h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Patch, X-Frame-Age-Ms, X-Frame-Timestamp")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
