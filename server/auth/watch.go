package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ErrEnded is the cause of the end of a context of Watch.
var ErrEnded = errors.New("the permission has ended: sign in again")

// Intervals of Run.
const (
	// watchInterval is how soon what other processes have changed, and the
	// end of a token, reach those who are being served.
	watchInterval = time.Second
	// flushInterval is how often it is written down when tokens and sessions
	// were used: seldom, for the sake of memory cards.
	flushInterval = 10 * time.Minute
)

// watches are the contexts that last as long as somebody's permission.
type watches struct {
	mu  sync.Mutex
	all map[*watch]struct{}
}

type watch struct {
	proof  proof
	perm   Permission
	camera string
	cancel context.CancelCauseFunc
}

// Watch returns a context that ends, with the cause ErrEnded, when the identity
// loses the permission for the camera: its token is revoked or expires, its
// user is removed or has a new password, its session is signed out, or the
// grant no longer says so. Run notices within about a second. The caller ends
// the watch by the returned function.
func (g *Gate) Watch(ctx context.Context, id Identity, p Permission, camera string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{proof: id.proof, perm: p, camera: camera, cancel: cancel}
	g.watches.mu.Lock()
	g.watches.all[w] = struct{}{}
	g.watches.mu.Unlock()
	// It may have ended between the question and now.
	g.recheckOne(w, time.Now())
	return ctx, func() {
		g.watches.mu.Lock()
		delete(g.watches.all, w)
		g.watches.mu.Unlock()
		cancel(context.Canceled)
	}
}

// recheck ends the watches whose permission is gone.
func (g *Gate) recheck() {
	g.watches.mu.Lock()
	all := make([]*watch, 0, len(g.watches.all))
	for w := range g.watches.all {
		all = append(all, w)
	}
	g.watches.mu.Unlock()
	now := time.Now()
	for _, w := range all {
		g.recheckOne(w, now)
	}
}

func (g *Gate) recheckOne(w *watch, now time.Time) {
	if id, ok := g.resolve(w.proof, now); !ok || !id.alsoMay(g.anonymous()).May(w.perm, w.camera) {
		w.cancel(ErrEnded)
		return
	}
	// Whoever is watching is using his session.
	g.sessions.touch(w.proof.session, now, false)
}

// Watched returns how many contexts of Watch there are.
func (g *Gate) Watched() int {
	g.watches.mu.Lock()
	defer g.watches.mu.Unlock()
	return len(g.watches.all)
}

// Run looks after what ends by itself until ctx is done: tokens and sessions
// that expire while somebody is being served, changes by other processes, keys
// of JWTs. Without it everything else works; only what has begun goes on.
func (g *Gate) Run(ctx context.Context) error {
	look := time.NewTicker(watchInterval)
	defer look.Stop()
	flush := time.NewTicker(flushInterval)
	defer flush.Stop()
	fetched := make(chan struct{})
	go func() {
		defer close(fetched)
		g.refreshKeys(ctx)
	}()
	defer func() { <-fetched }()
	for {
		select {
		case <-ctx.Done():
			g.flush()
			return ctx.Err()
		case <-look.C:
			if g.Watched() > 0 {
				g.recheck()
			}
		case <-flush.C:
			g.flush()
		}
	}
}

func (g *Gate) flush() {
	// Beside one another: each may have to wait for another process.
	kept := make(chan error, 1)
	go func() { kept <- g.book.flush() }()
	if err := errors.Join(g.sessions.flush(), <-kept); err != nil {
		g.log.Warn("it could not be written down when tokens and sessions were used", "error", err)
	}
}

// madeBy is who made a request, for what outlives it.
type madeBy struct {
	gate   *Gate
	id     Identity
	perm   Permission
	camera string
}

type madeByKey struct{}

// WithIdentity returns a context that knows who makes a request, with the
// permission and the camera that the request was let in for.
func (g *Gate) WithIdentity(ctx context.Context, id Identity, p Permission, camera string) context.Context {
	return context.WithValue(ctx, madeByKey{}, madeBy{gate: g, id: id, perm: p, camera: camera})
}

// FromContext returns who makes the request that ctx belongs to.
func FromContext(ctx context.Context) (Identity, bool) {
	m, ok := ctx.Value(madeByKey{}).(madeBy)
	return m.id, ok
}

// Lifetime is for what begins with a request and outlives it, such as a WebRTC
// session: the returned context ends as that of Watch does, for whoever makes
// the request that ctx belongs to, and not with the request. The caller ends
// it. Of a context without an identity it never ends by itself.
func Lifetime(ctx context.Context) (context.Context, context.CancelFunc) {
	m, ok := ctx.Value(madeByKey{}).(madeBy)
	free := context.WithoutCancel(ctx)
	if !ok {
		return context.WithCancel(free)
	}
	return m.gate.Watch(free, m.id, m.perm, m.camera)
}

// Admit is Check for what lasts: the returned context ends as that of Watch
// does. The caller ends it.
func (g *Gate) Admit(ctx context.Context, remote net.Addr, user, pass, token, perm, camera string) (context.Context, context.CancelFunc, error) {
	id, err := g.AuthorizeContext(ctx, loginCredentials(remote, user, pass, token), Permission(perm), camera)
	if err != nil {
		return nil, nil, fmt.Errorf("camera %q: %w", clip(camera, maxName), err)
	}
	ctx, end := g.Watch(ctx, id, Permission(perm), camera)
	return ctx, end, nil
}
