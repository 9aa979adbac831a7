package cameras

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"camwire/media/stream"
	"camwire/server"
)

// mask stands in for a secret in what Options.Mask returns.
const mask = "***"

// refusal is an entry that is not taken, with all that is wrong with it.
type refusal struct {
	status   int
	camera   string // its id; may be empty or no valid one
	problems []Problem
}

func (r *refusal) Error() string {
	var b strings.Builder
	if stream.ValidID(r.camera) {
		fmt.Fprintf(&b, "camera %q: ", r.camera)
	}
	b.WriteString(r.problems[0].String())
	if n := len(r.problems) - 1; n > 0 {
		fmt.Fprintf(&b, " (and %d more)", n)
	}
	return b.String()
}

func refuseField(status int, camera, field, message, hint string) error {
	return &refusal{status, camera, []Problem{{field, message, hint}}}
}

// refuseCommand is for sources that run a program. Options.Guard refuses them
// as well; that a command never comes through the API is worth two locks.
func refuseCommand(camera string) error {
	return refuseField(http.StatusForbidden, camera, "source", "a command cannot be given through the API",
		"write it into the configuration file: whoever may change that file may run programs anyway")
}

func isCommand(source string) bool {
	kind, _, _ := strings.Cut(source, ":")
	return strings.EqualFold(strings.TrimSpace(kind), "exec")
}

// check applies all rules to an entry of the API. The error is a *refusal.
func (c *Cameras) check(e Entry) error {
	if isCommand(e.Source) {
		return refuseCommand(e.ID)
	}
	ps := slices.Clone(c.opts.Validate(e))
	if len(e.Source) > maxSource {
		ps = append(ps, Problem{"source", fmt.Sprintf("is %d bytes long, at most %d are allowed", len(e.Source), maxSource), ""})
	}
	if len(ps) > 0 {
		status := http.StatusUnprocessableEntity
		if !stream.ValidID(e.ID) {
			status = http.StatusBadRequest
		}
		return &refusal{status, e.ID, ps}
	}
	if !stream.ValidID(e.ID) {
		return refuseField(http.StatusBadRequest, "", "id", stream.ErrBadID.Error(), "")
	}
	if err := c.opts.Guard(e.Source); err != nil {
		return refuseField(http.StatusForbidden, e.ID, "source", err.Error(), "")
	}
	return nil
}

// problems is check for an entry that is kept already.
func (c *Cameras) problems(e Entry) []Problem {
	var r *refusal
	if errors.As(c.check(e), &r) {
		return r.problems
	}
	return nil
}

// unmask makes sure that no mask is taken for a secret: a source that was sent
// back as it was shown is the one that is kept.
func (c *Cameras) unmask(e *Entry, kept string) error {
	switch {
	case e.Source == kept:
	case kept != "" && e.Source == c.opts.Mask(kept):
		e.Source = kept
	case strings.Contains(e.Source, mask) && !strings.HasPrefix(e.Source, "images:") && !strings.HasPrefix(e.Source, "watch:"):
		return refuseField(http.StatusUnprocessableEntity, e.ID, "source", `holds "***" in the place of a secret`,
			"write it in full, or leave source out of a PATCH to keep the one there is")
	}
	return nil
}

// notKept is a change that was not made because it could not be kept.
func notKept(err error) error {
	return &server.StatusError{
		Status: http.StatusInternalServerError,
		Err:    fmt.Errorf("the change was not made because it cannot be kept: %w", err),
	}
}

// add takes a new entry.
func (c *Cameras) add(e Entry) (item, error) {
	if err := c.unmask(&e, ""); err != nil {
		return item{}, err
	}
	if err := c.check(e); err != nil {
		return item{}, err
	}
	c.change.Lock()
	defer c.change.Unlock()
	if i := findItem(c.now, e.ID); i >= 0 && c.now[i].origin == FromFile {
		return item{}, c.inFile(e.ID)
	} else if i >= 0 {
		return item{}, fmt.Errorf("camera %q: %w", e.ID, stream.ErrExists)
	}
	if len(c.now) >= c.opts.Max {
		return item{}, server.Errorf(http.StatusConflict, "camera %q: there are %d cameras already: remove one first", e.ID, len(c.now))
	}
	api := append(slices.Clone(c.api), e)
	// Started before it is kept: an id that a publisher holds shows only now.
	next, _ := merge(c.file, api)
	next, failed := c.settle(next)
	if err := failureOf(failed, e.ID); err != nil {
		return item{}, err
	}
	added := next[findItem(next, e.ID)]
	if err := c.opts.Keeper.Save(api); err != nil {
		c.stop(map[string]bool{e.ID: added.started})
		return item{}, notKept(err)
	}
	c.commit(api, next)
	c.log.Info("camera added", "camera", e.ID)
	return added, nil
}

// edit changes an entry of the API by a function, which gets the entry as it is
// at that moment.
func (c *Cameras) edit(id string, by func(Entry) (Entry, error)) (item, error) {
	c.change.Lock()
	defer c.change.Unlock()
	was, err := c.changeable(id)
	if err != nil {
		return item{}, err
	}
	e, err := by(was.Entry)
	if err != nil {
		return item{}, err
	}
	if e.ID != id {
		return item{}, refuseField(http.StatusBadRequest, id, "id", "cannot be changed", "add a camera with the new id and remove this one")
	}
	if err := c.unmask(&e, was.Source); err != nil {
		return item{}, err
	}
	if err := c.check(e); err != nil {
		return item{}, err
	}
	if e == was.Entry && was.started {
		return was, nil
	}
	api := slices.Clone(c.api)
	api[find(api, id)] = e
	if err := c.opts.Keeper.Save(api); err != nil {
		return item{}, notKept(err)
	}
	next, _ := merge(c.file, api)
	next, failed := c.settle(next)
	c.commit(api, next)
	if err := failureOf(failed, id); err != nil {
		return item{}, err
	}
	return next[findItem(next, id)], nil
}

// remove takes an entry of the API out.
func (c *Cameras) remove(id string) error {
	c.change.Lock()
	defer c.change.Unlock()
	if _, err := c.changeable(id); err != nil {
		return err
	}
	return c.removeLocked(id)
}

// removeLocked is called with c.change held, for an entry of the API.
func (c *Cameras) removeLocked(id string) error {
	i := find(c.api, id)
	api := slices.Delete(slices.Clone(c.api), i, i+1)
	if err := c.opts.Keeper.Save(api); err != nil {
		return notKept(err)
	}
	next, _ := merge(c.file, api)
	next, _ = c.settle(next) // nothing is started
	c.commit(api, next)
	c.log.Info("camera removed", "camera", id)
	return nil
}

// changeable returns an entry that may be changed here.
func (c *Cameras) changeable(id string) (item, error) {
	i, err := c.get(id)
	if err == nil && i.origin == FromFile {
		err = c.inFile(id)
	}
	return i, err
}

func (c *Cameras) inFile(id string) error {
	name := c.name
	if name == "" {
		return server.Errorf(http.StatusConflict, "camera %q is built in, for a first start without a configuration file: write a file to have other cameras", id)
	}
	return server.Errorf(http.StatusConflict, "camera %q is in %s: change it there", id, name)
}

func (c *Cameras) commit(api []Entry, next []item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.api, c.now = api, next
}
