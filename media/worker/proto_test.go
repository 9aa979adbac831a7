package worker

import (
	"bufio"
	"bytes"
	"reflect"
	"runtime"
	"testing"
	"time"

	"camwire/media"
)

func encode(m message) []byte {
	b := append([]byte(nil), m.head...)
	for _, u := range m.units {
		b = append(b, u...)
	}
	return b
}

// samples has one message of each type.
func samples() []message {
	return []message{
		hello{MaxPixels: 1000, MaxMemory: 1 << 30}.message(),
		inputMessage(media.Track{Codec: media.H264, Width: 640, Height: 480, Reordered: true, Params: [][]byte{{1, 2}, {3}}}),
		outputsMessage([]Output{{ID: 5, Kind: OutputH264, Width: 1, Height: 2, FPS: 12.5, Bitrate: 7, GOP: time.Second}, {ID: 6, Kind: OutputJPEG, Quality: 50}}),
		packet{ID: 9, PTS: -time.Second, Key: true, Want: true, Units: [][]byte{{1}, {}, {2, 3}}}.message(),
		keyMessage(3),
		bitrateMessage(3, 1000),
		readyMessage("hello"),
		picture{Output: 1, Kind: OutputGray, Frame: 7, Key: true, Width: 2, Height: 1, Decode: time.Millisecond, Encode: time.Second, Units: [][]byte{{1, 2}}}.message(),
		soundBlock{Frame: 7, Rate: 44100, Channels: 2, PCM: []byte{1, 2, 3, 4}}.message(),
		doneMessage(7),
		troubleMessage(4, &TroubleError{Text: "bad\nthing\x00", Count: 3, NeedKey: true}),
	}
}

// parse parses a payload of any type; what it accepts must say the same again.
func parse(typ byte, p []byte) (again message, err error) {
	switch typ {
	case msgHello:
		var h hello
		h, err = parseHello(p)
		return h.message(), err
	case msgInput:
		var t media.Track
		t, err = parseInput(p)
		return inputMessage(t), err
	case msgOutputs:
		var l []Output
		l, err = parseOutputs(p)
		return outputsMessage(l), err
	case msgFrame:
		var f packet
		f, err = parsePacket(p)
		return f.message(), err
	case msgKey:
		var id uint32
		id, err = parseKey(p)
		return keyMessage(id), err
	case msgBitrate:
		var id uint32
		var bps int
		id, bps, err = parseBitrate(p)
		return bitrateMessage(id, bps), err
	case msgReady:
		var s string
		s, err = parseReady(p)
		return readyMessage(s), err
	case msgPicture:
		var m picture
		m, err = parsePicture(p)
		return m.message(), err
	case msgSound:
		var m soundBlock
		m, err = parseSound(p)
		return m.message(), err
	case msgDone:
		var id uint64
		id, err = parseDone(p)
		return doneMessage(id), err
	case msgTrouble:
		var id uint32
		var t *TroubleError
		id, t, err = parseTrouble(p)
		if t == nil {
			t = &TroubleError{}
		}
		return troubleMessage(id, t), err
	}
	return message{}, errMalformed
}

func anyType(limit int) func(byte) int {
	return func(byte) int { return limit }
}

func TestMessagesSurviveTheWay(t *testing.T) {
	for _, m := range samples() {
		b := encode(m)
		typ, p, err := readMessage(bufio.NewReader(bytes.NewReader(b)), anyType(maxSmall), nil)
		if err != nil || cap(p)-len(p) < slack {
			t.Fatalf("type %d: %v, %d bytes of slack", m.head[0], err, cap(p)-len(p))
		}
		again, err := parse(typ, p)
		if err != nil || !bytes.Equal(encode(again), b) {
			t.Errorf("type %d: %v\n% x\n% x", typ, err, b, encode(again))
		}
		// Any shorter payload is refused, except where text is what is left.
		if typ == msgReady || typ == msgTrouble {
			continue
		}
		for n := range p {
			if _, err := parse(typ, p[:n:n]); err == nil {
				t.Errorf("type %d: %d of %d bytes were accepted", typ, n, len(p))
			}
		}
		if _, err := parse(typ, append(p[:len(p):len(p)], 0)); err == nil {
			t.Errorf("type %d: a byte too many was accepted", typ)
		}
	}
}

func TestImplausiblePictures(t *testing.T) {
	good := picture{Output: 1, Kind: OutputJPEG, Width: 4, Height: 4, Units: [][]byte{{0xff, 0xd8, 0xff, 0xd9}}}
	for name, change := range map[string]func(*picture){
		"kind":       func(p *picture) { p.Kind = 77 },
		"not a JPEG": func(p *picture) { p.Units = [][]byte{{1, 2, 3, 4}} },
		"gray size":  func(p *picture) { p.Kind = OutputGray },
		"no NAL":     func(p *picture) { p.Kind = OutputH264 },
		"no unit":    func(p *picture) { p.Units = nil },
		"empty unit": func(p *picture) { p.Units = [][]byte{{}} },
		"two JPEGs":  func(p *picture) { p.Units = append(p.Units, p.Units[0]) },
		"no width":   func(p *picture) { p.Width = 0 },
		"height":     func(p *picture) { p.Height = MaxSide + 1 },
	} {
		p := good
		change(&p)
		if _, err := parsePicture(encode(p.message())[headerSize:]); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if m, err := parsePicture(encode(good.message())[headerSize:]); err != nil || !reflect.DeepEqual(m, good) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestReadMessageBelievesNoLength(t *testing.T) {
	// 16 MiB are promised, 3 bytes come: memory is taken for what comes.
	b := append([]byte{msgPicture, 0, 0, 0, 1}, 1, 2, 3)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, _, err := readMessage(bufio.NewReader(bytes.NewReader(b)), anyType(1<<30), nil); err == nil {
		t.Error("short message was accepted")
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated for a promise", n)
	}
	if _, _, err := readMessage(bufio.NewReader(bytes.NewReader(b)), anyType(100), nil); err == nil {
		t.Error("long message was accepted")
	}
	if _, _, err := readMessage(bufio.NewReader(bytes.NewReader(b)), anyType(-1), nil); err == nil {
		t.Error("forbidden type was accepted")
	}
	big := bytes.Repeat([]byte{7}, 3<<20)
	m := seal(newMessage(msgFrame, 0), [][]byte{big})
	_, p, err := readMessage(bufio.NewReader(bytes.NewReader(encode(m))), anyType(4<<20), make([]byte, 10))
	if err != nil || !bytes.Equal(p, big) {
		t.Errorf("long message: %v", err)
	}
}

func FuzzMessages(f *testing.F) {
	for _, m := range samples() {
		f.Add(encode(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bufio.NewReader(bytes.NewReader(b))
		for {
			typ, p, err := readMessage(in, anyType(1<<20), nil)
			if err != nil {
				return
			}
			again, err := parse(typ, p)
			if err != nil {
				continue
			}
			first := encode(again)
			second, err := parse(typ, first[headerSize:])
			if err != nil || !bytes.Equal(encode(second), first) {
				t.Fatalf("type %d does not say the same again: %v", typ, err)
			}
		}
	})
}
