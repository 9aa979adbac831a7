package command

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
)

// Bounds of what is kept of a program's standard error.
const (
	tailLines  = 5
	tailLength = 200 // bytes of a line
)

// secret and userInfo find what a program may repeat of the addresses that it
// was given.
var (
	secret   = regexp.MustCompile(`(?i)((?:pass(?:word|wd)?|pwd|token|secret|key|auth)=)[^&/;_?#\s"']*`)
	userInfo = regexp.MustCompile(`(://)[^/\s"']*@`)
)

func mask(s string) string {
	s = userInfo.ReplaceAllString(s, "$1***@")
	return secret.ReplaceAllString(s, "$1***")
}

// tail keeps the last lines of a text. The zero value is empty.
type tail struct {
	mu   sync.Mutex
	last []string
}

// readFrom reads until the end or an error; both mean that nothing more comes.
func (t *tail) readFrom(r io.Reader) {
	br := bufio.NewReaderSize(r, 4<<10)
	for {
		line, err := br.ReadSlice('\n')
		t.add(line)
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = br.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// add takes one line. What a carriage return overwrites on a terminal, such as
// ffmpeg's progress, is gone here, too.
func (t *tail) add(line []byte) {
	line = bytes.TrimRight(line, "\r\n \t")
	if i := bytes.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return
	}
	s := mask(string(line))
	if len(s) > tailLength {
		s = s[:tailLength] + "…"
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, strings.TrimSpace(s))
	if len(t.last) > tailLines {
		t.last = append(t.last[:0], t.last[1:]...)
	}
}

// lines returns the last lines, the newest last.
func (t *tail) lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.last...)
}
