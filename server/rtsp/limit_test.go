package rtsp

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"camwire/media/stream"
)

// A request that comes byte by byte, each well within the time that a quiet
// connection has, is still one request and has one deadline.
func TestSlowRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := net.Pipe()
		defer theirs.Close()
		slow := 0
		c := &conn{Conn: ours, idle: time.Minute, request: 10 * time.Second, slow: func() { slow++ }, release: func() {}}
		defer c.Close()
		written := make(chan struct{})
		go func() {
			defer close(written)
			for range 60 {
				if _, err := theirs.Write([]byte("O")); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		begin := time.Now()
		var err error
		for b := make([]byte, 1); err == nil; {
			_, err = c.Read(b)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || slow != 1 {
			t.Errorf("the request ended with %v, counted %d times", err, slow)
		}
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("it had %v", d)
		}
		_ = c.Close()
		<-written
	})
}

// Whole requests, however many, may come for as long as they like, and between
// two of them the connection may be quiet.
func TestQuietConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs, ours := net.Pipe()
		defer theirs.Close()
		c := &conn{Conn: ours, idle: time.Minute, request: 10 * time.Second, slow: func() { t.Error("counted as slow") }, release: func() {}}
		defer c.Close()
		go func() {
			for range 5 {
				time.Sleep(50 * time.Second)
				_, _ = theirs.Write([]byte("O"))
			}
		}()
		b := make([]byte, 1)
		for range 5 {
			if _, err := c.Read(b); err != nil {
				t.Fatal(err)
			}
			c.whole()
		}
		begin := time.Now()
		if _, err := c.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestRefusalsAreTold(t *testing.T) {
	told := make(chan string, 16)
	b := newBench(t, Options{MaxSessions: 1, MaxPerAddress: 1, Refused: func(l string) { told <- l }}, stream.Config{})
	conns := make([]net.Conn, 3)
	for i := range conns {
		c, err := net.Dial("tcp", b.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns[i] = c
	}
	select {
	case l := <-told:
		if l != "connections" {
			t.Errorf("told of %q", l)
		}
	case <-time.After(patience):
		t.Error("a refused connection is not told of")
	}
}
