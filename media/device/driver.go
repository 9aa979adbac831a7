package device

import (
	"context"
	"errors"
	"fmt"
	"image"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"camwire/media"
	"camwire/media/device/v4l2"
)

// foreign is a camera that a driver other than V4L2 reads, as they are needed
// on macOS and Windows. Such a driver hands out decoded pictures, without
// their times. Close may be called while a read waits, and ends it.
type foreign interface {
	// Describe tells what is known without opening the camera.
	Describe() foreignInfo
	Open() error
	// Modes may be asked for once the camera is open.
	Modes() []foreignMode
	// Start begins to record in a mode of the list. The picture that read
	// returns is valid until release.
	Start(foreignMode) (read func() (m image.Image, release func(), err error), err error)
	Close() error
}

type foreignInfo struct {
	// label is what the system calls the camera, and calls it again when it
	// is plugged in again; name is for people.
	label, name string
	inUse       bool
}

// foreignMode is a mode as the driver has it.
type foreignMode struct {
	number        int // in the driver's list
	fourCC        v4l2.FourCC
	width, height int
	fps           float64 // 0 while unknown
}

// errForeignEnd says that the driver has no more pictures.
var errForeignEnd = errors.New("the driver has ended the stream")

// foreignCamera is one with what a source can mean it by.
type foreignCamera struct {
	foreign
	node  node
	label string
	inUse bool
}

// foreignCameras lists what the driver knows, in an order that does not change
// while the cameras are the same: drivers have none.
func (s *system) foreignCameras() ([]foreignCamera, error) {
	all, err := s.foreign()
	if err != nil {
		return nil, fmt.Errorf("list cameras: %w", err)
	}
	var list []foreignCamera
	for _, f := range all {
		i := f.Describe()
		if i.name = cleanAttribute([]byte(i.name)); i.name == "" {
			i.name = cleanAttribute([]byte(i.label))
		}
		n := node{name: i.name}
		n.vid, n.pid, n.port = usbOf(i.label)
		list = append(list, foreignCamera{foreign: f, node: n, label: i.label, inUse: i.inUse})
	}
	// Of two that the driver has under one label the one in use counts.
	slices.SortStableFunc(list, func(a, b foreignCamera) int {
		if c := strings.Compare(a.node.name+"\x00"+a.label, b.node.name+"\x00"+b.label); c != 0 {
			return c
		}
		if a.inUse == b.inUse {
			return 0
		}
		if a.inUse {
			return -1
		}
		return 1
	})
	list = slices.CompactFunc(list, func(a, b foreignCamera) bool { return a.label == b.label })
	list = list[:min(len(list), maxNodes)]
	for i := range list {
		list[i].node.number, list[i].node.path = i, strconv.Itoa(i)
	}
	return list, nil
}

var (
	// A device path of Windows holds …\usb#vid_046d&pid_0825&mi_00#7&2a1b&0&0000#{…
	windowsUSB = regexp.MustCompile(`(?i)usb#vid_([0-9a-f]{4})&pid_([0-9a-f]{4})[^#]*#([^#]+)#`)
	// AVFoundation makes the unique id of a USB camera of its place on the
	// bus, vendor and product: 0x14200000046d0825.
	macUSB = regexp.MustCompile(`(?i)^0x([0-9a-f]{1,8})([0-9a-f]{4})([0-9a-f]{4})$`)
)

// usbOf reads the USB ids and the port out of a label; empty where it has none.
func usbOf(label string) (vid, pid, port string) {
	if m := windowsUSB.FindStringSubmatch(label); m != nil {
		return strings.ToLower(m[1]), strings.ToLower(m[2]), m[3]
	}
	if m := macUSB.FindStringSubmatch(label); m != nil {
		return strings.ToLower(m[2]), strings.ToLower(m[3]), "0x" + strings.ToLower(m[1])
	}
	return "", "", ""
}

// resolveForeign finds the camera that a source means now; last is the label
// of the one that it meant before.
func (s *system) resolveForeign(r ref, last string) (foreignCamera, error) {
	list, err := s.foreignCameras()
	if err != nil {
		return foreignCamera{}, &Error{Source: r.text, Reason: ErrFailed, Text: "cannot be looked for: " + err.Error(), Cause: err}
	}
	all := make([]node, len(list))
	for i, f := range list {
		all[i] = f.node
	}
	switch {
	case r.path != "":
		return foreignCamera{}, &Error{Source: r.text, Reason: ErrNotFound, Text: "cannot be found by a path on this system: " + present(all)}
	case r.key != "":
		if i := slices.IndexFunc(list, func(f foreignCamera) bool { return f.label == r.key }); i >= 0 {
			return list[i], nil
		}
		found := firstOfDevice(r.match(all))
		switch len(found) {
		case 0:
			return foreignCamera{}, notFound(r, all)
		case 1:
			return list[found[0].number], nil
		}
		return foreignCamera{}, &Error{Source: r.text, Reason: ErrAmbiguous, Text: "could be any of " + describe(found, all) + ": write one of those"}
	case last != "":
		// A number is given to whoever is there: another room in the picture
		// would be worse than none.
		if i := slices.IndexFunc(list, func(f foreignCamera) bool { return f.label == last }); i >= 0 {
			return list[i], nil
		}
		return foreignCamera{}, &Error{Source: r.text, Reason: ErrUnplugged, Text: "has been unplugged"}
	case r.index < len(list):
		return list[r.index], nil
	}
	return foreignCamera{}, notFound(r, all)
}

