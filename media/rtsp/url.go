package rtsp

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// secretParam finds passwords that cameras want in the path or the query:
// "?password=…", "/user=admin_password=…_channel=1".
var secretParam = regexp.MustCompile(`(?i)(pass(?:word|wd)?|pwd|token|secret|key|auth)=[^&/;_?#]*`)

// userInfo finds "user:password@" in anything that looks like a URL, also in
// one that cannot be parsed. It is greedy: a password may hold an @.
var userInfo = regexp.MustCompile(`(://[^/:@]*):.*@`)

// MaskURL returns the URL with everything that looks like a secret replaced,
// fit for logs and pages. It never fails: the URL need not be valid.
func MaskURL(s string) string {
	s = userInfo.ReplaceAllString(s, "$1:***@")
	return secretParam.ReplaceAllString(s, "$1=***")
}

// parseURL checks a source URL. The error never quotes it: it may hold a
// password, and a URL that cannot be parsed cannot be masked with certainty.
func parseURL(s string) (*base.URL, error) {
	scheme, _, ok := strings.Cut(s, "://")
	if !ok || scheme != "rtsp" && scheme != "rtsps" {
		return nil, fmt.Errorf("%w: it must begin with rtsp:// or rtsps://", ErrURL)
	}
	u, err := base.ParseURL(s)
	if err != nil {
		return nil, fmt.Errorf("%w: in user and password write %%40 for @, %%2F for /, %%23 for # and %%25 for %%", ErrURL)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("%w: the host is missing", ErrURL)
	}
	return u, nil
}

// hostPort is how errors and logs name the far end.
func hostPort(u *base.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	port := "554" // RFC 2326 section 3.2
	if u.Scheme == "rtsps" {
		port = "322"
	}
	if strings.Contains(u.Hostname(), ":") {
		return "[" + u.Hostname() + "]:" + port
	}
	return u.Hostname() + ":" + port
}
