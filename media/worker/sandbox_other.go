//go:build cgo && !linux

package worker

import "errors"

func sandbox(int64) error { return errors.New("none on this system") }
