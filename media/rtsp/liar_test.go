package rtsp

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"camwire/media"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
)

// liar is an RTSP server that does as a test tells it. answer gets each
// request and returns the response, or nil to hang up.
type liar struct {
	addr   string
	ln     net.Listener
	wg     sync.WaitGroup
	answer func(req *base.Request, c net.Conn) *base.Response
}

func newLiar(t *testing.T, wrap func(net.Listener) net.Listener, answer func(*base.Request, net.Conn) *base.Response) *liar {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{addr: ln.Addr().String(), ln: ln, answer: answer}
	if wrap != nil {
		l.ln = wrap(ln)
	}
	l.wg.Go(func() {
		for {
			c, err := l.ln.Accept()
			if err != nil {
				return
			}
			l.wg.Go(func() { l.serve(c) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); l.wg.Wait() })
	return l
}

func (l *liar) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		if b, err := r.Peek(1); err == nil && b[0] == '$' {
			var f base.InterleavedFrame
			if f.Unmarshal(r) != nil {
				return
			}
			continue
		}
		var req base.Request
		if err := req.Unmarshal(r); err != nil {
			return
		}
		res := l.answer(&req, c)
		if res == nil {
			return
		}
		if res.Header == nil {
			res.Header = base.Header{}
		}
		res.Header["CSeq"] = req.Header["CSeq"]
		b, err := res.Marshal()
		if err != nil {
			return
		}
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

const goodSDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n"

func ok(h base.Header) *base.Response { return &base.Response{StatusCode: base.StatusOK, Header: h} }

func status(code base.StatusCode) *base.Response { return &base.Response{StatusCode: code} }

func sdp(s string) *base.Response {
	return &base.Response{StatusCode: base.StatusOK, Header: base.Header{"Content-Type": {"application/sdp"}}, Body: []byte(s)}
}

// honest answers as a camera does that sends nothing.
func honest(req *base.Request, _ net.Conn) *base.Response {
	switch req.Method {
	case base.Describe:
		return sdp(goodSDP)
	case base.Setup:
		return ok(base.Header{"Transport": {"RTP/AVP/TCP;unicast;interleaved=0-1"}, "Session": {"1"}})
	}
	return ok(nil)
}

func lie(verb base.Method, res func(*base.Request) *base.Response) func(*base.Request, net.Conn) *base.Response {
	return func(req *base.Request, c net.Conn) *base.Response {
		if req.Method == verb {
			return res(req)
		}
		return honest(req, c)
	}
}

func run(t *testing.T, o Options) error {
	t.Helper()
	// Every liar answers or hangs up: an answer may take its time on a busy machine.
	o.ReadTimeout, o.SilenceTimeout = 30*time.Second, 200*time.Millisecond
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s.Run(t.Context(), &tape{})
}

func TestServersThatLie(t *testing.T) {
	hangUp := func(*base.Request) *base.Response { return nil }
	redirect := func(to string) func(*base.Request) *base.Response {
		return func(req *base.Request) *base.Response {
			u := to
			if u == "" {
				u = req.URL.String()
			}
			return &base.Response{StatusCode: base.StatusFound, Header: base.Header{"Location": {u}}}
		}
	}
	answer := func(r *base.Response) func(*base.Request) *base.Response {
		return func(*base.Request) *base.Response { c := *r; return &c }
	}
	for _, c := range []struct {
		name   string
		answer func(*base.Request, net.Conn) *base.Response
		want   error
		says   string
	}{
		{"sends nothing", honest, ErrSilent, "hanging"},
		{"hangs up at once", lie(base.Options, hangUp), ErrClosed, ""},
		{"hangs up after DESCRIBE", lie(base.Setup, hangUp), ErrClosed, ""},
		{"hangs up at PLAY", lie(base.Play, hangUp), ErrClosed, ""},
		{"answers 401", lie(base.Describe, answer(status(401))), ErrUnauthorized, "user and password"},
		{"answers 404", lie(base.Describe, answer(status(404))), ErrNotFound, "no such path"},
		{"answers 453 to SETUP", lie(base.Setup, answer(status(453))), ErrRefused, "too many"},
		{"answers 500", lie(base.Describe, answer(status(500))), ErrProtocol, "500"},
		{"SDP of garbage", lie(base.Describe, answer(sdp("\x00\x01\x02"))), ErrProtocol, "cannot be read"},
		{"SDP without streams", lie(base.Describe, answer(sdp("v=0\r\no=- 0 0 IN IP4 1.1.1.1\r\ns=x\r\nt=0 0\r\n"))), ErrProtocol, ""},
		{"SDP of 20 streams", lie(base.Describe, answer(sdp(goodSDP+strings.Repeat("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n", 19)))), ErrProtocol, "20 streams"},
		{"a page instead of SDP", lie(base.Describe, answer(&base.Response{StatusCode: 200, Header: base.Header{"Content-Type": {"text/html"}}, Body: []byte("hi")})), ErrProtocol, "text/html"},
		{"wrong clock rate", lie(base.Describe, answer(sdp(strings.Replace(goodSDP, "90000", "8000", 1)))), ErrNoTrack, "H264/8000"},
		{"only what nobody can show", lie(base.Describe, answer(sdp(strings.Replace(goodSDP, "H264", "MP4V-ES", 1)))), ErrNoTrack, "supported are"},
		{"control that makes no URL", lie(base.Describe, answer(sdp(strings.Replace(goodSDP, "trackID=0", "track\x7f", 1)))), ErrProtocol, "control"},
		{"redirects in circles", lie(base.Describe, redirect("")), ErrProtocol, "circles"},
		{"redirects elsewhere", lie(base.Describe, redirect("rtsp://169.254.169.254/latest")), ErrProtocol, "169.254.169.254"},
		{"no transport", lie(base.Setup, answer(ok(nil))), ErrProtocol, ""},
		{"same channel as RTSP", lie(base.Setup, answer(ok(base.Header{"Transport": {"RTP/AVP/TCP;unicast;interleaved=0-9"}}))), ErrProtocol, ""},
		{"answers garbage", func(_ *base.Request, c net.Conn) *base.Response {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			return nil
		}, ErrClosed, ""},
		{"a header without end", func(_ *base.Request, c net.Conn) *base.Response {
			for range 1000 {
				if _, err := c.Write([]byte("RTSP/1.0 200 OK" + strings.Repeat("A", 1000))); err != nil {
					break
				}
			}
			return nil
		}, nil, ""},
		{"a body of 1 GB", func(_ *base.Request, c net.Conn) *base.Response {
			_, _ = c.Write([]byte("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 1000000000\r\n\r\n"))
			return nil
		}, ErrProtocol, "Content-Length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLiar(t, nil, c.answer)
			err := run(t, Options{URL: "rtsp://" + l.addr + "/x?password=s3cret"})
			var e *Error
			if !errors.As(err, &e) || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err != nil && (!strings.Contains(err.Error(), l.addr) || strings.Contains(err.Error(), "s3cret")) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestServerSendsGarbage gets past PLAY, then sends packets of random bytes.
func TestServerSendsGarbage(t *testing.T) {
	for _, codec := range []string{"H264/90000", "H265/90000", "VP8/90000", "VP9/90000", "AV1/90000", "opus/48000/2"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			l := newLiar(t, nil, func(req *base.Request, c net.Conn) *base.Response {
				switch req.Method {
				case base.Describe:
					return sdp(strings.Replace(goodSDP, "H264/90000", codec, 1))
				case base.Play:
					b, err := ok(base.Header{"CSeq": req.Header["CSeq"]}).Marshal()
					if err != nil {
						return nil
					}
					_, _ = c.Write(b)
					for i := range 2000 {
						payload := make([]byte, 4+12+i%200)
						_, _ = rand.Read(payload)
						copy(payload, []byte{'$', byte(i % 2), 0, byte(len(payload) - 4)})
						payload[4] = 0x80 // version 2: let it in
						if i%4 != 0 {
							payload[5] = payload[5]&0x80 | 96
						}
						copy(payload[12:16], "ssrc")
						if _, err := c.Write(payload); err != nil {
							break
						}
					}
					return nil
				}
				return honest(req, c)
			})
			if err := run(t, Options{URL: "rtsp://" + l.addr}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestTransportIsTriedAgain(t *testing.T) {
	var mu sync.Mutex
	var tried []string
	l := newLiar(t, nil, func(req *base.Request, c net.Conn) *base.Response {
		if req.Method == base.Setup {
			mu.Lock()
			defer mu.Unlock()
			tried = append(tried, strings.Split(req.Header["Transport"][0], ";")[0])
			return status(base.StatusUnsupportedTransport)
		}
		return honest(req, c)
	})
	if err := run(t, Options{URL: "rtsp://" + l.addr}); !errors.Is(err, ErrTransport) {
		t.Errorf("%v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(tried) != 2 || tried[0] != "RTP/AVP/TCP" || tried[1] != "RTP/AVP" {
		t.Errorf("tried %q", tried)
	}
}

// TestStopWhileItHangs cancels in each phase of a server that stops answering.
func TestStopWhileItHangs(t *testing.T) {
	for _, verb := range []base.Method{base.Options, base.Describe, base.Setup, base.Play, ""} {
		for _, scheme := range []string{"rtsp", "rtsps"} {
			t.Run(scheme+" "+string(verb), func(t *testing.T) {
				t.Parallel()
				reached := make(chan struct{}, 1)
				stop := make(chan struct{})
				l := newLiar(t, nil, func(req *base.Request, c net.Conn) *base.Response {
					if req.Method == verb || verb == "" && req.Method == base.Play {
						reached <- struct{}{}
						if verb != "" {
							<-stop
							return nil
						}
					}
					return honest(req, c)
				})
				defer close(stop)
				ctx, cancel := context.WithCancel(t.Context())
				s, err := New(Options{URL: scheme + "://" + l.addr})
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- s.Run(ctx, &tape{}) }()
				if scheme == "rtsp" {
					<-reached
				} // the other one hangs in its TLS handshake
				cancel()
				select {
				case err := <-ended:
					if err != nil {
						t.Errorf("%v", err)
					}
				case <-time.After(20 * time.Second):
					t.Fatal("Run does not return")
				}
			})
		}
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	conf := &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	l := newLiar(t, func(ln net.Listener) net.Listener { return tls.NewListener(ln, conf) }, honest)
	err := run(t, Options{URL: "rtsps://" + l.addr})
	sum := sha256.Sum256(conf.Certificates[0].Certificate[0])
	print := hex.EncodeToString(sum[:])
	if !errors.Is(err, ErrTLS) || !strings.Contains(err.Error(), "set fingerprint: "+print) {
		t.Errorf("own certificate: %v", err)
	}
	if err := run(t, Options{URL: "rtsps://" + l.addr, Fingerprint: print}); !errors.Is(err, ErrSilent) {
		t.Errorf("own certificate allowed: %v", err)
	}
}

func TestRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	if err := run(t, Options{URL: "rtsp://u:s3cret@" + addr}); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want error
		says string
	}{
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "cam", IsNotFound: true}}, ErrHostUnknown, "check it in source"},
		{&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, ErrUnreachable, "switched on"},
		{&net.OpError{Op: "dial", Err: context.DeadlineExceeded}, ErrTimeout, "no answer"},
		{io.EOF, ErrClosed, "closed"},
		{tls.RecordHeaderError{Msg: "x"}, ErrTLS, "rtsp:// instead"},
		{liberrors.ErrClientUDPTimeout{}, ErrSilent, "firewall"},
		{liberrors.ErrClientServerRequestedUDP{}, ErrTransport, "udp"},
		{liberrors.ErrClientBadStatusCode{Code: 403}, ErrUnauthorized, "403"},
		{errors.New("rtsp://u:s3cret@h/ " + strings.Repeat("x", 1000)), ErrProtocol, "***"},
	} {
		err := explain("h:554", false, true, c.err)
		if !errors.Is(err, c.want) || !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v", c.err, err)
		}
		if s := err.Error(); strings.Contains(s, "s3cret") || len(s) > 300 || !strings.HasPrefix(s, "RTSP server h:554: ") {
			t.Errorf("%s", s)
		}
		if explain("other", false, false, err).Error() != err.Error() {
			t.Error("explained twice")
		}
	}
}

var _ media.Sink = (*tape)(nil)
