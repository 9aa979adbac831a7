//go:build cgo

package worker

import (
	"errors"
	"fmt"
	"image"
	"time"

	"camwire/media"
	"camwire/media/libav"
)

// pipeline turns frames into pictures and pictures into outputs. Its own
// errors are those of send; all other trouble is counted and reported.
type pipeline struct {
	maxPixels int
	send      func(message) error

	in       input
	sound    *soundInput // instead of in, where the input is sound
	inputErr error
	outputs  []*output
	scaled   []*scaled
	past     [history]arrival
	lastPTS  time.Duration
	hasPTS   bool
	started  time.Time // when the current frame came
	turn     uint64    // counts pictures
	news     map[newsKey]*news
}

// arrival is what is known of a frame whose picture may come later.
type arrival struct {
	id   uint64
	pts  time.Duration
	want bool
}

// input is one kind of decoder.
type input interface {
	// decode calls fn for each picture that comes out. needed is the size that
	// the largest output has, given that of the input; 0 and 0 if there is none.
	decode(p packet, needed func(w, h int) (int, int), fn func(pic) error) error
	close()
}

// pic is a decoded picture. Its own size may be smaller than the coded one if the
// decoder could make it so for nothing.
type pic struct {
	*libav.Picture
	codedWidth, codedHeight int
}

// scaled is a converted picture that several outputs may share.
type scaled struct {
	img  *libav.Image
	conv libav.Converter
	turn uint64
}

type newsKey struct {
	output  uint32
	isInput bool
}

// news is trouble on its way to the parent.
type news struct {
	TroubleError
	sent time.Time
}

func newPipeline(maxPixels int, send func(message) error) *pipeline {
	return &pipeline{maxPixels: maxPixels, send: send, news: make(map[newsKey]*news)}
}

func (p *pipeline) close() {
	p.closeInput()
	for _, o := range p.outputs {
		o.close()
	}
	p.outputs = nil
	p.freeScaled(0)
}

func (p *pipeline) closeInput() {
	if p.in != nil {
		p.in.close()
	}
	if p.sound != nil {
		p.sound.close()
	}
	p.in, p.sound = nil, nil
}

func (p *pipeline) setInput(t media.Track) {
	p.closeInput()
	if t.Codec.Audio() {
		p.sound, p.inputErr = openSound(t)
	} else {
		p.in, p.inputErr = openInput(t, p.maxPixels)
	}
	p.hasPTS = false
	delete(p.news, newsKey{isInput: true})
	for _, o := range p.outputs {
		o.restart()
	}
}

func (p *pipeline) setOutputs(list []Output) {
	old := make(map[uint32]*output, len(p.outputs))
	for _, o := range p.outputs {
		old[o.ID] = o
	}
	next := make([]*output, 0, len(list))
	for _, want := range list {
		have := old[want.ID]
		if have != nil && have.adopt(want) {
			delete(old, want.ID)
		} else {
			have = newOutput(want)
		}
		next = append(next, have)
	}
	for id, o := range old {
		o.close()
		delete(p.news, newsKey{output: id})
	}
	p.outputs = next
}

func (p *pipeline) requestKey(id uint32) {
	for _, o := range p.outputs {
		if o.ID == id {
			o.keyWanted = true
		}
	}
}

func (p *pipeline) setBitrate(id uint32, bps int) {
	for _, o := range p.outputs {
		if o.ID == id {
			o.Bitrate, o.bitrateNew = bps, true
		}
	}
}

// frame decodes one frame and sends what comes of it.
func (p *pipeline) frame(f packet) error {
	p.started = time.Now()
	p.past[f.ID%history] = arrival{id: f.ID, pts: f.PTS, want: f.Want}
	var fatal error
	switch {
	case p.inputErr != nil:
		p.tellInput(p.inputErr)
	case p.sound != nil:
		if err := p.soundFrame(f); err != nil {
			return err
		}
	case p.in == nil:
		p.tellInput(errors.New("no input is set"))
	default:
		needed := func(w, h int) (int, int) { return p.needed(w, h, f) }
		err := p.in.decode(f, needed, func(m pic) error {
			fatal = p.picture(m, f)
			return fatal
		})
		if fatal != nil {
			return fatal
		}
		if err != nil {
			p.tellInput(err)
		}
	}
	return p.sendNews()
}

