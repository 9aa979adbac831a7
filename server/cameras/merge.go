package cameras

import (
	"errors"
	"sync"

	"camwire/media/stream"
)

// item is one entry of the joined list.
type item struct {
	Entry
	origin Origin
	// problems keep an entry of the API from being started: it was right once
	// and no longer is, or somebody wrote to the file that keeps it.
	problems []Problem
	// started says that Options.Start has taken it.
	started bool
}

// same reports whether two items are to have the same effect.
func (i item) same(o item) bool {
	return i.Entry == o.Entry && i.origin == o.origin && (len(i.problems) > 0) == (len(o.problems) > 0)
}

// merge joins the entries of file and API, in this order. Hidden are the ids of
// those of the API that give way to one of the file.
func merge(file, api []Entry) (all []item, hidden []string) {
	seen := map[string]bool{}
	for _, e := range file {
		if !seen[e.ID] {
			seen[e.ID] = true
			all = append(all, item{Entry: e, origin: FromFile})
		}
	}
	for _, e := range api {
		if seen[e.ID] {
			hidden = append(hidden, e.ID)
			continue
		}
		seen[e.ID] = true
		all = append(all, item{Entry: e, origin: FromAPI})
	}
	return all, hidden
}

// failure is an entry that could not be put into effect.
type failure struct {
	id  string
	err error
}

// failureOf returns the error of one camera.
func failureOf(l []failure, id string) error {
	for _, f := range l {
		if f.id == id {
			return f.err
		}
	}
	return nil
}

// settle goes from the list in effect to the next one and returns that with
// what became of it. Entries in which nothing changes are not touched, except
// that one of the API which could not be started gets another chance; one of
// the file that does not run may have been dropped on purpose. The caller
// holds c.change.
func (c *Cameras) settle(next []item) ([]item, []failure) {
	before := make(map[string]item, len(c.now))
	gone := make(map[string]bool, len(c.now))
	for _, i := range c.now {
		before[i.ID] = i
		gone[i.ID] = i.started
	}
	for n := range next {
		i := &next[n]
		if i.origin == FromAPI {
			i.problems = c.problems(i.Entry)
		}
		if len(i.problems) == 0 {
			gone[i.ID] = false
		}
	}
	// What ends first: a new entry may use the device of a removed one.
	c.stop(gone)
	var failed []failure
	for n := range next {
		i := &next[n]
		was, known := before[i.ID]
		same := known && was.same(*i)
		if same && (was.started || i.origin == FromFile || len(i.problems) > 0) {
			i.started = was.started
			continue
		}
		if len(i.problems) > 0 {
			c.log.Error("a kept camera cannot be used any more", "camera", i.ID, "problem", i.problems[0].String())
			continue
		}
		if err := c.bring(was, *i); err != nil {
			failed = append(failed, failure{i.ID, err})
			continue
		}
		i.started = true
	}
	return next, failed
}

// stop ends cameras, all at the same time, and waits for them.
func (c *Cameras) stop(ids map[string]bool) {
	var wg sync.WaitGroup
	for id, running := range ids {
		if !running {
			continue
		}
		wg.Go(func() {
			if err := c.opts.Stop(id); err != nil && !errors.Is(err, stream.ErrUnknown) {
				c.log.Warn("camera was not stopped", "camera", id, "error", err)
			}
		})
	}
	wg.Wait()
}

// bring puts one entry into effect; was is what is in effect, if anything is.
func (c *Cameras) bring(was, i item) error {
	if !was.started {
		return c.opts.Start(i.Entry, i.origin)
	}
	keys, restart := c.opts.Diff(was.Entry, i.Entry)
	// Sources of the file are dialled in another way.
	restart = restart || was.origin != i.origin
	err := c.opts.Change(i.Entry, i.origin, restart)
	if errors.Is(err, stream.ErrUnknown) {
		return c.opts.Start(i.Entry, i.origin) // it was dropped
	}
	if err == nil {
		c.log.Info("camera changed", "camera", i.ID, "keys", keys, "source_restarted", restart)
	}
	return err
}
