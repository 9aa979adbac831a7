package transcode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"camwire/media"
	"camwire/media/hub"
	"camwire/media/stream"
	"camwire/media/worker"
)

// Delays between a worker's end and the start of the next one.
const (
	firstRestart = 250 * time.Millisecond
	maxRestart   = 5 * time.Second
	// steady is how long a worker must have lived for its end to count as a
	// first one again.
	steady = 10 * time.Second
	// hopeless is how many workers in a row may end without a single picture
	// before the outputs are told that it is of no use.
	hopeless = 4
)

// stage makes everything that is derived from one camera. Its goroutine is
// started by the first output that attaches and waited for by the last one
// that detaches.
type stage struct {
	t      *Transcoder
	parent *stream.Stream
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{} // the goroutine has returned
	gone   chan struct{} // and the stage is no longer in the Transcoder's table
	refs   int           // under Transcoder.mu

	made atomic.Uint64 // pictures that came back, over all workers

	mu      sync.Mutex
	members []*member
	engine  engine          // while one runs
	err     error           // why the stage has given up
	wake    func()          // interrupts the feeder's wait for a frame
	outputs []worker.Output // that the running worker has
	nextID  uint32          // never used twice, so that late results are known
	fps     float64         // nominal, of what is being decoded
	trouble error           // the newest that a worker told
	told    throttle        // for the log
}

// member is an output that takes part in a stage.
type member struct {
	o     *output
	sink  media.Sink
	stage *stage
	ended chan error // one value: why it must leave

	// Under stage.mu:
	id      uint32  // of the worker's output; 0: none yet
	most    float64 // cap in pictures per second; 0: none
	started bool
	w, h    int
	pts     time.Duration
	shown   time.Time // Captured of the newest picture
}

// attach takes part in the parent's stage and starts it if there is none.
func (t *Transcoder) attach(ctx context.Context, parent *stream.Stream) (*stage, error) {
	for {
		t.mu.Lock()
		st := t.stages[parent]
		if st != nil && st.refs == 0 {
			// It is stopping. A second process beside it would cost memory
			// for nothing.
			t.mu.Unlock()
			select {
			case <-st.gone:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if st == nil && t.most > 0 && len(t.stages) >= t.most {
			t.mu.Unlock()
			return nil, fmt.Errorf("%w (%d)", ErrBusy, t.most)
		}
		if st == nil {
			sctx, cancel := context.WithCancel(context.Background())
			st = &stage{
				t: t, parent: parent, log: t.log.With("camera", parent.ID()), cancel: cancel,
				done: make(chan struct{}), gone: make(chan struct{}),
			}
			t.stages[parent] = st
			go st.run(sctx)
		}
		st.refs++
		t.mu.Unlock()
		return st, nil
	}
}

// detach ends taking part. The last one stops the stage and waits for it.
func (t *Transcoder) detach(st *stage) {
	t.mu.Lock()
	st.refs--
	last := st.refs == 0
	t.mu.Unlock()
	if !last {
		return
	}
	st.cancel()
	<-st.done
	t.mu.Lock()
	delete(t.stages, st.parent)
	t.mu.Unlock()
	close(st.gone)
}

func (st *stage) join(m *member) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.err != nil {
		m.ended <- st.err
		return
	}
	st.members = append(st.members, m)
	st.pokeLocked()
}

// leave returns when nothing more will be written to the member's sink.
func (st *stage) leave(m *member) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for i, x := range st.members {
		if x == m {
			st.members = append(st.members[:i], st.members[i+1:]...)
			st.pokeLocked()
			return
		}
	}
}

// poke makes the feeder look at the members again.
func (st *stage) poke() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.pokeLocked()
}

func (st *stage) pokeLocked() {
	if st.wake != nil {
		st.wake()
	}
}

// assign gives every plan an output of the worker, equal ones the same, and
// keeps those that are there. Paced says that only frames that are due are fed,
// so that the worker need not count again.
func (st *stage) assign(members []*member, plans []worker.Output, fps float64, paced bool) (outs []worker.Output, changed, newcomer bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.fps = fps
	for i, m := range members {
		o := plans[i]
		if o.Kind == 0 {
			m.id = 0
			m.end(errOtherWay)
			continue
		}
		if o.Kind == worker.OutputJPEG {
			m.most = o.FPS
		}
		if paced {
			o.FPS = 0
		}
		alike := func(x worker.Output) bool { return key(x) == key(o) }
		if n := slices.IndexFunc(outs, alike); n >= 0 {
			o.ID = outs[n].ID
		} else {
			if n := slices.IndexFunc(st.outputs, alike); n >= 0 {
				o.ID = st.outputs[n].ID
			} else {
				st.nextID++
				o.ID = st.nextID
			}
			outs = append(outs, o)
		}
		newcomer = newcomer || m.id == 0
		m.id = o.ID
	}
	changed = !slices.Equal(outs, st.outputs)
	st.outputs = outs
	return outs, changed, newcomer
}

func (st *stage) requestKey(m *member) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.engine != nil && m.id != 0 {
		st.engine.RequestKey(m.id)
	}
}

