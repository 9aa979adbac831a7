package peer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// conn is the part of a connection that watching and publishing have in
// common: it answers offers and takes candidates.
type conn struct {
	srv      *Server
	pc       *webrtc.PeerConnection
	pageHost string
	own      bool // the ports are this connection's alone, not the server's

	mu         sync.Mutex
	candidates int // of this ICE generation
}

// answer sets a remote offer and returns the local answer with all candidates:
// they are those of the machine, so nothing has to be waited for.
func (c *conn) answer(ctx context.Context, offer string) (string, error) {
	err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	a, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	return c.finish(ctx, a)
}

// finish sets the local description and returns it with the candidates.
func (c *conn) finish(ctx context.Context, d webrtc.SessionDescription) (string, error) {
	gathered := webrtc.GatheringCompletePromise(c.pc)
	if err := c.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadOffer, err)
	}
	wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	select {
	case <-gathered:
	case <-wait.Done(): // a machine with a great many interfaces: some are there
	}
	if c.own {
		return withoutLoopback(c.pc.LocalDescription().SDP, c.pageHost), nil
	}
	return c.srv.finishAnswer(c.pc.LocalDescription().SDP, c.pageHost), nil
}

// newGeneration forgets the candidates of the ICE session before.
func (c *conn) newGeneration() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.candidates = 0
}

// AddCandidate takes a candidate of the browser; "" means that there are no
// more.
func (c *conn) AddCandidate(line, mid string, index *uint16) error {
	if len(line) > 1024 {
		return fmt.Errorf("%w: candidate of %d bytes", ErrBadOffer, len(line))
	}
	c.mu.Lock()
	c.candidates++
	n := c.candidates
	c.mu.Unlock()
	if n > maxCandidates {
		return fmt.Errorf("%w: more than %d candidates", ErrBadOffer, maxCandidates)
	}
	if strings.Contains(line, ".local") {
		return nil // the browser's checks reach us; its mDNS name need not be looked up
	}
	init := webrtc.ICECandidateInit{Candidate: line, SDPMLineIndex: index}
	if mid != "" {
		init.SDPMid = &mid
	}
	if err := c.pc.AddICECandidate(init); err != nil && !errors.Is(err, ice.ErrUnknownCandidateTyp) {
		return fmt.Errorf("%w: candidate: %w", ErrBadOffer, err)
	}
	return nil
}
