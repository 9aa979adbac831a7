package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Kind is a kind of source.
type Kind string

// The kinds of source; the values are those of source_type in the API where it
// names them.
const (
	KindUSB    Kind = "usb"    // number, /dev/… or usb:…
	KindRTSP   Kind = "rtsp"   // rtsp://, rtsps://
	KindHTTP   Kind = "http"   // http://, https://: MJPEG or stills
	KindImages Kind = "images" // images:/path/*.jpg
	KindWatch  Kind = "watch"  // watch:/path
	KindExec   Kind = "exec"   // exec: with an argv list
	KindTest   Kind = "test"   // test:
	KindWHEP   Kind = "whep"   // whep:https://…
)

// Source is a camera's source taken apart.
type Source struct {
	Kind Kind
	// Target is what follows the kind's prefix: the URL for rtsp, http and
	// whep; the path or pattern for images and watch; for usb the number, the
	// path below /dev, or "usb:" and a name or serial; the options, with "?", for test; empty for exec.
	Target string
	// Argv is the program and its arguments, for exec only.
	Argv []string
}

// maxDevice is the highest number of a V4L2 device: a video4linux major has 256 minors.
const maxDevice = 255

// prefixes are the ways in which a source can start.
func prefixes() []string {
	return []string{"usb:", "rtsp:", "rtsps:", "http:", "https:", "images:", "watch:", "exec:", "test:", "whep:"}
}

// sourceError is a mistake in a source with the way out.
type sourceError struct{ message, hint string }

func (e *sourceError) Error() string {
	if e.hint == "" {
		return e.message
	}
	return e.message + ": " + e.hint
}

// ParseSource takes the source of a camera apart. Its errors never hold any
// part of a URL beyond the scheme, for the rest may be a password.
func ParseSource(s string) (Source, error) {
	if s == "" {
		return Source{}, &sourceError{"is missing", `write for example 0, "rtsp://host/path" or "test:"`}
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) && !strings.HasPrefix(s, "exec:") {
		return Source{}, &sourceError{"holds a control character", "write it on one line"}
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 0 || n > maxDevice {
			return Source{}, &sourceError{"is no number of a video device", fmt.Sprintf("0 to %d are", maxDevice)}
		}
		return Source{Kind: KindUSB, Target: strconv.Itoa(n)}, nil
	}
	if strings.HasPrefix(s, "/dev/") {
		return Source{Kind: KindUSB, Target: s}, nil
	}
	scheme, rest, found := strings.Cut(s, ":")
	if !found {
		return Source{}, unknownSource(s)
	}
	switch scheme {
	case "rtsp", "rtsps":
		return urlSource(KindRTSP, s, "rtsp", "rtsps")
	case "http", "https":
		return urlSource(KindHTTP, s, "http", "https")
	case "whep":
		return urlSource(KindWHEP, rest, "http", "https")
	case "usb":
		if rest == "" {
			return Source{}, &sourceError{"usb: lacks the camera's name or serial", `write for example "usb:C920", or the number of the device`}
		}
		return Source{Kind: KindUSB, Target: s}, nil
	case "images", "watch":
		if rest == "" {
			return Source{}, &sourceError{scheme + ": lacks a path", fmt.Sprintf("write for example %q", scheme+":/var/lib/pictures")}
		}
		return Source{Kind: Kind(scheme), Target: rest}, nil
	case "exec":
		argv, err := splitArgv(rest)
		if err != nil {
			return Source{}, err
		}
		return Source{Kind: KindExec, Argv: argv}, nil
	case "test":
		if rest != "" && rest[0] != '?' {
			return Source{}, &sourceError{"test: takes only options after it", `write for example "test:?codec=raw&gop=5"`}
		}
		if _, err := url.ParseQuery(strings.TrimPrefix(rest, "?")); err != nil {
			return Source{}, &sourceError{"test: has unreadable options", `write for example "test:?codec=raw&gop=5"`}
		}
		return Source{Kind: KindTest, Target: rest}, nil
	}
	return Source{}, unknownSource(s)
}

