// Package libav is a thin binding to libavcodec and libswscale: coded frame
// in, picture out, picture in another size and range; AAC in, samples out. It
// holds C memory and nothing else: no goroutines, no clock, no idea of streams.
//
// It needs cgo; without it the package is empty. It reads bytes from
// strangers with code written in C, so it belongs in a worker process only
// (package worker), never in the server's own.
package libav