// run keeps a worker going until ctx is done or there is no hope.
func (st *stage) run(ctx context.Context) {
	defer close(st.done)
	pause, failures, worked := firstRestart, 0, false
	for {
		began, before := time.Now(), st.made.Load()
		err := st.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if st.made.Load() > before {
			worked, failures = true, 0
		} else {
			failures++
		}
		if errors.Is(err, hub.ErrClosed) || !worked || failures >= hopeless {
			// The supervisor of the derived streams shows the reason and
			// tries again.
			st.giveUp(err)
			return
		}
		if time.Since(began) >= steady {
			pause = firstRestart
		}
		st.log.Warn("codec worker failed and is started again", "reason", err, "after", pause)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, maxRestart)
	}
}

func (st *stage) giveUp(err error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.err = err
	for _, m := range st.members {
		m.end(err)
	}
	st.members = nil
}

// end tells the member to leave. The caller holds the stage's lock.
func (m *member) end(err error) {
	select {
	case m.ended <- err:
	default: // told already
	}
}

// session runs one worker to its end.
func (st *stage) session(ctx context.Context) error {
	if _, _, err := firstFrame(ctx, st.parent.Hub()); err != nil {
		return err
	}
	if err := st.t.available(); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	e, err := st.t.start(ctx, st.t.worker)
	if err != nil {
		return err
	}
	st.t.workers.Add(1)
	st.setEngine(e)
	var results sync.WaitGroup
	results.Go(func() {
		st.collect(e)
		stop(errWorkerEnded)
	})
	err = (&feeder{st: st, engine: e, hub: st.parent.Hub()}).run(ctx)
	st.setEngine(nil)
	// What it says about its own end is better than what the feeder felt of it.
	ended := e.Err()
	if errors.Is(context.Cause(ctx), errWorkerEnded) {
		results.Wait()
		ended = e.Err()
	}
	if cerr := e.Close(); cerr != nil {
		st.log.Debug("codec worker closed", "reason", cerr)
	}
	results.Wait()
	if ended != nil {
		return ended
	}
	return err
}

var errWorkerEnded = errors.New("the codec worker has ended")

func (st *stage) setEngine(e engine) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.engine = e
	st.outputs, st.trouble = nil, nil
	for _, m := range st.members {
		m.id = 0
	}
}

// collect hands what the worker makes to the members until the worker is gone.
func (st *stage) collect(e engine) {
	decoded := time.Duration(-1) // PTS of the picture whose decoding was counted
	for r := range e.Results() {
		if r.Err != nil {
			st.noteTrouble(r.Err)
			continue
		}
		st.made.Add(1)
		st.t.pictures.Add(1)
		if r.PTS == decoded {
			r.DecodeTime = 0 // the same picture, for another output
		}
		decoded = r.PTS
		st.parent.Worked(r.DecodeTime, r.EncodeTime)
		st.mu.Lock()
		for _, m := range st.members {
			if m.id == r.Output && m.id != 0 {
				m.write(r, st.fps)
			}
		}
		st.mu.Unlock()
	}
}

func (st *stage) noteTrouble(err error) {
	st.mu.Lock()
	st.trouble = err
	n := st.told.count(time.Now())
	st.mu.Unlock()
	if n > 0 {
		st.log.Warn("codec worker has trouble", "reason", err, "reports", n)
	}
	var t *worker.TroubleError
	if errors.As(err, &t) && t.NeedKey {
		st.parent.RequestKey()
	}
}

// lastTrouble explains why nothing comes out of a worker.
func (st *stage) lastTrouble(frames int) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.trouble != nil {
		return fmt.Errorf("nothing could be made of the last %d frames: %w", frames, st.trouble)
	}
	return fmt.Errorf("no picture came out of the last %d frames", frames)
}

// write hands one result to the member's sink. The caller holds the stage's
// lock, so nothing is written after leave.
func (m *member) write(r worker.Result, fps float64) {
	track := media.Track{Codec: media.JPEG, ClockRate: 90000, Width: r.Width, Height: r.Height, FPS: capped(fps, m.most)}
	if r.Kind == worker.OutputH264 {
		track.Codec, track.FPS = media.H264, fps
		if !m.started && !r.Key {
			return // the rest of a group that began before
		}
	}
	if m.started && r.PTS <= m.pts {
		// The stream was begun again from its key frame, or an epoch began
		// on another clock. A viewer's time must go on.
		if r.Kind != worker.OutputH264 && r.Captured.Equal(m.shown) {
			return // the same picture a second time
		}
		r.PTS = m.pts + time.Millisecond
	}
	if !m.started || r.Width != m.w || r.Height != m.h {
		if r.Kind == worker.OutputH264 {
			track.Params = parameterSets(r.Units)
		}
		m.started, m.w, m.h = true, r.Width, r.Height
		m.sink.Start(media.Tracks{track})
	}
	m.pts, m.shown = r.PTS, r.Captured
	m.sink.Write(&media.Frame{PTS: r.PTS, Captured: r.Captured, Key: r.Key, Units: r.Units})
}
