package session

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"camwire/media/stream"
	"camwire/signaling/peer"
)

func TestStatus(t *testing.T) {
	for err, want := range map[error]int{
		stream.ErrUnknown: 404, stream.ErrBadID: 400, peer.ErrBadOffer: 400, peer.ErrNoCodec: 406,
		stream.ErrDisabled: 409, stream.ErrPublished: 409, stream.ErrNotPushable: 409, stream.ErrFull: 503, stream.ErrClosed: 409, peer.ErrTooMany: 503, stream.ErrTooMany: 503,
		peer.ErrClosed: 503, context.Canceled: 499, errors.New("other"): 500,
	} {
		if got := Status(fmt.Errorf("wrapped: %w", err)); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func FuzzFragment(f *testing.F) {
	f.Add("a=ice-ufrag:x\r\na=ice-pwd:y\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseFragment(s)
		if err == nil && len(p.candidates) > maxCandidates {
			t.Error("too many candidates taken")
		}
		credentials(s)
		fragmentOf(withCredentials(s, "u", "p"))
	})
}