// listForeign is List where V4L2 is not. No camera is opened for it: that would
// start some of them, and ask the user for leave.
func (s *system) listForeign(ctx context.Context) ([]Info, error) {
	list, err := s.foreignCameras()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all := make([]node, len(list))
	for i, f := range list {
		all[i] = f.node
	}
	out := make([]Info, len(list))
	for i, f := range list {
		n := f.node
		out[i] = Info{
			Index: n.number, Source: n.shortest(all), Name: n.label(), VID: n.vid, PID: n.pid, Port: n.port,
			SuggestedID: fmt.Sprintf("usb_cam_%d", n.number), InUse: f.inUse, Modes: []Mode{},
		}
		if f.inUse {
			out[i].Holders = []string{ownCamera}
		}
	}
	return out, nil
}

// runForeign is Run where V4L2 is not.
func (s *Source) runForeign(ctx context.Context, sink media.Sink) error {
	s.mu.Lock()
	last := s.lastLabel
	s.mu.Unlock()
	f, err := s.system.resolveForeign(s.ref, last)
	if err != nil {
		return err
	}
	fail := func(reason error, text string, cause error) error {
		return &Error{Source: s.ref.text, Name: f.node.label(), Reason: reason, Text: text, Cause: cause}
	}
	if f.inUse {
		return fail(ErrBusy, "is in use by "+ownCamera+": two cameras cannot have the same source", nil)
	}
	if err := f.Open(); err != nil {
		return fail(ErrFailed, fmt.Sprintf("cannot be opened (%v): close other programs that use it, and let Camwire use cameras in the privacy settings of this system", err), err)
	}
	closed := false
	stop := func() {
		if !closed {
			closed = true
			if err := f.Close(); err != nil {
				s.opts.Log.Debug("camera closed badly", "name", f.node.label(), "error", err)
			}
		}
	}
	defer stop()
	wish := v4l2.Wish{Width: s.opts.Width, Height: s.opts.Height, Rate: s.opts.FPS}
	m, ok := chooseForeign(f.Modes(), wish)
	if !ok {
		return fail(ErrNoMode, "offers no picture format that can be used", nil)
	}
	read, err := f.Start(m)
	if err != nil {
		return fail(ErrFailed, fmt.Sprintf("does not start (%v): close other programs that use it, or plug it in again", err), err)
	}
	s.opts.Log.Debug("camera opened", "name", f.node.label(), "format", m.fourCC.String(), "width", m.width, "height", m.height)
	r := &foreignReader{source: s, camera: f, mode: m, sink: sink, read: read, alive: make(chan struct{}, 1), ended: make(chan error, 1)}
	go r.run()
	err = r.watch(ctx, s.opts.Silence)
	stop() // ends a read that waits
	ended := err
	if !r.done {
		ended = <-r.ended
	}
	s.mu.Lock()
	s.past, s.stats = s.past.plus(s.stats), Stats{}
	s.mu.Unlock()
	s.opts.Log.Debug("camera closed", "name", f.node.label())
	switch {
	case errors.Is(err, v4l2.ErrTimeout):
		return fail(ErrHangs, fmt.Sprintf("hangs or has been unplugged: no picture for %v: check cable and hub, or plug it in again", s.opts.Silence), nil)
	case err == nil, ctx.Err() != nil:
		return nil
	}
	if known := (*Error)(nil); errors.As(ended, &known) {
		return ended
	}
	return fail(ErrUnplugged, fmt.Sprintf("has been unplugged, or hangs (%v)", ended), ended)
}

