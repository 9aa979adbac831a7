// Package health answers whether the server can do its work: GET /readyz, for
// whoever starts, stops and balances programs. Whether it is alive at all
// (GET /healthz) is a matter of answering, and is in server/api.
package health

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"sync"
	"time"

	"camwire/server"
	"camwire/server/auth"

	"github.com/gin-gonic/gin"
)

const (
	// timeout bounds all checks of one request together.
	timeout = 3 * time.Second
	// fresh is how long an answer counts: strangers who ask and ask must not
	// keep the disk busy.
	fresh = time.Second
)

// Check is one thing that must be so.
type Check struct {
	// Name stands before its reason.
	Name string
	// Test returns why it is not so, or nil. The words go to strangers: no
	// paths, no secrets.
	Test func(context.Context) error
}

// Handler answers for all checks.
type Handler struct {
	checks []Check

	mu   sync.Mutex // held while checks run, so that they run once for all who ask
	at   time.Time
	last []string
}

// New returns a handler.
func New(checks ...Check) *Handler { return &Handler{checks: checks} }

// Routes returns the address.
func (h *Handler) Routes() []server.Route {
	return []server.Route{{Method: http.MethodGet, Path: "/readyz", Perm: auth.Public, Handler: h.serve}}
}

// Problems returns what is wrong, one line each, as it was at most a second ago.
func (h *Handler) Problems(ctx context.Context) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil || time.Since(h.at) >= fresh {
		// Whoever gave up asking must not decide what the next one hears.
		h.last = h.run(context.WithoutCancel(ctx))
		h.at = time.Now()
	}
	return h.last
}

func (h *Handler) run(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	out := []string{}
	for _, c := range h.checks {
		if err := c.Test(ctx); err != nil {
			out = append(out, fmt.Sprintf("%s: %v", c.Name, err))
		}
	}
	return out
}

func (h *Handler) serve(c *gin.Context) {
	c.Header("Cache-Control", "no-store")
	if problems := h.Problems(c.Request.Context()); len(problems) > 0 {
		c.JSON(http.StatusServiceUnavailable, gin.H{"status": "not ready", "error": problems[0], "problems": problems})
		return
	}
	c.JSON(http.StatusOK, gin.H{"status": "ready"})
}

// Writable checks that files can be made and filled in a folder: a full disk
// lets a file be made and not be written.
func Writable(dir string) func(context.Context) error {
	return func(context.Context) error {
		f, err := os.CreateTemp(dir, ".ready-*")
		if err != nil {
			return reason(err)
		}
		_, err = f.Write(make([]byte, 4096))
		if err == nil {
			err = f.Sync()
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if rerr := os.Remove(f.Name()); err == nil {
			err = rerr
		}
		if err != nil {
			return reason(err)
		}
		return nil
	}
}

// reason is an error without the path that strangers need not know.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("cannot be written: %w", p.Err)
	}
	return errors.New("cannot be written")
}
