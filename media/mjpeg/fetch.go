package mjpeg

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

const (
	// maxRedirects bounds the way to the camera's answer.
	maxRedirects = 5
	// leftover is how much of an unwanted body is read so that its
	// connection can be used again.
	leftover = 16 << 10
)

// fetch sends the GET, answers the camera's question for a password, follows
// redirects, and returns an answer with status 200.
func (r *run) fetch(ctx context.Context) (*http.Response, error) {
	u := r.url
	for range maxRedirects + 1 {
		ours := sameOrigin(u, r.url)
		resp, err := r.get(ctx, u, ours)
		if err != nil {
			return nil, err
		}
		switch resp.StatusCode {
		case http.StatusOK:
			return resp, nil
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
			http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			code := resp.StatusCode
			finish(resp)
			if code == http.StatusUnauthorized && r.creds.given && !ours {
				return nil, &Error{
					Host: r.host, Reason: ErrUnauthorized,
					Text: fmt.Sprintf("redirects to %s://%s, which wants the password too: if that is right, write that address in source", u.Scheme, hostPort(u)),
				}
			}
			return nil, explainStatus(r.host, code, r.creds.given)
		}
		to, err := resp.Location()
		finish(resp)
		if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Hostname() == "" {
			return nil, &Error{Host: r.host, Reason: ErrRedirect, Text: "redirects to something that is no HTTP address"}
		}
		to.User = nil
		u = to
	}
	return nil, &Error{Host: r.host, Reason: ErrRedirect, Text: "redirects in circles: check the path in source"}
}

// get sends one request, and again with an answer to a 401. A second 401 is
// final unless it says that only the nonce had grown old.
func (r *run) get(ctx context.Context, u *url.URL, ours bool) (*http.Response, error) {
	answered := false
	for try := 0; ; try++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, &Error{Host: r.host, Reason: ErrURL, Text: "has an address that cannot be asked for"}
		}
		req.Header.Set("User-Agent", "camwire")
		req.Header.Set("Accept", "*/*")
		if ours && r.creds.given {
			r.creds.authorize(req)
		}
		// No http.Client: it would follow redirects with the password, and
		// quote the URL in its errors.
		resp, err := r.transport.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusUnauthorized || !ours || !r.creds.given || try == 2 {
			return resp, nil
		}
		answerable, stale := r.creds.learn(resp.Header.Values("WWW-Authenticate"))
		if !answerable || answered && !stale {
			return resp, nil
		}
		finish(resp)
		answered = true
	}
}

// finish ends an answer whose body nobody wants.
func finish(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, leftover)
	_ = resp.Body.Close()
}

// sameOrigin compares scheme, host and port (RFC 6454 section 4).
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && hostPort(a) == hostPort(b)
}
