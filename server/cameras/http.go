package cameras

import (
	"errors"
	"io"
	"net/http"

	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

const path = "/api/cameras"

// Routes returns the addresses of this package.
func (c *Cameras) Routes() []server.Route {
	one := path + "/:id"
	return []server.Route{
		{Method: http.MethodGet, Path: path, Perm: auth.Admin, Handler: c.serveList},
		{Method: http.MethodPost, Path: path, Perm: auth.Admin, MaxBody: maxBody, Handler: c.serveAdd},
		{Method: http.MethodGet, Path: one, Perm: auth.Admin, Handler: c.serveGet},
		{Method: http.MethodPut, Path: one, Perm: auth.Admin, MaxBody: maxBody, Handler: c.servePut},
		{Method: http.MethodPatch, Path: one, Perm: auth.Admin, MaxBody: maxBody, Handler: c.servePatch},
		{Method: http.MethodDelete, Path: one, Perm: auth.Admin, Handler: c.serveDelete},
		{Method: http.MethodGet, Path: "/api/inventory/cameras/usb", Perm: auth.View, Handler: c.serveUSB},
	}
}

// view is an entry as it is told.
type view struct {
	Entry
	// Origin is "file" for an entry that can only be changed in the
	// configuration file.
	Origin Origin `json:"origin"`
	// Problems keep it from being started; left out when there are none.
	Problems []Problem `json:"problems,omitempty"`
}

func (c *Cameras) view(i item) view {
	i.Source = c.opts.Mask(i.Source)
	return view{Entry: i.Entry, Origin: i.origin, Problems: i.problems}
}

func (c *Cameras) serveList(g *gin.Context) {
	who := server.Identity(g)
	l := []view{} // never null
	for _, i := range c.all() {
		if who.May(auth.Admin, i.ID) {
			l = append(l, c.view(i))
		}
	}
	answer(g, http.StatusOK, l)
}

func (c *Cameras) serveGet(g *gin.Context) {
	i, err := c.get(server.Camera(g))
	c.reply(g, http.StatusOK, i, err)
}

// serveAdd takes a new camera; what it leaves out gets the default values.
func (c *Cameras) serveAdd(g *gin.Context) {
	e, err := c.body(g, c.opts.Defaults)
	if err == nil && !server.Identity(g).May(auth.Admin, e.ID) {
		err = auth.ErrForbidden
	}
	var i item
	if err == nil {
		i, err = c.add(e)
	}
	if err == nil {
		g.Header("Location", path+"/"+i.ID)
	}
	c.reply(g, http.StatusCreated, i, err)
}

// servePut replaces a camera; what it leaves out gets the default values.
func (c *Cameras) servePut(g *gin.Context) {
	id := server.Camera(g)
	onto := c.opts.Defaults
	onto.ID = id
	e, err := c.body(g, onto)
	var i item
	if err == nil {
		i, err = c.edit(id, func(Entry) (Entry, error) { return e, nil })
	}
	c.reply(g, http.StatusOK, i, err)
}

// servePatch changes the keys that it gets (RFC 7396).
func (c *Cameras) servePatch(g *gin.Context) {
	data, err := io.ReadAll(g.Request.Body)
	var i item
	if err == nil {
		id := server.Camera(g)
		i, err = c.edit(id, func(was Entry) (Entry, error) {
			defaults := c.opts.Defaults
			defaults.ID = id
			return decode(data, was, defaults)
		})
	}
	c.reply(g, http.StatusOK, i, err)
}

func (c *Cameras) serveDelete(g *gin.Context) {
	if err := c.remove(server.Camera(g)); err != nil {
		fail(g, err)
		return
	}
	g.Status(http.StatusNoContent)
}

func (c *Cameras) serveUSB(g *gin.Context) {
	l, err := c.inventory.usb(g.Request.Context())
	if err != nil {
		fail(g, err)
		return
	}
	answer(g, http.StatusOK, l)
}

// body reads a whole entry. An id or null in it counts against onto, which
// holds the default values.
func (c *Cameras) body(g *gin.Context, onto Entry) (Entry, error) {
	data, err := io.ReadAll(g.Request.Body)
	if err != nil {
		return Entry{}, err
	}
	return decode(data, onto, onto)
}

func (c *Cameras) reply(g *gin.Context, status int, i item, err error) {
	if err != nil {
		fail(g, err)
		return
	}
	answer(g, status, c.view(i))
}

func answer(g *gin.Context, status int, v any) {
	g.Header("Cache-Control", "no-store")
	g.JSON(status, v)
}

// fail answers with an error; what is wrong with an entry comes field by field.
func fail(g *gin.Context, err error) {
	var r *refusal
	if !errors.As(err, &r) {
		server.Fail(g, err)
		return
	}
	_ = g.Error(err) // for the log
	g.Abort()
	body := gin.H{"error": r.Error(), "problems": r.problems}
	if id := server.Camera(g); id != "" {
		body["device_id"] = id
	}
	answer(g, r.status, body)
}
