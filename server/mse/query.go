package mse

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"camwire/media"
)

// names of codecs in the query, and those that a fragmented MP4 can carry in a
// browser.
var (
	videoNames = map[string]media.Codec{"h264": media.H264, "h265": media.H265, "vp9": media.VP9, "av1": media.AV1}
	audioNames = map[string]media.Codec{"opus": media.Opus, "aac": media.AAC}
)

// query is what a viewer can take and wants.
type query struct {
	video []media.Codec // as the camera has them; none: only what is made here
	audio []media.Codec
	sound bool // from the start
}

// parseQuery reads video, audio and sound. The error names the value and what
// it may be.
func parseQuery(v url.Values) (q query, err error) {
	if q.video, err = codecList(v, "video", videoNames); err != nil {
		return query{}, err
	}
	if q.audio, err = codecList(v, "audio", audioNames); err != nil {
		return query{}, err
	}
	switch s := v.Get("sound"); s {
	case "", "0", "false":
	case "1", "true":
		q.sound = true
	default:
		return query{}, fmt.Errorf("sound=%.40q: use 0 or 1", s)
	}
	return q, nil
}

// codecList reads a list such as "h264,av1"; all of them where nothing is said,
// none for "none".
func codecList(v url.Values, key string, names map[string]media.Codec) ([]media.Codec, error) {
	s := v.Get(key)
	out := []media.Codec{}
	if s == "" {
		for _, c := range names {
			out = append(out, c)
		}
		return out, nil
	}
	if s == "none" {
		return out, nil
	}
	for name := range strings.SplitSeq(s, ",") {
		c, ok := names[name]
		if !ok {
			known := make([]string, 0, len(names))
			for n := range names {
				known = append(known, n)
			}
			slices.Sort(known)
			return nil, fmt.Errorf("%s=%.80q: use some of %s, or none", key, s, strings.Join(known, ","))
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out, nil
}
