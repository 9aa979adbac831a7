package session

import (
	"errors"
	"strings"
)

// fragment is an application/trickle-ice-sdpfrag (RFC 8840 section 9).
type fragment struct {
	ufrag, pwd string
	candidates []candidate
}

type candidate struct{ line, mid string }

const maxCandidates = 64

var errFragment = errors.New("not an SDP fragment: a=ice-ufrag, a=mid and a=candidate lines are expected")

// parseFragment takes hostile input. "a=end-of-candidates" becomes an empty
// candidate.
func parseFragment(s string) (*fragment, error) {
	f := &fragment{}
	mid, any := "", false
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\r\n")
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "":
			continue
		case "a=ice-ufrag":
			f.ufrag = value
		case "a=ice-pwd":
			f.pwd = value
		case "a=mid":
			mid = value
		case "a=candidate":
			if len(f.candidates) == maxCandidates {
				return nil, errors.New("too many candidates in one request")
			}
			f.candidates = append(f.candidates, candidate{"candidate:" + value, mid})
		case "a=end-of-candidates":
			// Nothing to wait for: our own checks do not depend on it.
		default:
			if len(line) < 2 || line[1] != '=' {
				return nil, errFragment
			}
			continue
		}
		any = true
	}
	if !any {
		return nil, errFragment
	}
	for _, x := range []string{f.ufrag, f.pwd, mid} {
		if len(x) > 256 {
			return nil, errFragment
		}
	}
	return f, nil
}

// credentials returns the first ufrag and password of an SDP.
func credentials(sdp string) (ufrag, pwd string) {
	for line := range strings.Lines(sdp) {
		line = strings.TrimRight(line, "\r\n")
		if v, ok := strings.CutPrefix(line, "a=ice-ufrag:"); ok && ufrag == "" {
			ufrag = v
		}
		if v, ok := strings.CutPrefix(line, "a=ice-pwd:"); ok && pwd == "" {
			pwd = v
		}
	}
	return ufrag, pwd
}

// withCredentials is the offer as it would be after an ICE restart: new
// credentials, no old candidates.
func withCredentials(sdp, ufrag, pwd string) string {
	var b strings.Builder
	for line := range strings.Lines(sdp) {
		switch {
		case strings.HasPrefix(line, "a=ice-ufrag:"):
			b.WriteString("a=ice-ufrag:" + ufrag + "\r\n")
		case strings.HasPrefix(line, "a=ice-pwd:"):
			b.WriteString("a=ice-pwd:" + pwd + "\r\n")
		case strings.HasPrefix(line, "a=candidate:"), strings.HasPrefix(line, "a=end-of-candidates"):
		default:
			b.WriteString(line)
		}
	}
	return b.String()
}

// fragmentOf makes a fragment out of an answer: what an ICE restart changes.
func fragmentOf(sdp string) string {
	ufrag, pwd := credentials(sdp)
	var b strings.Builder
	b.WriteString("a=ice-ufrag:" + ufrag + "\r\na=ice-pwd:" + pwd + "\r\n")
	for line := range strings.Lines(sdp) {
		for _, p := range []string{"m=", "a=mid:", "a=candidate:", "a=end-of-candidates"} {
			if strings.HasPrefix(line, p) {
				b.WriteString(line)
			}
		}
	}
	return b.String()
}
