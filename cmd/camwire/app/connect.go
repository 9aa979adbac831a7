package app

import (
	"fmt"
	"io"
	"slices"
	"time"

	"camwire/server/auth"
	"camwire/server/connect"
)

// phones makes the routes by which a phone becomes a camera.
func (a *app) phones() *connect.Handler {
	return connect.New(connect.Options{
		Reach: a.reach,
		CA: func() connect.CA {
			if m := a.certs.Load(); m != nil && m.CA() != nil {
				return m.CA()
			}
			return nil // and not a nil pointer in the interface
		},
		Issue: a.issue, Log: a.log,
	})
}

// reach is where phones find this server: the names that are known in public,
// then those of the certificate.
func (a *app) reach() connect.Reach {
	r := connect.Reach{HTTP: a.http.address(), HTTPS: a.https.address()}
	if m := a.certs.Load(); m != nil {
		r.Hosts = connect.Hosts(m.Leaf(), connect.MainAddress(), m.CA() != nil)
	}
	r.Hosts = append(slices.Clone(a.config().HTTPS.ACME.Domains), r.Hosts...)
	return r
}

func (a *app) issue(name string, perms []auth.Permission, cameras []string, ttl time.Duration) (string, time.Time, error) {
	secret, _, expires, err := a.gate.Issue(name, auth.Grant{Permissions: perms, Cameras: cameras}, ttl)
	return secret, expires, err
}

// greetPhone prints what makes a camera of the phone that it is held to. Only a
// person gets it: the link has a token in it, and logs are kept.
func (a *app) greetPhone(w io.Writer) {
	link, err := a.connect.TerminalLink()
	if err != nil {
		a.log.Debug("no link for phones", "error", err)
		return
	}
	qr, err := connect.TerminalQR(link)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "\n  A phone becomes a camera by this code, for %d minutes (later: Connect a phone, in the page):\n\n%s\n    %s\n",
		connect.DefaultMinutes, qr, link)
}
