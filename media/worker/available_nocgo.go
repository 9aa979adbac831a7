//go:build !cgo

package worker

import (
	"context"
	"fmt"
	"io"
)

// Available says why no worker can run in this build.
func Available() error {
	return fmt.Errorf("%w: this program was built without them; build it with CGO_ENABLED=1 and the development files "+
		"of libavcodec, libswscale and libturbojpeg", ErrUnavailable)
}

// Main is the child process's main function; this build has none.
func Main(context.Context, io.Reader, io.Writer) error { return Available() }