func unknownSource(s string) error {
	if strings.HasPrefix(s, "/") {
		return &sourceError{"is a path outside of /dev", `for pictures write "images:" or "watch:" before it`}
	}
	message := "is of an unknown kind"
	hint := "known are a number, /dev/… and " + strings.Join(prefixes(), " ")
	if scheme, rest, found := strings.Cut(s, ":"); found {
		// Without // the text before the colon may be a user's name.
		if strings.HasPrefix(rest, "//") {
			message = fmt.Sprintf("is of the unknown kind %q", printable(scheme)+":")
		}
		if n := nearest(strings.ToLower(scheme)+":", prefixes()); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
	}
	return &sourceError{message, hint}
}

func urlSource(kind Kind, s string, schemes ...string) (Source, error) {
	example := fmt.Sprintf("write for example %q", schemes[0]+"://user:password@host/path")
	u, err := url.Parse(s)
	if err != nil {
		// The parser's own words quote the password.
		return Source{}, &sourceError{"is no valid URL", "in user and password write @ as %40, / as %2F, # as %23, ? as %3F and % as %25"}
	}
	ok := false
	for _, scheme := range schemes {
		ok = ok || u.Scheme == scheme
	}
	switch {
	case !ok:
		return Source{}, &sourceError{fmt.Sprintf("whep: wants an %s URL after it", strings.Join(schemes, " or ")), `write for example "whep:https://host/whep/door"`}
	case u.Hostname() == "":
		return Source{}, &sourceError{"lacks the host", example}
	case u.Port() != "" && !validPort(u.Port(), 1):
		return Source{}, &sourceError{"has a port outside of 1 to 65535", example}
	}
	return Source{Kind: kind, Target: s}, nil
}

// ExecSource writes an argv list as a source.
func ExecSource(argv []string) string {
	if argv == nil {
		argv = []string{} // [] and not null
	}
	b, err := json.Marshal(argv)
	if err != nil { // cannot happen for strings
		return "exec:"
	}
	return "exec:" + string(b)
}

// splitArgv reads a JSON list, the form in which the file's argv lists are
// kept, or words with quotes as a shell has them. Nothing else of a shell is
// meant to work: no variable, no pattern, no pipe.
func splitArgv(s string) ([]string, error) {
	s = strings.TrimSpace(s)
	var argv []string
	if strings.HasPrefix(s, "[") {
		if err := json.Unmarshal([]byte(s), &argv); err != nil {
			return nil, &sourceError{"exec: has a broken argv list", `write source: { exec: [program, argument] }`}
		}
	} else {
		var err error
		if argv, err = words(s); err != nil {
			return nil, &sourceError{"exec: " + err.Error(), `write source: { exec: [program, argument] }`}
		}
	}
	if len(argv) == 0 || argv[0] == "" {
		return nil, &sourceError{"exec: lacks a program", `write source: { exec: [program, argument] }`}
	}
	for _, a := range argv {
		if strings.ContainsRune(a, 0) {
			return nil, &sourceError{"exec: has an argument with a zero byte", ""}
		}
	}
	return argv, nil
}

func words(s string) ([]string, error) {
	var (
		argv  []string
		word  strings.Builder
		begun bool
		quote rune
		slash bool
	)
	for _, r := range s {
		switch {
		case slash:
			word.WriteRune(r)
			slash = false
		case r == '\\' && quote != '\'':
			slash, begun = true, true
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			if begun {
				argv = append(argv, word.String())
				word.Reset()
				begun = false
			}
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	switch {
	case quote != 0:
		return nil, errors.New("has a quote without an end")
	case slash:
		return nil, errors.New("ends in a backslash")
	case begun:
		argv = append(argv, word.String())
	}
	return argv, nil
}
