package codec

import (
	"bytes"
	"slices"

	"camwire/media"
)

// accessUnit collects what the NAL units of one picture say.
type accessUnit struct {
	is265  bool
	params [][]byte // the parameter sets in it, none twice
	pps    []int    // PPS ids of its slices, the first slice's first
	vcl    bool     // has picture data
	idr    bool     // IDR, or IRAP in H265
	intra  bool     // all slices are I; H264 only
	b      bool     // has a B slice; H264 only
	sps    bool     // has an SPS
}

// inspectNAL does for H264 and H265 what inspect says.
func (n *Normalizer) inspectNAL(f *media.Frame, st *trackState, t *media.Track) bool {
	au := accessUnit{is265: t.Codec == media.H265, intra: true}
	kept := f.Units
	dropping := false
	for i, u := range f.Units {
		keep, ok := au.take(u, &st.params)
		if !ok {
			n.malformed.Add(1)
		}
		switch {
		case keep && dropping:
			kept = append(kept, u)
		case !keep && !dropping:
			dropping = true
			kept = append(make([][]byte, 0, len(f.Units)+3), f.Units[:i]...)
		}
	}
	if !au.vcl {
		return false
	}
	f.Units = kept

	// Some cameras never send IDR pictures: their group begins with an I
	// picture behind parameter sets. An I picture without those may be
	// anything, also one slice column of an intra refresh.
	f.Key = au.idr || !au.is265 && au.sps && au.intra
	if f.Key {
		f.Key = au.complete(f, st, t)
	}
	if au.b && !t.Reordered && st.reorder < 0 && st.runsBack(f.PTS) {
		st.reordered, t.Reordered = true, true
	}
	return true
}

// take notes what a unit says and reports whether it stays, and whether it is
// well-formed.
func (au *accessUnit) take(u []byte, store *paramStore) (keep, ok bool) {
	if !validNAL(u, au.is265) {
		return false, false
	}
	if au.is265 {
		return au.takeH265(u, store)
	}
	switch h264Type(u) {
	case h264AUD, h264Filler:
		return false, true
	case h264SPS:
		au.sps = true
		return au.takeParams(u, store)
	case h264PPS:
		return au.takeParams(u, store)
	case h264Slice, h264PartA, h264IDR:
		s, ok := h264SliceHeader(u)
		if !ok {
			return false, false
		}
		au.takeSlice(s)
		au.idr = au.idr || h264Type(u) == h264IDR
		au.intra = au.intra && s.typ == sliceI
		au.b = au.b || s.typ == sliceB
	}
	return true, true
}

func (au *accessUnit) takeH265(u []byte, store *paramStore) (keep, ok bool) {
	t := h265Type(u)
	// Units of other layers (nuh_layer_id > 0) are not ours to understand.
	base := u[0]&1 == 0 && u[1]>>3 == 0
	switch {
	case t == h265AUD, t == h265Filler:
		return false, true
	case !base:
		return true, true
	case t == h265VPS, t == h265SPS, t == h265PPS:
		return au.takeParams(u, store)
	case t <= h265LastVCL:
		s, ok := h265SliceHeader(u)
		if !ok {
			return false, false
		}
		au.takeSlice(s)
		au.idr = au.idr || t >= h265FirstIRAP && t <= h265LastIRAP
	}
	return true, true
}

func (au *accessUnit) takeSlice(s slice) {
	au.vcl = true
	if len(au.pps) < maxParamSets && !slices.Contains(au.pps, s.pps) {
		au.pps = append(au.pps, s.pps)
	}
}

func (au *accessUnit) takeParams(u []byte, store *paramStore) (keep, ok bool) {
	if au.holds(u) {
		return false, true
	}
	if len(au.params) == maxParamSets || !store.learn(u, au.is265) {
		return false, false
	}
	au.params = append(au.params, u)
	return true, true
}

func (au *accessUnit) holds(nal []byte) bool {
	return slices.ContainsFunc(au.params, func(p []byte) bool { return bytes.Equal(p, nal) })
}

// rank orders parameter sets as they refer to each other; -1 is none.
func (au *accessUnit) rank(nal []byte) int {
	if au.is265 {
		if t := h265Type(nal); t >= h265VPS && t <= h265PPS && nal[0]&1 == 0 && nal[1]>>3 == 0 {
			return int(t - h265VPS)
		}
		return -1
	}
	if t := h264Type(nal); t == h264SPS || t == h264PPS {
		return int(t-h264SPS) + 1
	}
	return -1
}