// picture makes all outputs out of one picture.
func (p *pipeline) picture(m pic, f packet) error {
	decoded := time.Since(p.started)
	a := p.past[uint64(m.ID)%history]
	if a.id != uint64(m.ID) || a.id > f.ID || f.ID-a.id > maxDelay {
		a = p.past[f.ID%history] // the decoder lost the id: it is most likely this one
	}
	// A picture from the past would turn an encoder's clock back; a jump by
	// more than a second is a new clock.
	if back := p.lastPTS - a.pts; p.hasPTS && back > 0 && back < time.Second {
		return nil
	}
	p.lastPTS, p.hasPTS = a.pts, true
	p.turn++
	defer p.freeScaled(p.turn)
	if !a.want {
		return nil
	}
	for _, o := range p.outputs {
		if !o.due(a.pts) {
			continue
		}
		o.pace.took(a.pts)
		begin := time.Now()
		r, err := o.make(p, m)
		if err != nil {
			p.tell(newsKey{output: o.ID}, fmt.Sprintf("output %d (%v) cannot be made: %v", o.ID, o.Kind, err), false)
			continue
		}
		r.Output, r.Kind, r.Frame = o.ID, o.Kind, a.id
		r.Decode, r.Encode = decoded, time.Since(begin)
		if err := p.send(r.message()); err != nil {
			return err
		}
	}
	return nil
}

// needed gives the largest size that any output wants of this frame.
func (p *pipeline) needed(w, h int, f packet) (nw, nh int) {
	for _, o := range p.outputs {
		if f.Want && o.due(f.PTS) {
			ow, oh := o.size(w, h)
			nw, nh = max(nw, ow), max(nh, oh)
		}
	}
	return nw, nh
}

// convert gives the picture in another shape, made at most once.
func (p *pipeline) convert(m *libav.Picture, f libav.Format, w, h int, full bool) (*scaled, error) {
	var s *scaled
	for _, c := range p.scaled {
		if c.img.Fits(f, w, h, full) {
			s = c
			break
		}
	}
	if s == nil {
		img, err := libav.NewImage(f, w, h, full)
		if err != nil {
			return nil, err
		}
		s = &scaled{img: img}
		p.scaled = append(p.scaled, s)
	}
	if s.turn != p.turn {
		if err := s.conv.Convert(s.img, m); err != nil {
			return nil, err
		}
		s.turn = p.turn
	}
	return s, nil
}

// i420 gives the picture as 4:2:0, as it is if it is that already.
func (p *pipeline) i420(m *libav.Picture, w, h int, full bool) (*image.YCbCr, error) {
	if m.Format == libav.I420 && m.Width == w && m.Height == h && m.FullRange == full {
		if v := m.YCbCr(); v != nil {
			return v, nil
		}
	}
	s, err := p.convert(m, libav.I420, w, h, full)
	if err != nil {
		return nil, err
	}
	return s.img.Buffer(), nil
}

// freeScaled frees what no output has used for a hundred pictures, everything at turn 0.
func (p *pipeline) freeScaled(turn uint64) {
	kept := p.scaled[:0]
	for _, s := range p.scaled {
		if turn != 0 && turn-s.turn < 100 {
			kept = append(kept, s)
			continue
		}
		s.conv.Close()
		s.img.Free()
	}
	clear(p.scaled[len(kept):])
	p.scaled = kept
}

func (p *pipeline) tellInput(err error) {
	var key *needKeyError
	p.tell(newsKey{isInput: true}, "input is not decodable: "+err.Error(), errors.As(err, &key))
}

func (p *pipeline) tell(k newsKey, text string, needKey bool) {
	n := p.news[k]
	if n == nil {
		n = &news{}
		p.news[k] = n
	}
	n.Text, n.Count, n.NeedKey = text, n.Count+1, n.NeedKey || needKey
}

// sendNews reports what has gone wrong, each kind once a second.
func (p *pipeline) sendNews() error {
	for k, n := range p.news {
		if n.Count == 0 || !n.sent.IsZero() && p.started.Sub(n.sent) < time.Second {
			continue
		}
		if err := p.send(troubleMessage(k.output, &n.TroubleError)); err != nil {
			return err
		}
		n.TroubleError, n.sent = TroubleError{}, p.started
	}
	return nil
}
