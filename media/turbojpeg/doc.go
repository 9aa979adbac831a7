// Package turbojpeg is a thin binding to libjpeg-turbo: planar YUV to JPEG
// and back. It holds C memory and nothing else: no goroutines, no scaling but
// the one that the inverse DCT gives for nothing.
//
// It needs cgo; without it the package is empty. Decoding belongs in a worker
// process only (package worker), never in the server's own.
package turbojpeg
