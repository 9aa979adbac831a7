package connect

import (
	"errors"
	"net/http"
	"time"

	"camwire/server/auth"
)

// ErrUnreachable says that no phone can find the secure pages of this server.
var ErrUnreachable = errors.New("no phone can reach the secure pages: https.address is empty, or leads to this machine only")

// TerminalLink makes a token as the page does, and the address that a QR code
// at the terminal leads to. The token ends after DefaultMinutes.
func (h *Handler) TerminalLink() (string, error) {
	reach, nobody := h.o.Reach(), &http.Request{Header: http.Header{}}
	secure := bases(nobody, reach, true)
	if len(secure) == 0 {
		return "", ErrUnreachable
	}
	token, _, err := h.o.Issue("phone, from the terminal", []auth.Permission{auth.Publish}, []string{anyPhone}, DefaultMinutes*time.Minute)
	if err != nil {
		return "", err
	}
	return scan(secure, bases(nobody, reach, false), h.o.CA() != nil, token), nil
}

// scan is where a code leads. A phone that does not know the authority yet
// would meet nothing but a warning on the secure page. The plain one explains,
// and goes on by itself when there is nothing to explain. There the token
// stands in the fragment, which is not sent.
func scan(secure, plain []string, own bool, token string) string {
	if own && len(plain) > 0 {
		return plain[0] + page + "#token=" + escape(token)
	}
	return secure[0] + page + "?token=" + escape(token)
}
