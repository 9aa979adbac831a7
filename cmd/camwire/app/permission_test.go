package app

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"camwire/server/auth"
	"camwire/server/rtsp"
)

// public are the routes that anybody may use. One that is not in this list and
// lets in a stranger is a mistake: think twice, then add it.
var public = map[string]bool{
	"GET /healthz":             true,
	"GET /readyz":              true,
	"GET /api/session":         true,
	"POST /api/session":        true,
	"DELETE /api/session":      true,
	"GET /api/openapi.yaml":    true,
	"GET /api/openapi.json":    true,
	"GET /api/docs":            true,
	"GET /api/ca.crt":          true,
	"GET /api/ca.mobileconfig": true,
	"GET /api/connect/secure":  true, // for a phone that has no link yet
}

// publicBelow are places with files that anybody may have.
var publicBelow = []string{"GET /api/docs/"}

func isPublic(route string) bool {
	for _, p := range publicBelow {
		if strings.HasPrefix(route, p) {
			return true
		}
	}
	return public[route]
}

// Every route, as it is in the running program: a stranger gets in nowhere but
// where anybody may, somebody with one camera nowhere else, and nobody without
// the permission that a route names.
func TestEveryRouteAsksForItsPermission(t *testing.T) {
	l := start(t, "cameras: []")
	// No permission that any route asks for, on any camera there is.
	little, _, _, err := l.app.gate.Issue("little", auth.Grant{Permissions: []auth.Permission{auth.View, auth.Publish, auth.Control, auth.Playback, auth.Admin}, Cameras: []string{"elsewhere"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, token string) int {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, method, l.base+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := l.web.Do(r)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	routes := l.app.server.Routes()
	if len(routes) < 20 {
		t.Fatalf("only %d routes", len(routes))
	}
	for _, r := range routes {
		route := r.Method + " " + r.Path
		if isPublic(route) != (r.Perm == auth.Public) {
			t.Errorf("%s: permission %s, expected to be public: %v", route, r.Perm, isPublic(route))
			continue
		}
		if r.Perm == auth.Public {
			continue
		}
		path := concrete(r.Path)
		if got := ask(r.Method, path, ""); got != http.StatusUnauthorized {
			t.Errorf("%s lets in a stranger: %d", route, got)
		}
		about := strings.Contains(r.Path, ":id")
		if about || r.Perm == auth.Admin {
			if got := ask(r.Method, path, little); got != http.StatusForbidden {
				t.Errorf("%s lets in somebody without %s: %d", route, r.Perm, got)
			}
		}
	}
}

// concrete puts values in the places of a pattern's parameters.
func concrete(pattern string) string {
	parts := strings.Split(pattern, "/")
	for i, p := range parts {
		switch {
		case p == ":id":
			parts[i] = "door"
		case strings.HasPrefix(p, ":"), strings.HasPrefix(p, "*"):
			parts[i] = "x"
		}
	}
	return strings.Join(parts, "/")
}

// Every RTSP verb asks for its permission, too.
func TestEveryVerbAsksForItsPermission(t *testing.T) {
	l := start(t, "cameras: []")
	secret, _, _, err := l.app.gate.Issue("other", auth.Grant{Permissions: []auth.Permission{auth.View, auth.Publish}, Cameras: []string{"elsewhere"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	address := l.app.rtsp.address()
	ask := func(verb, query string) string {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		body := ""
		if verb == "ANNOUNCE" {
			body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"
		}
		fmt.Fprintf(c, "%s rtsp://%s/door%s RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s",
			verb, address, query, len(body), body)
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return "closed"
		}
		_, status, _ := strings.Cut(strings.TrimSpace(line), " ")
		return status
	}
	for verb, v := range rtsp.Verbs() {
		if v.Play == rtsp.Public {
			continue
		}
		for _, query := range []string{"", "?token=" + secret} {
			if got := ask(string(verb), query); strings.HasPrefix(got, "2") {
				t.Errorf("%s%s: %s", verb, query, got)
			}
		}
	}
	for _, verb := range []string{"DESCRIBE", "ANNOUNCE"} {
		if got := ask(verb, ""); !strings.HasPrefix(got, "401") {
			t.Errorf("%s of a stranger: %s", verb, got)
		}
		if got := ask(verb, "?token="+secret); !strings.HasPrefix(got, "403") {
			t.Errorf("%s of somebody with another camera: %s", verb, got)
		}
	}
}