// chooseForeign finds the mode nearest to the wish.
func chooseForeign(modes []foreignMode, wish v4l2.Wish) (foreignMode, bool) {
	byFormat := map[v4l2.FourCC]int{}
	var formats []v4l2.Format
	for _, m := range modes {
		if m.width <= 0 || m.height <= 0 {
			continue
		}
		i, ok := byFormat[m.fourCC]
		if !ok {
			i = len(formats)
			byFormat[m.fourCC] = i
			formats = append(formats, v4l2.Format{FourCC: m.fourCC})
		}
		size := v4l2.Size{Width: m.width, Height: m.height}
		if m.fps > 0 {
			size.Rates = []float64{m.fps}
		}
		formats[i].Sizes = append(formats[i].Sizes, size)
	}
	best, ok := choose(formats, wish)
	if !ok {
		return foreignMode{}, false
	}
	for _, m := range modes {
		if m.fourCC == best.fourCC && m.width == best.width && m.height == best.height && (m.fps == 0 || m.fps == best.rate) {
			return m, true
		}
	}
	return foreignMode{}, false
}

// foreignReader is the stream of one Run. The driver's read blocks without an
// end, so it has its own goroutine, which alone writes to the sink. It waits
// for nobody, so the driver, which keeps one picture, has always the newest.
type foreignReader struct {
	source *Source
	camera foreignCamera
	mode   foreignMode
	sink   media.Sink
	read   func() (image.Image, func(), error)
	alive  chan struct{} // a picture has come
	ended  chan error    // one value: why run ended
	done   bool          // that value has been taken

	track media.Track
}

func (r *foreignReader) run() {
	for {
		m, release, err := r.read()
		if err != nil {
			r.ended <- err
			return
		}
		now := time.Now()
		units, w, h, ok := i420(m)
		release()
		if !ok {
			r.ended <- &Error{
				Source: r.source.ref.text, Name: r.camera.node.label(), Reason: ErrNoMode,
				Text: fmt.Sprintf("delivers pictures of a kind that cannot be used (%T)", m),
			}
			return
		}
		r.write(&media.Frame{PTS: now.Sub(r.source.origin), Captured: now, Arrived: now, Key: true, Units: units}, w, h)
	}
}

func (r *foreignReader) write(f *media.Frame, w, h int) {
	// The driver may deliver another size than it was asked for.
	if r.track.Width != w || r.track.Height != h {
		r.track = media.Track{Codec: media.I420, ClockRate: 90000, Width: w, Height: h, FPS: r.mode.fps}
		r.sink.Start(media.Tracks{r.track})
	}
	s := r.source
	s.mu.Lock()
	s.lastLabel = r.camera.label
	s.stats.Delivered++
	s.mu.Unlock()
	r.sink.Write(f)
	select {
	case r.alive <- struct{}{}:
	default:
	}
}

// watch waits for the end: of ctx, which returns nil, of the stream, or
// v4l2.ErrTimeout when no picture comes.
func (r *foreignReader) watch(ctx context.Context, silence time.Duration) error {
	timer := time.NewTimer(silence)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-r.ended:
			r.done = true
			return fmt.Errorf("%w: %w", errForeignEnd, err)
		case <-timer.C:
			return v4l2.ErrTimeout
		case <-r.alive:
			timer.Reset(silence)
		}
	}
}

// i420 copies a picture into the planes of I420. Drivers hand out YCbCr, of
// whatever they decoded; false is anything else.
func i420(m image.Image) (units [][]byte, w, h int, ok bool) {
	p, ok := m.(*image.YCbCr)
	if !ok || p.Rect.Empty() {
		return nil, 0, 0, false
	}
	w, h = p.Rect.Dx(), p.Rect.Dy()
	if w > 1<<14 || h > 1<<14 {
		return nil, 0, 0, false
	}
	cw, ch := (w+1)/2, (h+1)/2
	b := make([]byte, w*h+2*cw*ch, w*h+2*cw*ch+spare)
	x0, y0 := p.Rect.Min.X, p.Rect.Min.Y
	for y := range h {
		from := p.YOffset(x0, y0+y)
		if from+w > len(p.Y) {
			return nil, 0, 0, false
		}
		copy(b[y*w:(y+1)*w], p.Y[from:])
	}
	u, v := b[w*h:w*h+cw*ch], b[w*h+cw*ch:]
	for y := range ch {
		for x := range cw {
			// The chroma of 4:2:2 and 4:4:4 has rows in between: the mean of
			// two keeps slanted edges clean.
			a := p.COffset(x0+min(2*x, w-1), y0+min(2*y, h-1))
			c := p.COffset(x0+min(2*x, w-1), y0+min(2*y+1, h-1))
			if max(a, c) >= min(len(p.Cb), len(p.Cr)) {
				return nil, 0, 0, false
			}
			u[y*cw+x] = byte((int(p.Cb[a]) + int(p.Cb[c]) + 1) / 2)
			v[y*cw+x] = byte((int(p.Cr[a]) + int(p.Cr[c]) + 1) / 2)
		}
	}
	return [][]byte{b[: w*h : w*h], u[:len(u):len(u)], v}, w, h, true
}
