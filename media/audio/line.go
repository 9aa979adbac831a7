package audio

import "time"

const (
	// gap is how far apart the time stamps and the number of samples may be
	// before something must be missing, or be there twice.
	gap = 60 * time.Millisecond
	// silence is the longest gap that is filled; after a longer one the time
	// stamps go on without packets.
	silence = time.Second
	// anew is the gap after which everything begins anew: nobody keeps a
	// clock going for longer.
	anew = 8 * time.Second
	// tolerance is how far apart they may be for ever: nobody hears it.
	tolerance = 5 * time.Millisecond
	// slowness is over how many blocks a drift is averaged, so that the
	// trembling of time stamps is none.
	slowness = 32
	// most is the largest part of a block that it is stretched or shortened
	// by: 13 cents of pitch.
	most = 128
)

// span is how long that many samples last.
func span(n int64, rate int) time.Duration {
	r := int64(rate)
	return time.Duration(n/r)*time.Second + time.Duration(n%r)*time.Second/time.Duration(r)
}

// samplesIn is the number of samples in d, which is short.
func samplesIn(d time.Duration, rate int) int64 { return int64(d.Seconds()*float64(rate) + 0.5) }

// line lays blocks of samples on the time line of their PTS. A sound card's
// clock is never quite that of the time stamps; packets are lost. It is pure.
type line struct {
	rate    int
	started bool
	base    time.Duration // PTS of the first sample
	n       int64         // samples since
	drift   time.Duration // averaged distance of PTS and samples
	twice   bool          // all of the block before had been there already
}

// step says what to do with a block before it is used.
type step struct {
	anew  bool  // nothing fits any more: begin anew
	jump  bool  // the samples before it are over; the line begins at the block
	fill  int64 // that many samples of silence come first
	cut   int64 // that many samples at its beginning were there already
	total int64 // what is left is to be stretched to that many
}

// place takes the next block of that many samples.
func (l *line) place(pts time.Duration, frames int64) step {
	if !l.started {
		l.started, l.base, l.n, l.drift = true, pts, frames, 0
		return step{jump: true, total: frames}
	}
	d := pts - (l.base + span(l.n, l.rate))
	twice := l.twice
	l.twice = false
	switch {
	case d > anew || d < -silence:
		return step{anew: true}
	case d > silence:
		l.base, l.n, l.drift = pts, frames, 0
		return step{jump: true, total: frames}
	case d > gap:
		s := step{fill: samplesIn(d, l.rate), total: frames}
		l.n += s.fill + frames
		l.drift = 0
		return s
	case d < -gap, d < 0 && twice:
		cut := min(samplesIn(-d, l.rate), frames)
		l.n += frames - cut
		l.drift, l.twice = 0, cut == frames
		return step{cut: cut, total: frames - cut}
	}
	l.drift += (d - l.drift) / slowness
	more := l.correction(frames)
	l.n += frames + more
	l.drift -= span(more, l.rate)
	return step{total: frames + more}
}

// correction is how many samples the block should be longer.
func (l *line) correction(frames int64) int64 {
	over := l.drift
	switch {
	case over > tolerance:
		over -= tolerance
	case over < -tolerance:
		over += tolerance
	default:
		return 0
	}
	limit := frames / most
	return min(max(int64(over.Seconds()*float64(l.rate))/8, -limit), limit)
}
