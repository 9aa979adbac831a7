package config

import (
	"reflect"
	"slices"
)

// Changes is what lies between two configurations.
type Changes struct {
	Added   []Camera // in the new order
	Removed []Camera // in the old order
	Changed []CameraChange
	// Restart names the top-level keys whose change is for a new listener or a
	// new start of the program: http, https, webrtc, rtsp, websocket, data_dir.
	Restart []string
	// Live names the top-level keys whose change can be taken over at once:
	// auth, log.
	Live []string
}

// CameraChange is one camera that is in both configurations and differs.
type CameraChange struct {
	Old, New Camera
	// Keys are those that differ, in the order of the struct.
	Keys []string
	// Restart says that the source must be closed and opened anew (or only
	// closed or opened when enabled differs). Otherwise only the name or the
	// JPEG outputs change and no viewer of the video need notice.
	Restart bool
}

// Empty reports whether nothing changed.
func (c Changes) Empty() bool {
	return len(c.Added)+len(c.Removed)+len(c.Changed)+len(c.Restart)+len(c.Live) == 0
}

// Diff compares two configurations. The order of the cameras is no change.
func Diff(old, new Config) Changes {
	var ch Changes
	before := byID(old.Cameras)
	after := byID(new.Cameras)
	for _, c := range old.Cameras {
		if _, ok := after[c.ID]; !ok {
			ch.Removed = append(ch.Removed, c)
		}
	}
	for _, c := range new.Cameras {
		was, ok := before[c.ID]
		if !ok {
			ch.Added = append(ch.Added, c)
			continue
		}
		if keys, restart := diffCamera(was, c); keys != nil {
			ch.Changed = append(ch.Changed, CameraChange{Old: was, New: c, Keys: keys, Restart: restart})
		}
	}
	a, b := reflect.ValueOf(old), reflect.ValueOf(new)
	for _, f := range root().fields {
		if f.name == "cameras" || same(a.Field(f.index), b.Field(f.index)) {
			continue
		}
		if f.apply == "live" {
			ch.Live = append(ch.Live, f.name)
		} else {
			ch.Restart = append(ch.Restart, f.name)
		}
	}
	return ch
}

func byID(cameras []Camera) map[string]Camera {
	m := make(map[string]Camera, len(cameras))
	for _, c := range cameras {
		m[c.ID] = c
	}
	return m
}

func diffCamera(old, new Camera) (keys []string, restart bool) {
	a, b := reflect.ValueOf(old), reflect.ValueOf(new)
	mode := modeKeys(new.Source)
	for _, f := range describe(a.Type()) {
		if same(a.Field(f.index), b.Field(f.index)) {
			continue
		}
		keys = append(keys, f.name)
		restart = restart || f.apply == "restart" || slices.Contains(mode, f.name)
	}
	return keys, restart
}

// modeKeys names the keys that a kind of source itself takes, beyond the cap of
// the JPEG outputs: the mode of a device, the size of a made picture, the pace
// of polling.
func modeKeys(source string) []string {
	s, err := ParseSource(source)
	if err != nil {
		return nil
	}
	switch s.Kind {
	case KindUSB, KindTest:
		return []string{"fps", "width", "height"}
	case KindHTTP, KindImages:
		return []string{"fps"}
	}
	return nil
}

// same compares deeply and takes an empty list for none.
func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}
