package peer

import (
	"fmt"
	"strings"
)

// startRate is in kbit/s. Browsers begin at 300 and make the picture small for
// it: a phone on the LAN would need half a minute to its full size, although
// the feedback tells it within a second what its link carries.
const startRate = 2000

// withStartRate asks a browser that sends to begin at startRate. The parameter
// is libwebrtc's own; others ignore what they do not know (RFC 8866 section
// 6.15), and only those that offer libwebrtc's goog-remb are told.
func withStartRate(answer, offer string) string {
	if !strings.Contains(offer, "goog-remb") {
		return answer
	}
	param := fmt.Sprintf("x-google-start-bitrate=%d", startRate)
	var b strings.Builder
	video, pt, told := false, "", false
	// A payload type has one fmtp line; it follows its rtpmap somewhere.
	close := func() {
		if pt != "" && !told {
			b.WriteString("a=fmtp:" + pt + " " + param + "\r\n")
		}
		pt, told = "", false
	}
	for line := range strings.Lines(answer) {
		rtpmap, isMap := strings.CutPrefix(line, "a=rtpmap:")
		if isMap || strings.HasPrefix(line, "m=") || pt != "" && !strings.HasPrefix(line, "a=fmtp:") && !strings.HasPrefix(line, "a=rtcp-fb:") {
			close()
		}
		if strings.HasPrefix(line, "m=") {
			video = strings.HasPrefix(line, "m=video ")
		}
		if isMap && video {
			pt, _, _ = strings.Cut(rtpmap, " ")
		}
		if rest, ok := strings.CutPrefix(line, "a=fmtp:"+pt+" "); ok && pt != "" {
			line = "a=fmtp:" + pt + " " + param + ";" + rest
			told = true
		}
		b.WriteString(line)
	}
	close()
	return b.String()
}
