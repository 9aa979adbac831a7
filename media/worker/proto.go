package worker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"camwire/media"
)

// Both directions carry messages of one byte type, four bytes length (little
// endian) and that many bytes of payload. Both ends bound every number before
// they believe it: the worker has read a stranger's bytes, and a worker that
// was taken over must not take its parent with it.

const protocolVersion = 2

// Message types; the high bit marks what the worker says.
const (
	msgHello byte = iota + 1
	msgInput
	msgOutputs
	msgFrame
	msgKey
	msgBitrate

	msgReady byte = 0x80 + iota
	msgPicture
	msgDone
	msgTrouble
	msgSound
)

const (
	headerSize = 5
	// maxUnits is far above what any encoder puts into one access unit.
	maxUnits = 4096
	maxText  = 1024
	// maxSmall bounds all messages but frames and pictures: the largest
	// carries the parameter sets of a track.
	maxSmall = 1 << 20
	// slack is kept readable behind every frame: the scaler reads whole
	// vectors.
	slack = 64
)

var errMalformed = errors.New("malformed message")

// message is what is written in one go: head includes the header, the units
// follow without being copied.
type message struct {
	head  []byte
	units [][]byte
}

func newMessage(typ byte, size int) []byte {
	return append(make([]byte, 0, headerSize+size), typ, 0, 0, 0, 0)
}

// seal writes the length into the header.
func seal(head []byte, units [][]byte) message {
	n := len(head) - headerSize
	for _, u := range units {
		n += len(u)
	}
	binary.LittleEndian.PutUint32(head[1:], uint32(n))
	return message{head: head, units: units}
}

func (m message) writeTo(w *bufio.Writer) error {
	if _, err := w.Write(m.head); err != nil {
		return err
	}
	for _, u := range m.units {
		if _, err := w.Write(u); err != nil {
			return err
		}
	}
	return nil
}

// readMessage reads one message. limit gives the largest payload of a type,
// negative for a type that must not come. buf is used when it is large enough;
// otherwise memory is taken as the bytes come in, not as they are promised.
func readMessage(r *bufio.Reader, limit func(byte) int, buf []byte) (byte, []byte, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, nil, err
	}
	n, most := int64(binary.LittleEndian.Uint32(h[1:])), limit(h[0])
	if most < 0 {
		return 0, nil, fmt.Errorf("%w: unexpected type %d", errMalformed, h[0])
	}
	if n > int64(most) {
		return 0, nil, fmt.Errorf("%w: type %d of %d bytes", errMalformed, h[0], n)
	}
	want := int(n)
	if cap(buf) < want+slack {
		buf = make([]byte, 0, min(want, 1<<20)+slack)
	}
	buf = buf[:0]
	for len(buf) < want {
		if cap(buf)-len(buf) <= slack {
			grown := make([]byte, len(buf), min(2*len(buf), want)+slack)
			copy(grown, buf)
			buf = grown
		}
		part := buf[len(buf):min(want, cap(buf)-slack)]
		if _, err := io.ReadFull(r, part); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, nil, err
		}
		buf = buf[:len(buf)+len(part)]
	}
	return h[0], buf, nil
}

// fields reads a payload; after the first thing that is missing everything is
// zero and bad is set.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n < 0 || n > len(f.b) {
		f.bad, f.b = true, nil
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) u8() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if b := f.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if b := f.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (f *fields) u64() uint64 {
	if b := f.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// units reads a count, the lengths and the units themselves.
func (f *fields) units() [][]byte {
	n := int(f.u16())
	if n > maxUnits || n*4 > len(f.b) {
		f.bad = true
		return nil
	}
	lens := fields{b: f.take(4 * n)}
	units := make([][]byte, n)
	for i := range units {
		// A length over 2 GiB is over the payload's as well.
		units[i] = f.take(int(min(lens.u32(), math.MaxInt32)))
	}
	return units
}

// end reports whether the payload was read to its end and no further.
func (f *fields) end() error {
	if f.bad || len(f.b) != 0 {
		return errMalformed
	}
	return nil
}

func appendLengths(b []byte, units [][]byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(units)))
	for _, u := range units {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(u)))
	}
	return b
}

func flag(bit byte, on bool) byte {
	if on {
		return bit
	}
	return 0
}

// hello is the first message: the limits.
type hello struct {
	MaxPixels int
	MaxMemory int64
}

