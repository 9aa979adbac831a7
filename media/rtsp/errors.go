package rtsp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"camwire/media/pin"
)

// Reasons why a session fails. Every error of Source.Run wraps one of them.
var (
	ErrURL          = errors.New("not a usable RTSP address")
	ErrHostUnknown  = errors.New("host name not found")
	ErrRefused      = errors.New("connection refused")
	ErrUnreachable  = errors.New("host not reachable")
	ErrTimeout      = errors.New("no answer")
	ErrTLS          = errors.New("encryption failed")
	ErrUnauthorized = errors.New("not authorized")
	ErrNotFound     = errors.New("no such path")
	ErrTransport    = errors.New("transport refused")
	ErrNoTrack      = errors.New("no stream that can be used")
	ErrSilent       = errors.New("no picture")
	ErrClosed       = errors.New("connection closed by the far end")
	ErrProtocol     = errors.New("answer not understood")
)

// Error is a failed session: who, why, and what to do about it. It never
// holds user, password or path.
type Error struct {
	Host   string // host:port
	Reason error  // one of the Err values of this package
	Text   string // what happened, and the way out
	Cause  error  // may be nil
}

// Error names the far end, what it did, and the way out.
func (e *Error) Error() string { return "RTSP server " + e.Host + ": " + e.Text }

// Unwrap gives errors.Is both the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// explain makes an *Error of what gortsplib, the network or TLS has to say.
// withUser tells whether the source has a user, overUDP how media were to come.
func explain(host string, withUser, overUDP bool, err error) error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	e := &Error{Host: host, Cause: err}
	var status liberrors.ErrClientBadStatusCode
	switch {
	case errors.As(err, &status):
		e.Text, e.Reason = explainStatus(status, withUser)
	case explainTLS(e, err), explainNet(e, err), explainProtocol(e, err, overUDP):
	default:
		e.Reason, e.Text = ErrProtocol, brief(err)
	}
	return e
}

// brief is what the far end said or did, cut to a length for people. It may
// echo the path, so secrets are masked once more.
func brief(err error) string {
	s := MaskURL(err.Error())
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

func explainStatus(s liberrors.ErrClientBadStatusCode, withUser bool) (text string, reason error) {
	switch s.Code {
	case base.StatusUnauthorized:
		if withUser {
			return "answered 401: check user and password in source", ErrUnauthorized
		}
		return "answered 401: it wants user and password, write source as rtsp://user:password@host/…", ErrUnauthorized
	case base.StatusForbidden:
		return "answered 403: this user may not watch this stream", ErrUnauthorized
	case base.StatusNotFound, base.StatusGone:
		return fmt.Sprintf("answered %d: the camera knows no such path, check what follows the host in source", s.Code), ErrNotFound
	case base.StatusUnsupportedTransport:
		return "answered 461: it does not offer this transport, try another (tcp, udp, multicast)", ErrTransport
	case base.StatusNotEnoughBandwidth, base.StatusServiceUnavailable:
		return fmt.Sprintf("answered %d: too many viewers for it, or it is still starting", s.Code), ErrRefused
	}
	msg := strings.ToValidUTF8(MaskURL(s.Message), "?")
	if len(msg) > 80 {
		msg = msg[:80]
	}
	return fmt.Sprintf("answered %d %q", s.Code, msg), ErrProtocol
}

func explainTLS(e *Error, err error) bool {
	var (
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
		alert  tls.AlertError
		host   x509.HostnameError
	)
	switch {
	case errors.As(err, &record):
		e.Reason, e.Text = ErrTLS, "does not speak TLS on this port: write rtsp:// instead of rtsps://, or check the port"
	case errors.Is(err, pin.ErrMismatch):
		e.Reason, e.Text = ErrTLS, fmt.Sprintf("%v: set fingerprint to that if it is the camera's own", unwrapped(err))
	case errors.As(err, &host), errors.As(err, &cert):
		e.Reason, e.Text = ErrTLS, fmt.Sprintf("certificate not trusted (%v): if that is the camera's own certificate, set fingerprint: %s", unwrapped(err), pin.Of(err))
	case errors.As(err, &alert):
		e.Reason, e.Text = ErrTLS, fmt.Sprintf("TLS refused: %v", alert)
	default:
		return false
	}
	return true
}

func unwrapped(err error) error {
	var cert *tls.CertificateVerificationError
	if errors.As(err, &cert) {
		return cert.Err
	}
	return err
}

func explainNet(e *Error, err error) bool {
	var (
		dns     *net.DNSError
		timeout net.Error
	)
	switch {
	case errors.As(err, &dns):
		e.Reason, e.Text = ErrHostUnknown, "host name not found: check it in source, or use the camera's IP address"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason, e.Text = ErrRefused, "connection refused: is RTSP switched on in the camera, and is that its port?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN):
		e.Reason, e.Text = ErrUnreachable, "not reachable: is the camera switched on and in this network?"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		e.Reason, e.Text = ErrTimeout, "no answer: is the camera switched on, and is that its address?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		e.Reason, e.Text = ErrClosed, "closed the connection"
	default:
		return false
	}
	return true
}

func explainProtocol(e *Error, err error, overUDP bool) bool {
	var (
		requestTimeout liberrors.ErrClientRequestTimedOut
		tcpTimeout     liberrors.ErrClientTCPTimeout
		udpTimeout     liberrors.ErrClientUDPTimeout
		wantsUDP       liberrors.ErrClientServerRequestedUDP
		wantsTCP       liberrors.ErrClientServerRequestedTCP
		sdp            liberrors.ErrClientSDPInvalid
	)
	silent := "the session is open but nothing comes: is the camera hanging?"
	if overUDP {
		silent = "nothing arrives over UDP: a firewall? try transport tcp"
	}
	switch {
	case errors.As(err, &requestTimeout), errors.Is(err, errSetupTimeout):
		e.Reason, e.Text = ErrTimeout, "accepts the connection but does not answer: is that its RTSP port?"
	case errors.As(err, &tcpTimeout), errors.As(err, &udpTimeout), errors.Is(err, ErrSilent):
		e.Reason, e.Text = ErrSilent, fmt.Sprintf("%s (%v)", silent, err)
	case errors.As(err, &wantsUDP):
		e.Reason, e.Text = ErrTransport, "insists on UDP: set transport udp"
	case errors.As(err, &wantsTCP):
		e.Reason, e.Text = ErrTransport, "insists on TCP: set transport tcp"
	case errors.As(err, &sdp):
		e.Reason, e.Text = ErrProtocol, "describes its stream in a way that cannot be read: "+brief(sdp.Err)
	case errors.Is(err, ErrNoTrack):
		e.Reason, e.Text = ErrNoTrack, err.Error()
	case errors.Is(err, ErrProtocol):
		e.Reason, e.Text = ErrProtocol, err.Error()
	default:
		return false
	}
	return true
}
