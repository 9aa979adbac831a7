package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"camwire/media"
)

const (
	// history is how many frames are remembered. H.264 and H.265 reorder 16 at
	// most; maxDelay leaves room for those in flight.
	history  = 64
	maxDelay = 40
	// maxQueue bounds the messages that wait to be written.
	maxQueue = 256
	// maxPerFrame bounds what a worker may say about one frame.
	maxPerFrame = 20 * MaxOutputs
	// resultBuffer lets a burst of outputs go by without a switch of goroutines.
	resultBuffer = 16
)

// Worker is one running codec process. All methods may be called from any
// goroutine; the order of frames and settings is the order of the calls.
type Worker struct {
	o       Options
	p       *process
	results chan Result
	ready   chan struct{} // closed when the process has said that it is ready
	stop    chan struct{} // closed when the end begins
	dead    chan struct{} // closed when everything has ended
	wake    chan struct{} // there is something in queue

	mu        sync.Mutex
	cause     error // why the end began
	final     error // what Err says
	queue     []queued
	room      chan struct{} // closed and replaced whenever a frame is answered
	nextID    uint64
	flying    []uint64 // frames without an answer, oldest first
	said      int      // messages since the last answer
	past      [history]origin
	outputs   map[uint32]Kind
	input     media.Track
	hasInput  bool
	quietFrom time.Time // since when the process owes us something
	held      bool      // we are the ones who keep it waiting
	isReady   bool
}

type queued struct {
	message
	typ byte
	id  uint32 // for key and bit rate requests
}

// origin is what the worker need not know of a frame.
type origin struct {
	id                uint64
	pts               time.Duration
	captured, arrived time.Time
}

// Start starts a worker process and waits until it is ready. The process ends
// when ctx is done or Close is called.
func Start(ctx context.Context, o Options) (*Worker, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := Available(); err != nil && o.Executable == "" {
		return nil, err
	}
	p, err := startProcess(o)
	if err != nil {
		return nil, fmt.Errorf("worker: cannot start the codec process: %w", err)
	}
	w := &Worker{
		o: o, p: p,
		results: make(chan Result, resultBuffer),
		ready:   make(chan struct{}), stop: make(chan struct{}), dead: make(chan struct{}),
		wake: make(chan struct{}, 1), room: make(chan struct{}),
		outputs: make(map[uint32]Kind),
	}
	w.enqueue(queued{message: hello{MaxPixels: o.MaxPixels, MaxMemory: o.MaxMemory}.message(), typ: msgHello})
	go w.run(ctx)

	timer := time.NewTimer(o.StartTimeout)
	defer timer.Stop()
	select {
	case <-w.ready:
		return w, nil
	case <-w.dead:
	case <-timer.C:
		w.fail(fmt.Errorf("%w: it was not ready after %v", ErrHung, o.StartTimeout))
		<-w.dead
	}
	return nil, w.Err()
}

// SetInput opens a new decoder for the frames that follow: at the start and
// for every new epoch. Raw tracks need Width and Height. Encoders stay if the
// size does, and begin with a key frame.
func (w *Worker) SetInput(t media.Track) error {
	switch {
	case len(t.Codec) == 0 || len(t.Codec) > 32 || t.Codec.Audio() && t.Codec != media.AAC:
		return fmt.Errorf("worker: %q is nothing to decode", t.Codec)
	case t.Codec.Raw() && (t.Width <= 0 || t.Height <= 0):
		return fmt.Errorf("worker: raw %s input without width and height", t.Codec)
	case t.Width < 0 || t.Height < 0 || t.Width > MaxSide || t.Height > MaxSide || t.Codec.Raw() && t.Width*t.Height > w.o.MaxPixels:
		return fmt.Errorf("worker: %w: input of %dx%d", ErrTooLarge, t.Width, t.Height)
	case len(t.Params) > maxUnits:
		return fmt.Errorf("worker: %d parameter sets", len(t.Params))
	}
	m := inputMessage(t)
	if size(m.units) > maxSmall/2 {
		return fmt.Errorf("worker: %w: %d bytes of parameter sets", ErrTooLarge, size(m.units))
	}
	return w.set(queued{message: m, typ: msgInput}, func() { w.input, w.hasInput = t, true })
}

