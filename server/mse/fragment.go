package mse

import (
	"encoding/binary"
	"fmt"
	"math"
)

// sample is one picture or one packet of sound as it stands in a fragment.
type sample struct {
	track    uint32
	begin    uint64 // decode time, ticks
	duration uint32 // ticks
	offset   int32  // presentation minus decode time, ticks
	key      bool
	units    [][]byte
	// lengths puts the length of each unit before it, in four bytes (ISO/IEC
	// 14496-15 section 5.3.3.1.2).
	lengths bool
}

func (s *sample) size() int {
	n := 0
	for _, u := range s.units {
		n += len(u)
		if s.lengths {
			n += 4
		}
	}
	return n
}

// Flags of the boxes tfhd and trun (ISO/IEC 14496-12 sections 8.8.7 and 8.8.8).
const (
	baseIsMoof      = 0x020000
	dataOffset      = 0x000001
	sampleDuration  = 0x000100
	sampleSize      = 0x000200
	sampleFlags     = 0x000400
	sampleOffset    = 0x000800
	sampleIsNotSync = 0x010000
)

// marshal writes moof and mdat into one piece of memory: there is one for every
// frame and viewer, so it must cost no more than the copy. The layout is that of
// mediacommon's fmp4.Part, which the tests compare it with.
func (s *sample) marshal(seq uint32) ([]byte, error) {
	size := s.size()
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("frame of %d bytes: too large for a fragment", size)
	}
	flags, entry := uint32(dataOffset|sampleDuration|sampleSize), 8
	if !s.key {
		flags, entry = flags|sampleFlags, entry+4
	}
	if s.offset != 0 {
		flags, entry = flags|sampleOffset, entry+4
	}
	const mfhd, tfhd, tfdt = 16, 16, 20
	trun := 20 + entry
	traf := 8 + tfhd + tfdt + trun
	moof := 8 + mfhd + traf
	b := make([]byte, 0, moof+8+size)
	word := func(v uint32) { b = binary.BigEndian.AppendUint32(b, v) }
	box := func(size int, name string) {
		word(uint32(size))
		b = append(b, name...)
	}
	box(moof, "moof")
	box(mfhd, "mfhd")
	word(0)
	word(seq)
	box(traf, "traf")
	box(tfhd, "tfhd")
	word(baseIsMoof)
	word(s.track)
	box(tfdt, "tfdt")
	word(1 << 24) // version 1: 64 bits
	b = binary.BigEndian.AppendUint64(b, s.begin)
	box(trun, "trun")
	word(1<<24 | flags) // version 1: offsets may be negative
	word(1)
	word(uint32(moof + 8))
	word(s.duration)
	word(uint32(size))
	if !s.key {
		word(sampleIsNotSync)
	}
	if s.offset != 0 {
		word(uint32(s.offset))
	}
	box(8+size, "mdat")
	for _, u := range s.units {
		if s.lengths {
			word(uint32(len(u)))
		}
		b = append(b, u...)
	}
	return b, nil
}
