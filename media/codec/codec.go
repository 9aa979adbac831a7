// Package codec knows how the units inside a frame are built: it reads
// parameter sets and frame headers, brings what sources deliver into one form
// (Normalizer), cuts frames into RTP payloads (Packetize), and derives the
// SDP fmtp line and the MIME type from the stream's own parameter sets.
//
// It is pure: no goroutines, no input or output, no clock. It does not decode
// pictures, does not know RTP headers, sequence numbers or sessions, and does
// not decide who gets which frame.
package codec

import "errors"

// MTU is the largest RTP payload in bytes that a caller should ask of
// Packetize. With the RTP header, its extensions, the SRTP tag, UDP and IPv6
// it stays below the 1280 bytes that every IPv6 path carries.
const MTU = 1160

// maxDimension bounds width and height of anything that claims to be a
// picture. The largest level of any codec here (AV1 6.3, H.265 6.2, VP9 6.2)
// stays within it, and products of two such numbers fit an int32.
const maxDimension = 16384

// ErrMalformed is wrapped by every parser error of this package.
var ErrMalformed = errors.New("malformed bitstream")
