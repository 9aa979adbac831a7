package mse

import "time"

const (
	// videoRate is the timescale of video, that of its RTP clock.
	videoRate = 90000
	// maxStep bounds how far ahead of its picture the end of the newest
	// fragment may lie: the page takes that end for the present.
	maxStep = 250 * time.Millisecond
	// firstStep is the distance of two pictures while nothing is known of it.
	firstStep = 40 * time.Millisecond
	// maxGap is the longest pause that media time keeps. A page would have to
	// play through it before it shows what comes after.
	maxGap = time.Second
)

// timeline places samples one behind the other without holes. A sample goes
// out before the next one is known, so its duration is a guess, and a page
// stops at a hole: what is wrong with the guess is corrected by the duration of
// the next sample, so that the error never adds up. In segments mode a browser
// also throws everything away up to the next key frame when two decode times
// are further apart than twice the duration in between (Media Source
// Extensions, section 3.5.8, step 6); here they are exactly that duration
// apart.
type timeline struct {
	rate int64 // ticks per second

	started bool
	last    time.Duration // source time of the newest sample
	step    time.Duration // expected distance of two samples
	next    int64         // where the next sample begins, ticks
}

// ticks are those of a media time.
func (t *timeline) ticks(d time.Duration) int64 {
	s := int64(d / time.Second)
	return s*t.rate + int64(d%time.Second)*t.rate/int64(time.Second)
}

// time is the media time of ticks.
func (t *timeline) time(ticks int64) time.Duration {
	return time.Duration(ticks/t.rate)*time.Second + time.Duration(ticks%t.rate*int64(time.Second)/t.rate)
}

// start begins the timeline at a source time, which is media time 0 plus at.
func (t *timeline) start(source, at, step time.Duration) {
	t.started = true
	t.last, t.step, t.next = source, min(max(step, time.Millisecond), maxStep), t.ticks(max(at, 0))
}

// learn takes the distance to the sample before into the expectation.
func (t *timeline) learn(gap time.Duration) {
	t.step = min(max(t.step+(gap-t.step)/4, time.Millisecond), maxStep)
}

// place returns begin and duration in ticks of the sample that should end at a
// media time.
func (t *timeline) place(end time.Duration) (begin, duration int64) {
	begin = t.next
	duration = max(t.ticks(end)-begin, 1)
	t.next = begin + duration
	return begin, duration
}
