package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Bounds of a Grant: what is larger is a mistake, and is looked through with
// every request.
const (
	maxCameras = 64
	maxAlso    = 16
)

// cameraPattern is an id of a camera, or the beginning of one with a "*".
var cameraPattern = regexp.MustCompile(`^([A-Za-z0-9_-]{1,64}|[A-Za-z0-9_-]{0,63}\*)$`)

// Grant is what somebody may do, and with which cameras. The zero value allows
// nothing.
type Grant struct {
	// Permissions hold for all of Cameras; Admin implies the others.
	Permissions []Permission `json:"permissions"`
	// Cameras are ids, or beginnings of ids that end in "*". None means all.
	Cameras []string `json:"cameras"`
	// Also are further permissions with cameras of their own: somebody who
	// sees every camera and publishes only one has view in Permissions and
	// publish in Also.
	Also []Grant `json:"also,omitempty"`
}

// May reports whether the grant has a permission for a camera. An empty camera
// asks about what is not one camera: for Admin, whether it holds for all of
// them, as whoever may add users could else give himself the rest; for the
// others, whether it holds for any.
func (g Grant) May(p Permission, camera string) bool {
	if p == Public {
		return true
	}
	if g.here(p, camera) {
		return true
	}
	return slices.ContainsFunc(g.Also, func(a Grant) bool { return a.here(p, camera) })
}

// here is May without what is in Also.
func (g Grant) here(p Permission, camera string) bool {
	switch admin := slices.Contains(g.Permissions, Admin); {
	case !admin && !slices.Contains(g.Permissions, p):
		return false
	case g.everywhere():
		return true
	case camera == "":
		return p != Admin
	}
	return slices.ContainsFunc(g.Cameras, func(pattern string) bool { return covers(pattern, camera) })
}

func (g Grant) everywhere() bool {
	return len(g.Cameras) == 0 || slices.Contains(g.Cameras, "*")
}

func covers(pattern, camera string) bool {
	if start, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(camera, start)
	}
	return pattern == camera
}

// Check says what is wrong with a grant that somebody wrote; the error wraps
// ErrInvalid.
func (g Grant) Check() error {
	if len(g.Permissions) == 0 {
		return invalid("permissions: name at least one of view, publish, control, playback, admin")
	}
	for _, p := range g.Permissions {
		if !p.Valid() || p == Public {
			return invalid("permissions: %q is none: use view, publish, control, playback or admin", clip(string(p), 40))
		}
	}
	if len(g.Cameras) > maxCameras {
		return invalid("cameras: %d are too many, at most %d are taken: a * at the end of a name covers all that begin alike", len(g.Cameras), maxCameras)
	}
	for _, c := range g.Cameras {
		if !cameraPattern.MatchString(c) {
			return invalid("cameras: %q is no camera's id: 1 to 64 letters, digits, _ or -, with a * at the end for all that begin so", clip(c, 80))
		}
	}
	if len(g.Also) > maxAlso {
		return invalid("also: %d entries are too many, at most %d are taken", len(g.Also), maxAlso)
	}
	for _, a := range g.Also {
		if len(a.Also) > 0 {
			return invalid("also: an entry has none of its own")
		}
		if err := a.Check(); err != nil {
			return fmt.Errorf("also: %w", err)
		}
	}
	return nil
}

// normal returns a copy in one form: sorted, nothing twice, no null.
func (g Grant) normal() Grant {
	n := Grant{Permissions: slices.Clone(g.Permissions), Cameras: slices.Clone(g.Cameras)}
	slices.Sort(n.Permissions)
	slices.Sort(n.Cameras)
	n.Permissions, n.Cameras = slices.Compact(n.Permissions), slices.Compact(n.Cameras)
	if n.Permissions == nil {
		n.Permissions = []Permission{}
	}
	if g.everywhere() {
		n.Cameras = []string{}
	}
	for _, a := range g.Also {
		n.Also = append(n.Also, a.normal())
	}
	return n
}

// ParseGrant reads a grant as JSON, strictly: a misspelt "cameras" would
// otherwise mean all of them. The error wraps ErrInvalid.
func ParseGrant(data []byte) (Grant, error) {
	var g Grant
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(&g); err != nil {
		return Grant{}, invalid("no grant: %v: write {\"permissions\": [\"view\"], \"cameras\": [\"door\"]}", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Grant{}, invalid("no grant: something follows it")
	}
	if err := g.Check(); err != nil {
		return Grant{}, err
	}
	return g.normal(), nil
}

// Summary is the grant in one line, for logs and the terminal.
func (g Grant) Summary() string {
	var b strings.Builder
	for i, p := range g.Permissions {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(p))
	}
	if !g.everywhere() {
		b.WriteString(" on " + strings.Join(g.Cameras, ","))
	}
	for _, a := range g.Also {
		b.WriteString("; " + a.Summary())
	}
	return b.String()
}
