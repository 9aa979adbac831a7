package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// options of a run.
type options struct {
	bin    string
	length time.Duration // of all rounds together
	round  time.Duration // of one, before it is looked whether all is as before
	seed   uint64
	// missed is the share of pictures that the control viewer may miss. A
	// viewer of pictures gets the newest, so where two come at once, on a
	// machine that does other things besides, one is no loss.
	missed float64
	// growth is how many bytes more the server may have after the last round
	// than after the first.
	growth float64
	say    func(format string, a ...any)
}

// patience bounds every wait for something that must happen.
const patience = 60 * time.Second

// soak does all of it, and returns what was not as it must be.
func soak(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "camwire-soak-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s, err := newServer(o, dir)
	if err != nil {
		return err
	}
	defer s.end()
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.rounds(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, s.log.tail())
	}
	o.say("full disk")
	if err := s.fullDisk(ctx); err != nil {
		return fmt.Errorf("full disk: %w\n%s", err, s.log.tail())
	}
	o.say("kill and restart")
	if err := s.killed(ctx); err != nil {
		return fmt.Errorf("kill and restart: %w\n%s", err, s.log.tail())
	}
	if err := s.stop(); err != nil {
		return fmt.Errorf("%w\n%s", err, s.log.tail())
	}
	o.say("all is well")
	return nil
}

// rounds tortures and looks, again and again.
func (s *server) rounds(ctx context.Context) error {
	tape, err := record(ctx, s)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	s.o.say("recorded %d exchanges, %d bytes", len(tape), tape.size())
	control, err := watchControl(s)
	if err != nil {
		return fmt.Errorf("control viewer: %w", err)
	}
	defer control.close()
	if err := control.wait(ctx, 10); err != nil {
		return err
	}
	// The first round is not compared with: buffers and pools grow to their
	// size in it.
	var first figures
	end := time.Now().Add(s.o.length)
	for n := 1; n <= 2 || time.Now().Before(end); n++ {
		length := min(s.o.round, max(time.Until(end), s.o.round/3))
		if err := s.round(ctx, tape, length, uint64(n)); err != nil {
			return err
		}
		settled, err := s.settle(ctx, first)
		if err != nil {
			return fmt.Errorf("after round %d: %w", n, err)
		}
		s.o.say("round %d: %s; control viewer %s", n, settled, control)
		if n == 1 {
			first = settled
		} else if settled.memory > first.memory+s.o.growth {
			return fmt.Errorf("memory has grown from %.0f to %.0f MB", first.memory/1e6, settled.memory/1e6)
		}
		if err := control.check(ctx, s); err != nil {
			return fmt.Errorf("after round %d: %w", n, err)
		}
	}
	return nil
}

// round lets all tormentors loose at the same time.
func (s *server) round(ctx context.Context, tape tape, length time.Duration, n uint64) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var wg sync.WaitGroup
	var count [8]atomic.Int64
	work := func(i int, pause time.Duration, what func(context.Context, *rand.Rand) error) {
		random := rand.New(rand.NewPCG(s.o.seed, n<<8|uint64(i))) //nolint:gosec // repeatable is what is wanted
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := what(ctx, random); err == nil || errors.Is(err, context.DeadlineExceeded) {
					count[i].Add(1)
				}
				// Torture is about what is sent, not about who gets the
				// processor.
				wait(ctx, pause/2+time.Duration(random.Int64N(int64(pause))))
			}
		})
	}
	work(0, 20*time.Millisecond, s.noise)
	work(1, 20*time.Millisecond, func(ctx context.Context, r *rand.Rand) error { return s.replay(ctx, r, tape) })
	work(2, 200*time.Millisecond, s.pictureViewer)
	work(3, 400*time.Millisecond, s.webrtcViewer)
	work(4, 400*time.Millisecond, s.rtspViewer)
	work(5, 300*time.Millisecond, s.uploader)
	work(6, time.Second, s.killer)
	work(7, 500*time.Millisecond, s.slowClient)
	wg.Wait()
	var all []int64
	for i := range count {
		all = append(all, count[i].Load())
	}
	s.o.say("noise, broken copies, picture viewers, WebRTC viewers, RTSP viewers, uploads, kills, slow clients: %v", all)
	if !s.alive() {
		return errors.New("the server has died")
	}
	return nil
}

// wait waits, but not beyond ctx.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// eventually polls until ask returns nil.
func eventually(ctx context.Context, what string, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("never: %s: %w", what, err)
		}
		wait(ctx, 100*time.Millisecond)
	}
}

// figures are what must be back after a round.
type figures struct {
	goroutines, files, memory, processes, sessions float64
}

func (f figures) String() string {
	return fmt.Sprintf("%.0f goroutines, %.0f files, %.0f MB, %.0f codec processes, %.0f sessions",
		f.goroutines, f.files, f.memory/1e6, f.processes, f.sessions)
}

// figures reads them from the server's metrics.
func (s *server) figures(ctx context.Context) (figures, error) {
	m, err := s.metrics(ctx)
	if err != nil {
		return figures{}, err
	}
	return figures{
		goroutines: m["go_goroutines"], files: m["process_open_fds"],
		memory: m["process_resident_memory_bytes"], processes: m["camwire_codec_processes"],
		sessions: m[`camwire_sessions{kind="webrtc"}`] + m[`camwire_sessions{kind="rtsp"}`] + m[`camwire_sessions{kind="websocket"}`],
	}, nil
}

// settle waits until everything that came has gone, and compares with before.
func (s *server) settle(ctx context.Context, before figures) (now figures, err error) {
	const (
		// The session that sends the control camera, and the test picture.
		sessions, processes = 1, 1
		slack               = 12 // connections of these questions, timers
	)
	err = eventually(ctx, "all that came has gone", func() error {
		if now, err = s.figures(ctx); err != nil {
			return err
		}
		switch {
		case now.sessions > sessions, now.processes > processes:
		case before.goroutines > 0 && now.goroutines > before.goroutines+slack:
		case before.files > 0 && now.files > before.files+slack:
		default:
			return nil
		}
		return fmt.Errorf("%s; before: %s", now, before)
	})
	return now, err
}