func (m hello) message() message {
	b := newMessage(msgHello, 20)
	b = binary.LittleEndian.AppendUint32(b, protocolVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.MaxPixels))
	return seal(binary.LittleEndian.AppendUint64(b, uint64(m.MaxMemory)), nil)
}

func parseHello(p []byte) (hello, error) {
	f := fields{b: p}
	version, pixels, memory := f.u32(), f.u64(), f.u64()
	if err := f.end(); err != nil {
		return hello{}, err
	}
	if version != protocolVersion || pixels == 0 || pixels > MaxPixels || memory > 1<<50 {
		return hello{}, fmt.Errorf("%w: hello of version %d", errMalformed, version)
	}
	return hello{MaxPixels: int(pixels), MaxMemory: int64(memory)}, nil
}

// inputMessage carries the track fields that matter for decoding.
func inputMessage(t media.Track) message {
	b := newMessage(msgInput, 64)
	b = append(append(b, byte(len(t.Codec))), t.Codec...)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Width))
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Height))
	b = append(b, flag(1, t.Reordered))
	return seal(appendLengths(b, t.Params), t.Params)
}

func parseInput(p []byte) (media.Track, error) {
	f := fields{b: p}
	t := media.Track{Codec: media.Codec(f.take(int(f.u8())))}
	w, h := f.u32(), f.u32()
	t.Reordered = f.u8()&1 != 0
	for _, u := range f.units() {
		t.Params = append(t.Params, append([]byte(nil), u...))
	}
	if err := f.end(); err != nil {
		return t, err
	}
	if w > MaxSide || h > MaxSide {
		return t, fmt.Errorf("%w: input of %dx%d", errMalformed, w, h)
	}
	t.Width, t.Height = int(w), int(h)
	return t, nil
}

func outputsMessage(list []Output) message {
	b := newMessage(msgOutputs, 2+38*len(list))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(list)))
	for _, o := range list {
		b = binary.LittleEndian.AppendUint32(b, o.ID)
		b = append(b, byte(o.Kind), byte(o.Quality))
		b = binary.LittleEndian.AppendUint32(b, uint32(o.Width))
		b = binary.LittleEndian.AppendUint32(b, uint32(o.Height))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(o.FPS))
		b = binary.LittleEndian.AppendUint32(b, uint32(o.Bitrate))
		b = binary.LittleEndian.AppendUint64(b, uint64(o.GOP))
	}
	return seal(b, nil)
}

func parseOutputs(p []byte) ([]Output, error) {
	f := fields{b: p}
	n := int(f.u16())
	if n > MaxOutputs {
		return nil, fmt.Errorf("%w: %d outputs", errMalformed, n)
	}
	var list []Output
	for range n {
		o := Output{ID: f.u32(), Kind: Kind(f.u8()), Quality: int(f.u8())}
		o.Width, o.Height = int(f.u32()), int(f.u32())
		o.FPS = math.Float64frombits(f.u64())
		o.Bitrate, o.GOP = int(f.u32()), time.Duration(f.u64())
		list = append(list, o)
	}
	if err := f.end(); err != nil {
		return nil, err
	}
	for _, o := range list {
		if err := o.check(); err != nil {
			return nil, fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	return list, nil
}

// packet is a frame on its way to the worker.
type packet struct {
	ID    uint64
	PTS   time.Duration
	Key   bool
	Want  bool
	Units [][]byte
}

func (m packet) message() message {
	b := newMessage(msgFrame, 19+4*len(m.Units))
	b = binary.LittleEndian.AppendUint64(b, m.ID)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.PTS))
	b = append(b, flag(1, m.Key)|flag(2, m.Want))
	return seal(appendLengths(b, m.Units), m.Units)
}

func parsePacket(p []byte) (packet, error) {
	f := fields{b: p}
	m := packet{ID: f.u64(), PTS: time.Duration(f.u64())}
	flags := f.u8()
	m.Key, m.Want = flags&1 != 0, flags&2 != 0
	m.Units = f.units()
	return m, f.end()
}

func keyMessage(id uint32) message {
	return seal(binary.LittleEndian.AppendUint32(newMessage(msgKey, 4), id), nil)
}

func bitrateMessage(id uint32, bps int) message {
	b := binary.LittleEndian.AppendUint32(newMessage(msgBitrate, 8), id)
	return seal(binary.LittleEndian.AppendUint32(b, uint32(bps)), nil)
}

func parseKey(p []byte) (uint32, error) {
	f := fields{b: p}
	id := f.u32()
	return id, f.end()
}