// SetOutputs replaces the set of outputs from the next frame on. An output
// that was there before keeps its encoder and its state if nothing but its
// Bitrate differs.
func (w *Worker) SetOutputs(list []Output) error {
	if len(list) > MaxOutputs {
		return fmt.Errorf("worker: %d outputs are more than %d", len(list), MaxOutputs)
	}
	kinds := make(map[uint32]Kind, len(list))
	for _, o := range list {
		if err := o.check(); err != nil {
			return err
		}
		if _, twice := kinds[o.ID]; twice {
			return fmt.Errorf("worker: output %d is listed twice", o.ID)
		}
		kinds[o.ID] = o.Kind
	}
	return w.set(queued{message: outputsMessage(list), typ: msgOutputs}, func() { w.outputs = kinds })
}

func (w *Worker) set(q queued, apply func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return w.gone()
	}
	if len(w.queue) >= maxQueue {
		return ErrBusy
	}
	apply()
	w.enqueue(q)
	return nil
}

// RequestKey makes the next picture of an OutputH264 a key frame. Requests
// that come before it is made count as one.
func (w *Worker) RequestKey(id uint32) {
	w.control(queued{message: keyMessage(id), typ: msgKey, id: id})
}

// SetBitrate changes the target of an OutputH264 in bit/s, without a key frame.
func (w *Worker) SetBitrate(id uint32, bps int) {
	w.control(queued{message: bitrateMessage(id, min(max(bps, 1), maxBitrate)), typ: msgBitrate, id: id})
}

// control queues a request; the newest of its kind replaces one that waits.
func (w *Worker) control(q queued) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return
	}
	for i, old := range w.queue {
		if old.typ == q.typ && old.id == q.id {
			w.queue[i] = q
			return
		}
	}
	if len(w.queue) < maxQueue {
		w.enqueue(q)
	}
}

// Feed hands over one frame: a whole access unit, one JPEG, or the planes of a raw
// picture (rows without padding; a single unit with the planes one after the
// other will do). want false decodes only: nothing is made of the picture. The
// frame must not change any more.
//
// Feed does not wait. ErrBusy: not taken, too many are in flight. ErrTooLarge:
// not taken, over the limits. After the end it returns what Err returns.
func (w *Worker) Feed(f *media.Frame, want bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.feed(f, want)
}