// complete puts the parameter sets of a key frame first, adds those it lacks,
// and notes in t what they say. False means that they have never been seen, so
// that no decoder can start here.
func (au *accessUnit) complete(f *media.Frame, st *trackState, t *media.Track) bool {
	vps, sps, _ := st.params.active(au.pps[0])
	if sps == nil {
		return false
	}
	sets := au.params
	add := func(nal []byte) {
		if !slices.ContainsFunc(sets, func(p []byte) bool { return bytes.Equal(p, nal) }) {
			sets = append(sets, nal)
		}
	}
	if vps != nil {
		add(vps.nal)
	}
	add(sps.nal)
	bare := !slices.ContainsFunc(au.params, func(p []byte) bool { return au.rank(p) == 2 })
	for i := range st.params.pps {
		p := &st.params.pps[i]
		// Later pictures may use a PPS that this one does not. A source that
		// sends none at all with its key frames will not repeat it.
		if slices.Contains(au.pps, p.id) || bare && p.ref == sps.id {
			add(p.nal)
		}
	}
	slices.SortStableFunc(sets, func(a, b []byte) int { return au.rank(a) - au.rank(b) })

	if !leads(f.Units, sets) {
		units := make([][]byte, 0, len(sets)+len(f.Units))
		units = append(units, sets...)
		for _, u := range f.Units {
			if au.rank(u) < 0 {
				units = append(units, u)
			}
		}
		f.Units = units
	}
	changed := replaceParams(t.Params, sets...)
	if sps.sps.Reorder < 0 && len(t.Params) > 0 && !containsNAL(t.Params, sps.nal) {
		st.reordered = false // what was seen was seen of another stream
	}
	t.Params = changed
	st.apply(t, &sps.sps)
	return true
}

func containsNAL(list [][]byte, nal []byte) bool {
	return slices.ContainsFunc(list, func(p []byte) bool { return bytes.Equal(p, nal) })
}

// leads reports whether units begin with sets.
func leads(units, sets [][]byte) bool {
	return len(units) >= len(sets) && slices.EqualFunc(units[:len(sets)], sets, bytes.Equal)
}

// maxOBUs bounds the units of one temporal unit; real ones have two to ten.
const maxOBUs = 256

// inspectAV1 does for AV1 what inspect says.
func (n *Normalizer) inspectAV1(f *media.Frame, st *trackState, t *media.Track) bool {
	var (
		out          = make([][]byte, 0, len(f.Units)+1)
		frame, key   bool
		sequence     []byte
		sequenceInfo AV1Info
	)
	still := st.av1.still
	for _, u := range f.Units {
		for len(u) > 0 {
			o, rest, sized, ok := nextOBU(u)
			if !ok || len(out) == maxOBUs {
				n.malformed.Add(1)
				break
			}
			unit := u
			u = rest
			switch o.typ {
			case obuTemporal, obuTileList, obuPadding:
				continue
			case obuSequence:
				i, err := AV1Sequence(unit[:len(unit)-len(rest)])
				if err != nil {
					n.malformed.Add(1)
					continue
				}
				unsized := withoutSize(o, unit, sized)
				if sequence != nil && bytes.Equal(sequence, unsized) {
					continue
				}
				sequence, sequenceInfo, still = unsized, i, i.still
				out = append(out, unsized)
				continue
			case obuFrame, obuFrameHeader:
				if !frame {
					key = av1KeyFrame(o.payload, still)
				}
				frame = true
			}
			out = append(out, withoutSize(o, unit, sized))
		}
	}
	if sequence != nil {
		st.learnAV1(sequence, sequenceInfo)
	}
	if !frame {
		return false
	}
	if f.Key = key && st.sequence != nil; f.Key {
		if sequence == nil {
			out = slices.Insert(out, 0, st.sequence)
		}
		st.applyAV1(t)
	}
	f.Units = out
	return true
}

// withoutSize returns the OBU without size field: the source's memory where it has
// none, otherwise a copy.
func withoutSize(o obu, unit []byte, sized bool) []byte {
	if !sized {
		return unit
	}
	b := make([]byte, 0, o.size())
	b = append(b, o.header[:o.hlen]...)
	return append(b, o.payload...)
}

// learnAV1 remembers a sequence header.
func (st *trackState) learnAV1(unit []byte, i AV1Info) {
	if !bytes.Equal(st.sequence, unit) {
		st.sequence = bytes.Clone(unit)
	}
	st.av1 = i
}

// applyAV1 brings what the newest sequence header says into the track.
func (st *trackState) applyAV1(t *media.Track) {
	t.Params = replaceParams(t.Params, st.sequence)
	t.Width, t.Height = st.av1.Width, st.av1.Height
	if st.av1.FPS > 0 {
		t.FPS = st.av1.FPS
	}
}
