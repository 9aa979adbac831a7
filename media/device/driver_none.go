//go:build !((darwin || windows) && cgo)

package device

// systemDriver returns nothing: cameras are read by V4L2, or not at all.
func systemDriver() func() ([]foreign, error) { return nil }