// FeedWait is Feed for a caller that rather waits than skips; it returns
// ctx's error when that is done first. The Results must be read meanwhile.
func (w *Worker) FeedWait(ctx context.Context, f *media.Frame, want bool) error {
	for {
		w.mu.Lock()
		err, room := w.feed(f, want), w.room
		w.mu.Unlock()
		if !errors.Is(err, ErrBusy) {
			return err
		}
		select {
		case <-room:
		case <-w.stop:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (w *Worker) feed(f *media.Frame, want bool) error {
	switch {
	case w.cause != nil:
		return w.gone()
	case !w.hasInput:
		return ErrNoInput
	}
	units, err := w.checkUnits(f.Units)
	if err != nil {
		return err
	}
	if len(w.flying) >= w.o.InFlight {
		return ErrBusy
	}
	id := w.nextID
	w.nextID++
	w.past[id%history] = origin{id: id, pts: f.PTS, captured: f.Captured, arrived: f.Arrived}
	if len(w.flying) == 0 {
		w.quietFrom = time.Now()
	}
	w.flying = append(w.flying, id)
	p := packet{ID: id, PTS: f.PTS, Key: f.Key || w.input.Codec.Intra(), Want: want, Units: units}
	w.enqueue(queued{message: p.message(), typ: msgFrame})
	return nil
}

// checkUnits applies the limits and brings raw pictures into their planes.
func (w *Worker) checkUnits(units [][]byte) ([][]byte, error) {
	if len(units) > maxUnits {
		return nil, fmt.Errorf("%w: %d units", ErrTooLarge, len(units))
	}
	if !w.input.Codec.Raw() {
		if n := size(units); n > MaxUnit {
			return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
		}
		return units, nil
	}
	planes := planeSizes(w.input)
	if len(units) == 1 && len(units[0]) >= total(planes) {
		b, cut := units[0], make([][]byte, 0, len(planes))
		for _, n := range planes {
			cut, b = append(cut, b[:n:n]), b[n:]
		}
		return cut, nil
	}
	if len(units) != len(planes) {
		return nil, fmt.Errorf("worker: %s picture with %d planes instead of %d", w.input.Codec, len(units), len(planes))
	}
	cut := make([][]byte, len(planes))
	for i, n := range planes {
		if len(units[i]) < n {
			return nil, fmt.Errorf("worker: plane %d of a %s picture of %dx%d has %d bytes instead of %d",
				i, w.input.Codec, w.input.Width, w.input.Height, len(units[i]), n)
		}
		cut[i] = units[i][:n]
	}
	return cut, nil
}

func planeSizes(t media.Track) []int {
	cw, ch := (t.Width+1)/2, (t.Height+1)/2
	switch t.Codec {
	case media.I420:
		return []int{t.Width * t.Height, cw * ch, cw * ch}
	case media.NV12:
		return []int{t.Width * t.Height, 2 * cw * ch}
	}
	return []int{4 * cw * t.Height}
}

func size(units [][]byte) int {
	n := 0
	for _, u := range units {
		n += len(u)
	}
	return n
}

func total(sizes []int) int {
	n := 0
	for _, s := range sizes {
		n += s
	}
	return n
}

// Results gives what the worker makes, in order, until it ends; then the
// channel is closed.
func (w *Worker) Results() <-chan Result { return w.results }

// Done is closed when the worker has ended and Err is final.
func (w *Worker) Done() <-chan struct{} { return w.dead }

// Err says why the worker ended: ErrClosed, ErrHung, ErrProtocol, the error of
// the context, or an *ExitError. It is nil while the worker runs.
func (w *Worker) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.final
}

// PID is the process id, for logs and metrics.
func (w *Worker) PID() int { return w.p.pid }

// Close kills the process and returns when everything has ended. It never fails.
func (w *Worker) Close() error {
	w.fail(ErrClosed)
	<-w.dead
	return nil
}

// gone is the answer to calls that come too late. mu is held.
func (w *Worker) gone() error {
	if w.final != nil {
		return w.final
	}
	return w.cause
}

// enqueue is called with mu held or before run.
func (w *Worker) enqueue(q queued) {
	w.queue = append(w.queue, q)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// fail begins the end; the first cause counts.
func (w *Worker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return
	}
	w.cause = err
	w.queue = nil
	close(w.stop)
	w.p.kill() // nothing in there is worth a slow goodbye
}

// run owns all goroutines of the worker.
func (w *Worker) run(ctx context.Context) {
	if w.o.Running != nil {
		w.o.Running.Add(1)
		defer w.o.Running.Add(-1)
	}
	var tail lastLine
	var all sync.WaitGroup
	all.Go(w.write)
	all.Go(w.read)
	all.Go(func() { copyLog(w.p.stderr, w.o.Log.With("worker", w.p.pid), &tail) })
	all.Go(func() { w.watch(ctx) })
	exit := <-w.p.exited
	// The reader drains what the process still wrote and then ends the rest.
	all.Wait()
	w.p.close()

	w.mu.Lock()
	w.final = w.cause
	if errors.Is(w.cause, errProcessEnded) {
		w.final = &ExitError{State: exit, LastLine: tail.text}
	}
	w.mu.Unlock()
	close(w.results)
	close(w.dead)
}

func (w *Worker) write() {
	defer w.p.stdin.Close()
	// The kill of fail does not unblock a write while a stopped process holds
	// the pipe's other end; closing ours does.
	unblock := make(chan struct{})
	var closer sync.WaitGroup
	closer.Go(func() {
		select {
		case <-w.stop:
			w.p.stdin.Close()
		case <-unblock:
		}
	})
	defer closer.Wait()
	defer close(unblock)

	out := bufio.NewWriterSize(w.p.stdin, 64<<10)
	for {
		select {
		case <-w.wake:
		case <-w.stop:
			return
		}
		w.mu.Lock()
		batch := w.queue
		w.queue = nil
		w.mu.Unlock()
		for _, q := range batch {
			if err := q.writeTo(out); err != nil {
				return // the reader tells the end of the process
			}
		}
		if err := out.Flush(); err != nil {
			return
		}
	}
}

// watch kills a process that owes an answer for too long.
func (w *Worker) watch(ctx context.Context) {
	tick := time.NewTicker(max(w.o.HangTimeout/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-ctx.Done():
			w.fail(context.Cause(ctx))
			return
		case now := <-tick.C:
			w.mu.Lock()
			hung := w.isReady && len(w.flying) > 0 && !w.held && now.Sub(w.quietFrom) > w.o.HangTimeout
			w.mu.Unlock()
			if hung {
				w.fail(fmt.Errorf("%w after %v", ErrHung, w.o.HangTimeout))
			}
		}
	}
}

func (w *Worker) limit(typ byte) int {
	switch typ {
	case msgPicture:
		// Twice what a picture has uncompressed holds the worst JPEG.
		return 3*w.o.MaxPixels + maxSmall
	case msgSound:
		return maxSound + 64
	case msgReady, msgDone, msgTrouble:
		return maxText + 64
	}
	return -1
}

// read handles all that the process says.
func (w *Worker) read() {
	in := bufio.NewReaderSize(w.p.stdout, 64<<10)
	for {
		typ, payload, err := readMessage(in, w.limit, nil)
		if err == nil {
			err = w.handle(typ, payload)
		}
		switch {
		case err == nil:
		case errors.Is(err, errMalformed):
			w.fail(fmt.Errorf("%w: %w", ErrProtocol, err))
			_, _ = io.Copy(io.Discard, in)
			return
		default:
			w.fail(errProcessEnded)
			return
		}
	}
}

func (w *Worker) handle(typ byte, payload []byte) error {
	switch typ {
	case msgReady:
		text, err := parseReady(payload)
		w.mu.Lock()
		defer w.mu.Unlock()
		if err != nil || w.isReady {
			return fmt.Errorf("%w: ready", errMalformed)
		}
		w.isReady, w.quietFrom = true, time.Now()
		w.o.Log.Debug("codec worker is ready", "worker", w.p.pid, "libraries", text)
		close(w.ready)
		return nil
	case msgPicture:
		m, err := parsePicture(payload)
		if err != nil {
			return err
		}
		r, ok, err := w.resolve(m)
		if ok {
			w.deliver(r)
		}
		return err
	case msgSound:
		m, err := parseSound(payload)
		if err != nil {
			return err
		}
		r, err := w.resolveSound(m)
		if err == nil {
			w.deliver(r)
		}
		return err
	case msgTrouble:
		id, trouble, err := parseTrouble(payload)
		if err == nil {
			w.mu.Lock()
			err = w.talks()
			w.mu.Unlock()
		}
		if err == nil {
			w.deliver(Result{Output: id, Err: trouble})
		}
		return err
	default:
		id, err := parseDone(payload)
		if err != nil {
			return err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.flying) == 0 || w.flying[0] != id {
			return fmt.Errorf("%w: answer to frame %d out of turn", errMalformed, id)
		}
		w.flying = append(w.flying[:0], w.flying[1:]...)
		w.quietFrom, w.said = time.Now(), 0
		close(w.room)
		w.room = make(chan struct{})
		return nil
	}
}

// talks counts what a worker says between two answers; it may only speak
// about a frame. mu is held.
func (w *Worker) talks() error {
	w.said++
	w.quietFrom = time.Now()
	if len(w.flying) == 0 || w.said > maxPerFrame {
		return fmt.Errorf("%w: unasked", errMalformed)
	}
	return nil
}

// resolve gives a picture its times. It is not ok when the output is gone.
func (w *Worker) resolve(m picture) (r Result, ok bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.talks(); err != nil {
		return r, false, err
	}
	o := w.past[m.Frame%history]
	if o.id != m.Frame || m.Frame >= w.nextID {
		return r, false, fmt.Errorf("%w: picture of an unknown frame", errMalformed)
	}
	if m.Width*m.Height > w.o.MaxPixels {
		return r, false, fmt.Errorf("%w: picture of %dx%d", errMalformed, m.Width, m.Height)
	}
	if w.outputs[m.Output] != m.Kind {
		return r, false, nil
	}
	return Result{
		Output: m.Output, Kind: m.Kind, PTS: o.pts, Captured: o.captured, Arrived: o.arrived,
		Key: m.Key || m.Kind != OutputH264, Units: m.Units, Width: m.Width, Height: m.Height,
		DecodeTime: m.Decode, EncodeTime: m.Encode,
	}, true, nil
}

// deliver waits for the consumer; that is not held against the process.
func (w *Worker) deliver(r Result) {
	select {
	case w.results <- r:
		return
	default:
	}
	w.hold(true)
	select {
	case w.results <- r:
	case <-w.stop:
	}
	w.hold(false)
}

func (w *Worker) hold(on bool) {
	w.mu.Lock()
	w.held, w.quietFrom = on, time.Now()
	w.mu.Unlock()
}
