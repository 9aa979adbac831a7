package account

import (
	"net/http"
	"time"

	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// user is one entry of the list of users.
type user struct {
	Name string `json:"name"`
	auth.Grant
	Created string `json:"created"`
	// Changed is when the password was set.
	Changed string `json:"changed"`
}

func userOf(u auth.User) user {
	return user{Name: u.Name, Grant: u.Grant, Created: *moment(u.Created), Changed: *moment(u.Changed)}
}

// token is one entry of the list of tokens.
type token struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	auth.Grant
	Created string `json:"created"`
	// Expires is null for a token without an end.
	Expires *string `json:"expires"`
	Expired bool    `json:"expired"`
	// LastUsed is null for a token that nobody used.
	LastUsed *string `json:"last_used"`
	// Secret is in the answer to a new token and nowhere else.
	Secret string `json:"token,omitempty"`
}

func tokenOf(t auth.Token, now time.Time) token {
	return token{
		ID: t.ID, Name: t.Name, Grant: t.Grant, Created: *moment(t.Created),
		Expires: moment(t.Expires), Expired: !t.Expires.IsZero() && !now.Before(t.Expires), LastUsed: moment(t.Used),
	}
}

// moment writes a time as RFC 3339 has it, nil for none.
func moment(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := t.UTC().Format(time.RFC3339)
	return &s
}

func (h handler) users(c *gin.Context) {
	l := []user{} // never null
	for _, u := range h.book.Users() {
		l = append(l, userOf(u))
	}
	answer(c, http.StatusOK, l)
}

func (h handler) addUser(c *gin.Context) {
	var body struct {
		Name     string `json:"name"`
		Password string `json:"password"`
		auth.Grant
	}
	if err := read(c, &body); err != nil {
		server.Fail(c, err)
		return
	}
	u, err := h.book.AddUser(body.Name, body.Password, body.Grant)
	if err != nil {
		fail(c, err)
		return
	}
	h.changed(c, "user added", "user", u.Name, "grant", u.Summary())
	c.Header("Location", "/api/users/"+u.Name)
	answer(c, http.StatusCreated, userOf(u))
}

// changeUser changes what it gets (RFC 7396). Permissions, cameras and also are
// one grant: those that are left out stay as they are.
func (h handler) changeUser(c *gin.Context) {
	var body struct {
		Password    *string            `json:"password"`
		Permissions *[]auth.Permission `json:"permissions"`
		Cameras     *[]string          `json:"cameras"`
		Also        *[]auth.Grant      `json:"also"`
	}
	if err := read(c, &body); err != nil {
		server.Fail(c, err)
		return
	}
	change := auth.UserChange{Password: body.Password}
	if body.Permissions != nil || body.Cameras != nil || body.Also != nil {
		change.Grant = func(g auth.Grant) auth.Grant {
			set(&g.Permissions, body.Permissions)
			set(&g.Cameras, body.Cameras)
			set(&g.Also, body.Also)
			return g
		}
	}
	if change.Password == nil && change.Grant == nil {
		server.Fail(c, server.Errorf(http.StatusBadRequest, "nothing to change: send password, permissions, cameras or also"))
		return
	}
	u, err := h.book.ChangeUser(c.Param("name"), change)
	if err != nil {
		fail(c, err)
		return
	}
	h.changed(c, "user changed", "user", u.Name, "grant", u.Summary(), "password", change.Password != nil)
	answer(c, http.StatusOK, userOf(u))
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func (h handler) removeUser(c *gin.Context) {
	name := c.Param("name")
	if err := h.book.RemoveUser(name); err != nil {
		fail(c, err)
		return
	}
	h.changed(c, "user removed", "user", name)
	c.Status(http.StatusNoContent)
}

func (h handler) tokens(c *gin.Context) {
	now := time.Now()
	l := []token{} // never null
	for _, t := range h.book.Tokens() {
		l = append(l, tokenOf(t, now))
	}
	answer(c, http.StatusOK, l)
}

func (h handler) issueToken(c *gin.Context) {
	var body struct {
		Name string `json:"name"`
		auth.Grant
		Expires *string `json:"expires"`
	}
	err := read(c, &body)
	var expires time.Time
	if err == nil && body.Expires != nil && *body.Expires != "" {
		expires, err = expiry(*body.Expires, time.Now())
	}
	if err != nil {
		server.Fail(c, err)
		return
	}
	secret, t, err := h.book.IssueToken(body.Name, body.Grant, expires)
	if err != nil {
		fail(c, err)
		return
	}
	h.changed(c, "token issued", "token", t.Name, "id", t.ID, "grant", t.Summary())
	out := tokenOf(t, time.Now())
	out.Secret = secret
	c.Header("Location", "/api/tokens/"+t.ID)
	answer(c, http.StatusCreated, out)
}

// expiry reads the end of a token: a time (RFC 3339) or how long from now
// ("720h").
func expiry(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		if d <= 0 {
			return time.Time{}, server.Errorf(http.StatusBadRequest, "expires: %q is over: name a time to come", s)
		}
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, server.Errorf(http.StatusBadRequest, `expires: write a time such as "2030-01-31T12:00:00Z", or how long, such as "720h"`)
	}
	return t, nil
}

func (h handler) revokeToken(c *gin.Context) {
	id := c.Param("token")
	if err := h.book.RevokeToken(id); err != nil {
		fail(c, err)
		return
	}
	h.changed(c, "token revoked", "id", id)
	c.Status(http.StatusNoContent)
}
