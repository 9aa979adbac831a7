package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Kind is how somebody proved who he is.
type Kind string

// Kinds of identity.
const (
	Anonymous Kind = "anonymous" // a stranger
	Owner     Kind = "admin"     // the administrator's token
	ByUser    Kind = "user"      // name and password
	ByToken   Kind = "token"
	ByJWT     Kind = "jwt"
)

const (
	anonymousName = "anonymous"
	ownerName     = "admin"
)

// Identity is somebody the gate knows, or a stranger with the permissions that
// strangers have. The zero value may nothing but what is Public.
type Identity struct {
	// Name is for people and logs: that of the user or the token, the subject
	// of a JWT, "admin", "anonymous". Only together with Kind it is unique.
	Name string
	Kind Kind
	// Expires is when the token or the session ends, zero for never.
	Expires time.Time

	grant Grant
	proof proof
}

// May reports whether the identity has a permission for a camera; see
// Grant.May for an empty one.
func (i Identity) May(p Permission, camera string) bool { return i.grant.May(p, camera) }

// Known reports whether it is somebody who signed in or sent credentials.
func (i Identity) Known() bool { return i.Kind != "" && i.Kind != Anonymous }

// proof is what an identity rests on, so that it can be looked at again without
// the secret: as long as it is there unchanged, the identity holds. Sessions
// keep it across restarts.
type proof struct {
	Kind Kind `json:"kind"`
	// Subject is the name of the user, the id of the token, the subject of
	// the JWT.
	Subject string `json:"subject,omitempty"`
	// Print changes with the password or the token: with a new one, what
	// rested on the old one ends.
	Print string `json:"print,omitempty"`
	// Grant and Expires are those of a JWT, which nobody else keeps. Expires
	// of the others is looked up.
	Grant   *Grant    `json:"grant,omitempty"`
	Expires time.Time `json:"expires,omitzero"`

	session sessionID // the session it came by; zero: it came by itself
}

// printOf is a short name for a hash, from which it cannot be had back.
func printOf(parts ...string) string {
	sum := sha256.Sum256([]byte("camwire print\x00" + strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

func (g *Gate) anonymous() Identity {
	return Identity{
		Name: anonymousName, Kind: Anonymous,
		grant: Grant{Permissions: g.policy.Load().Anonymous}, proof: proof{Kind: Anonymous},
	}
}

func (g *Gate) owner() Identity {
	return Identity{
		Name: ownerName, Kind: Owner, grant: Grant{Permissions: []Permission{Admin}},
		proof: proof{Kind: Owner, Print: g.ownerPrint},
	}
}

func userIdentity(u *userRecord) Identity {
	return Identity{
		Name: u.Name, Kind: ByUser, grant: u.Grant,
		proof: proof{Kind: ByUser, Subject: strings.ToLower(u.Name), Print: printOf(u.Hash)},
	}
}

func tokenIdentity(t *tokenRecord) Identity {
	return Identity{
		Name: t.Name, Kind: ByToken, Expires: t.Expires, grant: t.Grant,
		proof: proof{Kind: ByToken, Subject: t.ID, Print: printOf(t.Hash)},
	}
}

// resolve looks up what an identity rests on, and returns it as it is now. It
// reports false when it rests on nothing any more.
func (g *Gate) resolve(p proof, now time.Time) (Identity, bool) {
	var id Identity
	switch p.Kind {
	case Anonymous:
		id = g.anonymous()
	case Owner:
		id = g.owner()
	case ByUser:
		u := g.book.current().users[p.Subject]
		if u == nil {
			return Identity{}, false
		}
		id = userIdentity(u)
	case ByToken:
		t := g.book.current().ids[p.Subject]
		if t == nil {
			return Identity{}, false
		}
		id = tokenIdentity(t)
	case ByJWT:
		if p.Grant == nil || !g.keys.Load().holds(p.Print) {
			return Identity{}, false
		}
		id = Identity{Name: p.Subject, Kind: ByJWT, Expires: p.Expires, grant: *p.Grant, proof: p}
		id.proof.session = sessionID{}
	default:
		return Identity{}, false
	}
	if id.proof.Print != p.Print || !id.Expires.IsZero() && !now.Before(id.Expires) {
		return Identity{}, false
	}
	if p.session == (sessionID{}) {
		return id, true
	}
	end, ok := g.sessions.end(p.session, now)
	if !ok {
		return Identity{}, false
	}
	return id.by(p.session, end), true
}

// by is the identity as it comes by a session.
func (i Identity) by(s sessionID, end time.Time) Identity {
	i.proof.session = s
	if i.Expires.IsZero() || end.Before(i.Expires) {
		i.Expires = end
	}
	return i
}

// Permissions returns those that the identity has for any camera, sorted.
func (i Identity) Permissions() []Permission {
	l := []Permission{}
	for _, p := range []Permission{Admin, Control, Playback, Publish, View} {
		if i.grant.holds(p) {
			l = append(l, p)
		}
	}
	return l
}

// Cameras returns the ids and beginnings of ids that the identity has any
// permission for, sorted; empty means all.
func (i Identity) Cameras() []string {
	l := []string{}
	for _, g := range i.grant.flat() {
		if g.everywhere() {
			return []string{}
		}
		l = append(l, g.Cameras...)
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// Grants returns what the identity may do, one entry for each list of cameras,
// with nothing in Also.
func (i Identity) Grants() []Grant {
	l := []Grant{}
	for _, g := range i.grant.flat() {
		l = append(l, g.normal())
	}
	return l
}

// flat returns a grant and those in its Also as a list; those that allow
// nothing are left out.
func (g Grant) flat() []Grant {
	var l []Grant
	for _, a := range append([]Grant{{Permissions: g.Permissions, Cameras: g.Cameras}}, g.Also...) {
		if len(a.Permissions) > 0 {
			l = append(l, a)
		}
	}
	return l
}

// holds reports whether a permission is granted for any camera at all.
func (g Grant) holds(p Permission) bool {
	return slices.ContainsFunc(g.flat(), func(a Grant) bool {
		return slices.Contains(a.Permissions, p) || slices.Contains(a.Permissions, Admin)
	})
}
