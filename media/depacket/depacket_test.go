package depacket

import (
	"bytes"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
)

func TestGuard(t *testing.T) {
	type packet struct {
		seq    uint16
		ts     uint32
		marker bool
		want   Verdict
	}
	for name, ps := range map[string][]packet{
		"in order, over the wrap": {
			{65534, 1, false, Verdict{}}, {65535, 1, true, Verdict{}}, {0, 2, true, Verdict{}}, {1, 3, false, Verdict{}},
		},
		"hole in a picture: the rest of it is dropped": {
			{1, 10, false, Verdict{}}, {3, 10, false, Verdict{Lost: 1, Cut: true, Drop: true}},
			{4, 10, true, Verdict{Drop: true}}, {5, 11, true, Verdict{}},
		},
		"end of a picture lost": {
			{1, 10, false, Verdict{}}, {4, 11, false, Verdict{Lost: 2, Cut: true}}, {5, 11, true, Verdict{}},
		},
		"whole pictures lost": {
			{1, 10, true, Verdict{}}, {9, 15, true, Verdict{Lost: 7}}, {10, 16, true, Verdict{}},
		},
		"hole over the wrap": {
			{65535, 10, false, Verdict{}}, {1, 10, true, Verdict{Lost: 1, Cut: true, Drop: true}},
		},
		"sent twice": {
			{5, 10, false, Verdict{}}, {5, 10, false, Verdict{Cut: true}},
		},
	} {
		var g Guard
		for i, p := range ps {
			if got := g.Packet(p.seq, p.ts, p.marker); got != p.want {
				t.Errorf("%s, packet %d: got %+v, want %+v", name, i, got, p.want)
			}
		}
	}
	var g Guard
	g.Packet(1, 10, false)
	g.GiveUp(10)
	if !g.Packet(2, 10, false).Drop || g.Packet(3, 11, false).Drop {
		t.Error("GiveUp must drop exactly the rest of that timestamp")
	}
}

func TestWithoutSize(t *testing.T) {
	for _, c := range []struct{ in, want []byte }{
		{nil, nil},
		{[]byte{0x30, 1, 2}, []byte{0x30, 1, 2}},          // has none
		{[]byte{0x32, 2, 1, 2}, []byte{0x30, 1, 2}},       // one byte of size
		{[]byte{0x36, 8, 1, 7}, []byte{0x34, 8, 7}},       // with extension
		{[]byte{0x32, 0x82, 0, 1, 2}, []byte{0x30, 1, 2}}, // two bytes of size
		{[]byte{0x32, 1, 1, 2, 3}, []byte{0x30, 1}},       // something behind
		{[]byte{0x32, 9, 1}, []byte{0x30, 1}},             // too long: what is there
		{[]byte{0x32}, nil},
		{[]byte{0x36, 1}, nil},
	} {
		in := bytes.Clone(c.in)
		if got := withoutSize(in); !bytes.Equal(got, c.want) {
			t.Errorf("%x: got %x, want %x", c.in, got, c.want)
		}
		if !bytes.Equal(in, c.in) {
			t.Errorf("%x: input modified", c.in)
		}
	}
}

func FuzzWithoutSize(f *testing.F) {
	f.Add([]byte{0x32, 2, 1, 2})
	f.Add([]byte{0x36, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := withoutSize(b); len(got) > len(b) || len(got) > 0 && len(b) > 0 && b[0]&2 != 0 && got[0]&2 != 0 {
			t.Errorf("%x: %x", b, got)
		}
	})
}

// TestNumberedPartitions: GStreamer counts the partitions of a VP8 picture.
func TestNumberedPartitions(t *testing.T) {
	_, create, _ := Describe(&format.VP8{PayloadTyp: 96})
	d, err := create()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		for i, first := range []byte{0x10, 0x01, 0x12, 0x02} { // the third begins a partition
			p := &rtp.Packet{Payload: []byte{first, byte(n), byte(i)}}
			p.SequenceNumber, p.Timestamp, p.Marker = uint16(4*n+i), uint32(n), i == 3
			au, err := d.Packet(p, 0)
			if err != nil || (len(au) == 1) != p.Marker {
				t.Fatalf("packet %d: %v, %v", i, au, err)
			}
			if p.Payload[0] != first {
				t.Error("the packet was changed")
			}
			if p.Marker && len(au[0].Units[0]) != 8 {
				t.Errorf("%x", au[0].Units)
			}
		}
	}
}
