package mjpeg

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"

	"camwire/media/mjpeg/jpegstream"
	"camwire/media/pin"
)

// Reasons why a source fails. Every error of Source.Run wraps one of them.
var (
	ErrURL          = errors.New("not a usable HTTP address")
	ErrHostUnknown  = errors.New("host name not found")
	ErrRefused      = errors.New("connection refused")
	ErrUnreachable  = errors.New("host not reachable")
	ErrTimeout      = errors.New("no answer")
	ErrTLS          = errors.New("encryption failed")
	ErrUnauthorized = errors.New("not authorized")
	ErrNotFound     = errors.New("no such path")
	ErrStatus       = errors.New("refused by the camera")
	ErrRedirect     = errors.New("redirected to where nobody may follow")
	ErrNoPictures   = errors.New("no JPEG pictures")
	ErrTooLarge     = errors.New("picture too large")
	ErrSilent       = errors.New("no data")
	ErrClosed       = errors.New("connection closed by the camera")
	ErrProtocol     = errors.New("answer not understood")
)

// Error is a failed source: who, why, and what to do about it. Its text never
// holds user, password, path or query.
type Error struct {
	Host   string // host:port
	Reason error  // one of the Err values of this package
	Text   string // what happened, and the way out
	Cause  error  // may be nil
}

// Error names the far end, what it did, and the way out.
func (e *Error) Error() string { return "HTTP camera " + e.Host + ": " + e.Text }

// Unwrap gives errors.Is both the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// secret finds what must not be shown in words of others: they may echo the URL.
var secret = regexp.MustCompile(`(?i)((?:pass(?:word|wd)?|pwd|token|secret|key|auth)=)[^&/;#\s"]*`)

var userInfo = regexp.MustCompile(`(://)[^/\s"]*@`)

// brief is what somebody else said, masked and cut to a length for people.
func brief(s string) string {
	s = userInfo.ReplaceAllString(s, "$1***@")
	s = secret.ReplaceAllString(s, "$1***")
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// explain makes an *Error of what the network, TLS, HTTP or the pictures have
// to say.
func explain(host string, err error) error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return err
	}
	e := &Error{Host: host, Cause: err}
	switch {
	case explainPictures(e, err), explainTLS(e, err), explainNet(e, err):
	default:
		e.Reason, e.Text = ErrProtocol, "answers in a way that cannot be read: "+brief(err.Error())
	}
	return e
}

func explainPictures(e *Error, err error) bool {
	switch {
	case errors.Is(err, ErrSilent):
		e.Reason, e.Text = ErrSilent, err.Error()+": is the camera hanging?"
	case errors.Is(err, ErrNoPictures):
		e.Reason, e.Text = ErrNoPictures, err.Error()
	case errors.Is(err, jpegstream.ErrNoPicture):
		e.Reason, e.Text = ErrNoPictures, "sends something else than JPEG pictures ("+brief(err.Error())+"): is that the path of its video?"
	case errors.Is(err, ErrTooLarge), errors.Is(err, jpegstream.ErrTooLarge):
		e.Reason, e.Text = ErrTooLarge, brief(err.Error())+": choose a smaller resolution or more compression in the camera"
	default:
		return false
	}
	return true
}

func explainTLS(e *Error, err error) bool {
	var (
		cert   *tls.CertificateVerificationError
		host   x509.HostnameError
		record tls.RecordHeaderError
		alert  tls.AlertError
	)
	switch {
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.Reason, e.Text = ErrTLS, "does not speak TLS on this port: write http:// instead of https://, or check the port"
	case errors.Is(err, pin.ErrMismatch):
		e.Reason, e.Text = ErrTLS, err.Error()+": set fingerprint to that if it is the camera's own"
	case errors.As(err, &cert):
		e.Reason, e.Text = ErrTLS, fmt.Sprintf("certificate not trusted (%v): if that is the camera's own certificate, set fingerprint: %s", cert.Err, pin.Of(err))
	case errors.As(err, &host):
		e.Reason, e.Text = ErrTLS, fmt.Sprintf("certificate not trusted (%v): if that is the camera's own certificate, set fingerprint: %s", host, pin.Of(err))
	case errors.As(err, &alert):
		e.Reason, e.Text = ErrTLS, fmt.Sprintf("TLS refused: %v", alert)
	default:
		return false
	}
	return true
}

func explainNet(e *Error, err error) bool {
	var (
		dns     *net.DNSError
		timeout net.Error
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Reason, e.Text = ErrHostUnknown, "host name not found: check the spelling, or write the address in numbers"
	case errors.As(err, &dns):
		e.Reason, e.Text = ErrHostUnknown, "host name could not be looked up: is the name server reachable? write the address in numbers to do without"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Reason, e.Text = ErrRefused, "connection refused: is HTTP switched on in the camera, and is that its port?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ENETDOWN):
		e.Reason, e.Text = ErrUnreachable, "not reachable: is the camera switched on and in this network?"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		e.Reason, e.Text = ErrTimeout, "no answer: is the camera switched on, and is that its address?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		e.Reason, e.Text = ErrClosed, "closed the connection"
	default:
		return false
	}
	return true
}

// explainStatus makes an *Error of an answer that is no 200.
func explainStatus(host string, code int, withUser bool) error {
	e := &Error{Host: host, Reason: ErrStatus}
	switch {
	case code == http.StatusUnauthorized && withUser:
		e.Reason, e.Text = ErrUnauthorized, "answered 401: check user and password in source"
	case code == http.StatusUnauthorized:
		e.Reason, e.Text = ErrUnauthorized, "answered 401: it wants user and password, write source as http://user:password@host/…"
	case code == http.StatusForbidden:
		e.Reason, e.Text = ErrUnauthorized, "answered 403: this user may not see this camera"
	case code == http.StatusNotFound, code == http.StatusGone:
		e.Reason, e.Text = ErrNotFound, fmt.Sprintf("answered %d: the camera knows no such path, check what follows the host in source", code)
	case code == http.StatusServiceUnavailable, code == http.StatusTooManyRequests:
		e.Text = fmt.Sprintf("answered %d: too many viewers for it, or it is still starting", code)
	default:
		e.Text = fmt.Sprintf("answered %d %s", code, http.StatusText(code))
	}
	return e
}
