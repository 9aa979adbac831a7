package images

import (
	"slices"
	"time"
)

// arrival is a file of which something was heard.
type arrival struct {
	name  string
	order uint64    // grows with each event
	since time.Time // the last event
	fresh bool      // there was an event since it was last looked at
	quiet bool      // none of them said that it was written to
	retry time.Time // not before it is read again without an event
	pause time.Duration
}

// later puts off the next attempt.
func (a *arrival) later(now time.Time) {
	a.pause = min(max(2*a.pause, firstRetry), lastRetry)
	a.retry = now.Add(a.pause)
}

// queue holds the files that may become the next picture. The zero value is
// empty.
type queue struct {
	list  []*arrival
	order uint64
}

// maxWaiting bounds the files that are waited for.
const maxWaiting = 64

// add notes an event, quiet if it does not say that the file was written to.
// The file becomes the newest.
func (q *queue) add(name string, now time.Time, quiet bool) {
	q.order++
	for _, a := range q.list {
		if a.name == name {
			a.order, a.since, a.fresh, a.quiet = q.order, now, true, a.quiet && quiet
			return
		}
	}
	if len(q.list) == maxWaiting {
		q.drop(slices.MinFunc(q.list, byOrder))
	}
	q.list = append(q.list, &arrival{name: name, order: q.order, since: now, fresh: true, quiet: quiet})
}

func byOrder(a, b *arrival) int {
	if a.order < b.order {
		return -1
	}
	return 1
}

func (q *queue) has(name string) bool {
	return slices.ContainsFunc(q.list, func(a *arrival) bool { return a.name == name })
}

// newestFirst returns a copy of the list.
func (q *queue) newestFirst() []*arrival {
	l := slices.Clone(q.list)
	slices.SortFunc(l, func(a, b *arrival) int { return byOrder(b, a) })
	return l
}

func (q *queue) drop(a *arrival) {
	q.list = slices.DeleteFunc(q.list, func(b *arrival) bool { return a == b })
}

// dropOlder drops what has been overtaken.
func (q *queue) dropOlder(a *arrival) {
	q.list = slices.DeleteFunc(q.list, func(b *arrival) bool { return b.order < a.order })
}

// next returns when the first file is to be read again.
func (q *queue) next() (time.Time, bool) {
	if len(q.list) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(q.list, func(a, b *arrival) int { return a.retry.Compare(b.retry) }).retry, true
}
