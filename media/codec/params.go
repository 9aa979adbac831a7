package codec

import (
	"bytes"

	"camwire/media"
)

// paramSet is one parameter set that the stream has sent, a copy.
type paramSet struct {
	id  int
	ref int // the set it refers to: PPS to SPS, SPS to VPS
	nal []byte
	sps SPS // of an SPS
}

// paramStore holds the newest parameter sets of each id. The lists are short
// (one to three), so they are searched.
type paramStore struct {
	vps, sps, pps []paramSet
}

const maxParamSets = 32

func find(list []paramSet, id int) *paramSet {
	for i := range list {
		if list[i].id == id {
			return &list[i]
		}
	}
	return nil
}

func has(list []paramSet, nal []byte) bool {
	for i := range list {
		if bytes.Equal(list[i].nal, nal) {
			return true
		}
	}
	return false
}

func put(list []paramSet, p paramSet) []paramSet {
	p.nal = bytes.Clone(p.nal)
	if old := find(list, p.id); old != nil {
		*old = p
		return list
	}
	if len(list) == maxParamSets {
		list = append(list[:0], list[1:]...)
	}
	return append(list, p)
}

// learn takes a parameter set and reports whether it is one that can be read.
// Most cameras repeat theirs before every key frame, so equal ones are
// recognized before anything is parsed.
func (s *paramStore) learn(nal []byte, is265 bool) bool {
	switch {
	case !is265 && h264Type(nal) == h264SPS, is265 && h265Type(nal) == h265SPS:
		if has(s.sps, nal) {
			return true
		}
		c := media.H264
		if is265 {
			c = media.H265
		}
		p, err := ParseSPS(c, nal)
		if err != nil {
			return false
		}
		s.sps = put(s.sps, paramSet{id: p.ID, ref: p.VPS, nal: nal, sps: p})
	case !is265 && h264Type(nal) == h264PPS, is265 && h265Type(nal) == h265PPS:
		if has(s.pps, nal) {
			return true
		}
		id, ref, ok := ppsIDs(nal, is265)
		if !ok {
			return false
		}
		s.pps = put(s.pps, paramSet{id: id, ref: ref, nal: nal})
	case is265 && h265Type(nal) == h265VPS:
		if has(s.vps, nal) {
			return true
		}
		if len(nal) < 3 {
			return false
		}
		s.vps = put(s.vps, paramSet{id: int(nal[2] >> 4), nal: nal})
	}
	return true
}

// active returns the sets that a picture with that PPS needs, VPS first. sps
// is nil where one of them has not been seen.
func (s *paramStore) active(pps int) (vps, sps, p *paramSet) {
	if p = find(s.pps, pps); p == nil {
		return nil, nil, nil
	}
	if sps = find(s.sps, p.ref); sps == nil {
		return nil, nil, p
	}
	return find(s.vps, sps.ref), sps, p
}
