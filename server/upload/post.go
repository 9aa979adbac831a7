package upload

import (
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"time"

	"camwire/media/stream"
	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

// Names of the form's fields.
const (
	idField    = "device_id"
	imageField = "image"
)

const (
	// maxFields bounds the parts of a form.
	maxFields = 32
	// maxID is more than an id can have, in bytes.
	maxID = 256
)

// post takes one picture in a form.
func (h *Handler) post(c *gin.Context) {
	leave, err := enter(h.posts, "uploads")
	if err != nil {
		fail(c, "", err)
		return
	}
	defer leave()
	f := form{max: h.opts.MaxFrame, check: func(id string) error {
		if !stream.ValidID(id) {
			return server.Errorf(http.StatusBadRequest, "%s: %w", idField, stream.ErrBadID)
		}
		return mayPublish(server.Identity(c), id)
	}}
	if err := h.read(c.Request, &f); err != nil {
		h.log.Debug("upload refused", "camera", f.id, "remote", c.Request.RemoteAddr, "error", err)
		fail(c, f.id, err)
		return
	}
	size := len(f.image)
	p, err := parse(f.image)
	if err != nil {
		fail(c, f.id, server.Errorf(http.StatusBadRequest, "%s is no JPEG picture that can be shown: %w", imageField, err))
		return
	}
	location := "uploaded by " + auth.Remote(c.Request).String()
	if err := h.desk.put(f.id, nil, location, p, time.Now()); err != nil {
		fail(c, f.id, err)
		return
	}
	c.Header("Cache-Control", "no-store")
	c.JSON(http.StatusOK, gin.H{"status": "ok", "size_bytes": size})
}

// read reads the form of a request.
func (h *Handler) read(r *http.Request, f *form) error {
	if r.ContentLength > h.maxBody() {
		return tooLarge(h.opts.MaxFrame)
	}
	m, err := r.MultipartReader()
	if err != nil {
		return server.Errorf(http.StatusBadRequest, "send a form (multipart/form-data) with the fields %s and %s: %w", idField, imageField, err)
	}
	f.expect = int(min(max(r.ContentLength, 0), firstGuess))
	err = f.read(m)
	var own *server.StatusError
	if errors.As(err, &own) && own.Status == http.StatusRequestEntityTooLarge {
		// The answer would be lost on a client that still sends. The body's
		// own limit bounds this; how it ends does not matter.
		_, _ = io.Copy(io.Discard, r.Body)
	}
	return err
}

// firstGuess is how much memory a form may claim by its Content-Length, before
// anything of it has come.
const firstGuess = 1 << 20

// form is what a picture is sent in.
type form struct {
	max    int                   // bytes of a picture
	expect int                   // bytes that it may have, 0 while unknown
	check  func(id string) error // whether pictures are taken for it

	id    string
	image []byte
}

// read reads the fields in whatever order they come, and stops at the first one
// that is wrong. The errors are StatusErrors or those of check.
func (f *form) read(m *multipart.Reader) error {
	var hasID, hasImage bool
	for fields := 0; ; fields++ {
		part, err := m.NextPart()
		if err == io.EOF { //nolint:errorlint // wrapped, it is a form that ends too early
			break
		}
		if err != nil {
			return f.broken(err)
		}
		if fields >= maxFields {
			return server.Errorf(http.StatusBadRequest, "the form has more than %d fields", maxFields)
		}
		switch name := part.FormName(); {
		case name == idField && hasID, name == imageField && hasImage:
			// Which one counts should not be a matter of taste.
			return server.Errorf(http.StatusBadRequest, "the form has more than one %s", name)
		case name == idField:
			hasID = true
			err = f.readID(part)
		case name == imageField:
			hasImage = true
			f.image, err = slurp(part, f.expect, f.max)
			if err != nil {
				err = f.broken(err)
			}
		}
		// Other fields are passed over by NextPart.
		if err != nil {
			return err
		}
	}
	switch {
	case !hasID:
		return server.Errorf(http.StatusBadRequest, "the form has no %s", idField)
	case len(f.image) == 0:
		return server.Errorf(http.StatusBadRequest, "the form has no %s, or an empty one", imageField)
	}
	return nil
}

func (f *form) readID(r io.Reader) error {
	b, err := slurp(r, 0, maxID)
	if err != nil && !errors.Is(err, errTooLarge) {
		return f.broken(err)
	}
	f.id = string(b) // of one that is far too long, nothing is repeated
	return f.check(f.id)
}

// broken puts the failure of reading a form into words for its sender.
func (f *form) broken(err error) error {
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, errTooLarge), errors.As(err, &large):
		return tooLarge(f.max)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return server.OverLimit(server.LimitBodyTime, http.StatusRequestTimeout, errors.New("the form took too long to come"))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return server.Errorf(http.StatusBadRequest, "the form ends too early")
	}
	return server.Errorf(http.StatusBadRequest, "the form cannot be read: %w", err)
}

func tooLarge(limit int) error {
	return server.OverLimit(server.LimitFrame, http.StatusRequestEntityTooLarge,
		fmt.Errorf("the picture is larger than %d bytes: make it smaller, or lower its quality", limit))
}

// fail answers with an error, with the device_id that the form has told; what
// server.Fail says is only what the address has told.
func fail(c *gin.Context, id string, err error) {
	if id == "" {
		server.Fail(c, err)
		return
	}
	status, words := server.StatusOf(err)
	_ = c.Error(err) // for the log
	c.Header("Cache-Control", "no-store")
	c.AbortWithStatusJSON(status, gin.H{"error": words, "device_id": id})
}
