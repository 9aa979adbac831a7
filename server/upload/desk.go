package upload

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"camwire/media"
	"camwire/media/stream"
	"camwire/server"
)

// sender is one connection that sends pictures. All forms together are the nil
// sender: they have no connection.
type sender struct {
	// end ends the connection. It does not block.
	end func(why string)
	// takeover takes the camera from whoever has it, with the first picture and
	// once: two that do it must not chase each other. Under the slot's lock.
	takeover bool
}

// mayTake reports whether the sender's next picture takes the camera.
func (s *sender) mayTake() bool { return s != nil && s.takeover }

// Reasons for which a sender's connection ends.
const (
	whyRemoved  = "the camera was removed"
	whyReplaced = "another connection sends pictures for this camera now"
)

// errTooFast refuses a picture that comes too soon after the last ones.
var errTooFast = &server.StatusError{
	Status: http.StatusTooManyRequests,
	Err:    fmt.Errorf("more than %d pictures a second", maxRate),
	Limit:  server.LimitFrameRate,
}

// desk knows who sends pictures for which camera, and keeps the publications.
type desk struct {
	reg *stream.Registry

	mu    sync.Mutex
	slots map[string]*slot
}

// slot is what the desk knows of one camera. It exists while somebody deals
// with it or a publication is open.
type slot struct {
	id    string
	desk  *desk
	users int // under desk.mu: calls that deal with it, and an open publication

	mu  sync.Mutex // one picture at a time
	pub *stream.Publication
	// over is set when pub was ended by somebody else.
	over *atomic.Bool
	from *sender
	hold hold
	pace pace
	// timer ends a publication without connection after a long silence.
	timer *time.Timer

	began time.Time     // PTS counts from here
	pts   time.Duration // of the last picture
}

func newDesk(r *stream.Registry) *desk { return &desk{reg: r, slots: map[string]*slot{}} }

// slot returns the camera's slot, locked; with make false, nil if there is none.
// Each one is given back by done.
func (d *desk) slot(id string, make bool) *slot {
	d.mu.Lock()
	s := d.slots[id]
	if s == nil {
		if !make {
			d.mu.Unlock()
			return nil
		}
		s = &slot{id: id, desk: d}
		d.slots[id] = s
	}
	s.users++
	d.mu.Unlock()
	s.mu.Lock()
	if s.pub != nil && s.over.Load() {
		s.forget()
	}
	return s
}

func (s *slot) done() {
	s.mu.Unlock()
	s.unuse()
}

func (s *slot) unuse() {
	s.desk.mu.Lock()
	defer s.desk.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(s.desk.slots, s.id)
	}
}

// put publishes a picture that came at now; from is the connection, nil for a
// form, location says to people where that is. The camera appears with its first picture. The error is errTooFast or
// one of stream.Registry.Publish.
func (d *desk) put(id string, from *sender, location string, p picture, now time.Time) error {
	s := d.slot(id, true)
	defer s.done()
	if s.pub != nil && s.from != from {
		if !s.hold.yields(now, from != nil) && !from.mayTake() {
			return taken(id)
		}
		s.close(whyReplaced)
	}
	if !s.pace.allow(now) {
		return errTooFast
	}
	if s.pub == nil {
		if err := s.open(from, location, now); err != nil {
			return err
		}
		s.pub.Start(media.Tracks{{Codec: media.JPEG, ClockRate: 90000, Width: p.width, Height: p.height}})
	}
	s.hold.last = now
	if s.timer != nil {
		s.timer.Reset(silence)
	}
	// Two pictures at the same time by a coarse clock are still two.
	s.pts = max(now.Sub(s.began), s.pts+time.Millisecond)
	s.pub.Write(&media.Frame{PTS: s.pts, Captured: now, Arrived: now, Key: true, Units: [][]byte{p.data}})
	return nil
}

func taken(id string) error {
	return fmt.Errorf("camera %q: %w: stop the other one first, or use another device_id", id, stream.ErrPublished)
}

// check returns the error that a new connection's first picture would meet, as
// far as that can be known without taking anything. With takeover it does not
// matter who has the camera.
func (d *desk) check(id string, now time.Time, takeover bool) error {
	cam, err := d.reg.Get(id)
	if errors.Is(err, stream.ErrUnknown) {
		return nil // it appears with the first picture
	}
	if err != nil {
		return err
	}
	switch o := cam.Options(); {
	case o.Disabled:
		return fmt.Errorf("camera %q: %w", id, stream.ErrDisabled)
	case o.Source != nil:
		return fmt.Errorf("camera %q: %w", id, stream.ErrNotPushable)
	}
	if takeover {
		return nil
	}
	if s := d.slot(id, false); s != nil {
		defer s.done()
		if s.pub != nil {
			if s.hold.yields(now, true) {
				return nil
			}
			return taken(id)
		}
	}
	if !cam.Free() {
		return taken(id)
	}
	return nil
}

// leave ends what a connection publishes, when it has gone.
func (d *desk) leave(id string, from *sender) {
	s := d.slot(id, false)
	if s == nil {
		return
	}
	defer s.done()
	if s.pub != nil && s.from == from {
		s.pub.Close()
		s.forget()
	}
}

// open begins to publish.
func (s *slot) open(from *sender, location string, now time.Time) error {
	over := &atomic.Bool{}
	var timer *time.Timer
	o := stream.PublishOptions{Type: typeWS, Location: location, Takeover: from.mayTake()}
	if from == nil {
		o.Type = typePost
		timer = time.AfterFunc(silence, func() { s.desk.expire(s.id) })
	}
	o.Yields = func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.hold.yields(time.Now(), true) // WHIP and RTSP are connections
	}
	o.Ended = func(err error) {
		// Called while the camera is being closed: the slot may be locked by
		// somebody who waits for just that.
		over.Store(true)
		if from != nil {
			why := whyRemoved
			if errors.Is(err, stream.ErrTakenOver) {
				why = whyReplaced
			}
			from.end(why)
		} else {
			timer.Reset(0)
		}
	}
	pub, err := s.desk.reg.Publish(s.id, o)
	if from != nil && err == nil {
		from.takeover = false
	}
	if err != nil {
		if timer != nil {
			timer.Stop()
		}
		if errors.Is(err, stream.ErrPublished) {
			return taken(s.id)
		}
		return err
	}
	s.pub, s.over, s.from, s.timer = pub, over, from, timer
	s.hold = hold{connected: from != nil}
	s.began, s.pts = now, -time.Millisecond
	s.desk.mu.Lock()
	s.users++
	s.desk.mu.Unlock()
	return nil
}

// close ends the publication and the connection that it belongs to.
func (s *slot) close(why string) {
	s.pub.Close()
	if s.from != nil {
		s.from.end(why)
	}
	s.forget()
}

// forget drops a publication that has ended.
func (s *slot) forget() {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.pub, s.over, s.from, s.timer = nil, nil, nil, nil
	s.unuse()
}

// expire ends what forms publish, when none has come for a long time.
func (d *desk) expire(id string) {
	s := d.slot(id, false)
	if s == nil {
		return
	}
	defer s.done()
	if s.pub != nil && s.hold.expired(time.Now()) {
		s.close("")
	}
}