func parseBitrate(p []byte) (id uint32, bps int, err error) {
	f := fields{b: p}
	id, bps = f.u32(), int(f.u32())
	if err = f.end(); err == nil && (bps <= 0 || bps > maxBitrate) {
		err = fmt.Errorf("%w: bit rate %d", errMalformed, bps)
	}
	return id, bps, err
}

func readyMessage(text string) message {
	b := binary.LittleEndian.AppendUint32(newMessage(msgReady, 4+len(text)), protocolVersion)
	return seal(append(b, text...), nil)
}

func parseReady(p []byte) (string, error) {
	f := fields{b: p}
	if v := f.u32(); v != protocolVersion || len(f.b) > maxText {
		return "", fmt.Errorf("%w: ready of version %d", errMalformed, v)
	}
	return printable(f.b), nil
}

// picture is a result on its way to the parent.
type picture struct {
	Output         uint32
	Kind           Kind
	Frame          uint64
	Key            bool
	Width, Height  int
	Decode, Encode time.Duration
	Units          [][]byte
}

func (m picture) message() message {
	b := newMessage(msgPicture, 32+4*len(m.Units))
	b = binary.LittleEndian.AppendUint32(b, m.Output)
	b = append(b, byte(m.Kind), flag(1, m.Key))
	b = binary.LittleEndian.AppendUint64(b, m.Frame)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Width))
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Height))
	b = binary.LittleEndian.AppendUint32(b, uint32(min(m.Decode.Microseconds(), math.MaxUint32)))
	b = binary.LittleEndian.AppendUint32(b, uint32(min(m.Encode.Microseconds(), math.MaxUint32)))
	return seal(appendLengths(b, m.Units), m.Units)
}

func parsePicture(p []byte) (picture, error) {
	f := fields{b: p}
	m := picture{Output: f.u32(), Kind: Kind(f.u8()), Key: f.u8()&1 != 0, Frame: f.u64()}
	w, h := f.u32(), f.u32()
	m.Decode, m.Encode = time.Duration(f.u32())*time.Microsecond, time.Duration(f.u32())*time.Microsecond
	m.Units = f.units()
	if err := f.end(); err != nil {
		return m, err
	}
	if w == 0 || h == 0 || w > MaxSide || h > MaxSide || len(m.Units) == 0 {
		return m, fmt.Errorf("%w: picture of %dx%d in %d units", errMalformed, w, h, len(m.Units))
	}
	m.Width, m.Height = int(w), int(h)
	for _, u := range m.Units {
		if len(u) == 0 {
			return m, fmt.Errorf("%w: empty unit", errMalformed)
		}
	}
	return m, m.plausible()
}

// plausible checks what the kind says of the units.
func (m picture) plausible() error {
	first, single := m.Units[0], len(m.Units) == 1
	switch {
	case m.Kind == OutputJPEG && single && len(first) > 3 && first[0] == 0xff && first[1] == 0xd8,
		m.Kind == OutputGray && single && len(first) == m.Width*m.Height,
		m.Kind == OutputH264 && first[0]&0x80 == 0:
		return nil
	}
	return fmt.Errorf("%w: this is no %v", errMalformed, m.Kind)
}

func doneMessage(frame uint64) message {
	return seal(binary.LittleEndian.AppendUint64(newMessage(msgDone, 8), frame), nil)
}

func parseDone(p []byte) (uint64, error) {
	f := fields{b: p}
	id := f.u64()
	return id, f.end()
}

func troubleMessage(output uint32, t *TroubleError) message {
	text := printable([]byte(t.Text))
	b := binary.LittleEndian.AppendUint32(newMessage(msgTrouble, 9+len(text)), output)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Count))
	return seal(append(append(b, flag(1, t.NeedKey)), text...), nil)
}

func parseTrouble(p []byte) (uint32, *TroubleError, error) {
	f := fields{b: p}
	id, count, flags := f.u32(), f.u32(), f.u8()
	if f.bad || len(f.b) > maxText {
		return 0, nil, errMalformed
	}
	return id, &TroubleError{Text: printable(f.b), Count: int(count), NeedKey: flags&1 != 0}, nil
}

// printable makes one line of ASCII out of anything: what a worker says ends
// up in logs and on pages.
func printable(b []byte) string {
	out := make([]byte, 0, min(len(b), maxText))
	for _, c := range b[:min(len(b), maxText)] {
		if c < ' ' || c > '~' {
			c = '?'
		}
		out = append(out, c)
	}
	return string(out)
}
