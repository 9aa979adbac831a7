package live

import (
	"encoding/base64"
	"strconv"
	"sync"

	"camwire/media"
	"camwire/media/stream"
)

// The parts of a message around a picture and its time.
const (
	imageHead  = `{"type":"image","data":"`
	imageStamp = `","timestamp":`
	imageTail  = `}`
	// stampLen is room for a time in seconds with six digits behind the point.
	stampLen = 24
)

// encode makes the JSON message of a picture.
func encode(f *media.Frame) []byte {
	data := jpegOf(f)
	b := make([]byte, 0, len(imageHead)+base64.StdEncoding.EncodedLen(len(data))+len(imageStamp)+stampLen+len(imageTail))
	b = append(b, imageHead...)
	b = base64.StdEncoding.AppendEncode(b, data)
	b = append(b, imageStamp...)
	b = strconv.AppendFloat(b, float64(f.Captured.UnixMicro())/1e6, 'f', 6, 64)
	return append(b, imageTail...)
}

// jpegOf returns the picture in one piece. It nearly always is.
func jpegOf(f *media.Frame) []byte {
	if len(f.Units) == 1 {
		return f.Units[0]
	}
	b := make([]byte, 0, f.Size())
	for _, u := range f.Units {
		b = append(b, u...)
	}
	return b
}

// messages makes the message of each picture of a stream once for all its
// viewers, and keeps the newest.
type messages struct {
	mu    sync.Mutex
	frame *media.Frame
	text  []byte
	made  int // for tests

	users int // under shared.mu
}

// of returns the message of a picture; nobody may write to it. Who comes while
// it is being made waits for it.
func (m *messages) of(f *media.Frame) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frame == f {
		return m.text
	}
	text := encode(f)
	m.made++
	// A viewer that is a picture behind the others must not make them encode
	// theirs again.
	if m.frame == nil || m.frame.Epoch != f.Epoch || m.frame.Seq < f.Seq {
		m.frame, m.text = f, text
	}
	return text
}

// shared holds the messages of the streams that have viewers. The zero value
// is ready.
type shared struct {
	mu sync.Mutex
	m  map[*stream.Stream]*messages
}

func (s *shared) take(k *stream.Stream) *messages {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.m[k]
	if m == nil {
		if s.m == nil {
			s.m = map[*stream.Stream]*messages{}
		}
		m = &messages{}
		s.m[k] = m
	}
	m.users++
	return m
}

func (s *shared) give(k *stream.Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.m[k]
	if m.users--; m.users == 0 {
		delete(s.m, k)
	}
}
