package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// Kind is what an Output makes out of a picture.
type Kind uint8

// Kinds of output.
const (
	// OutputJPEG is a baseline JPEG, 4:2:0, full range.
	OutputJPEG Kind = iota + 1
	// OutputH264 is constrained baseline H.264 without reordering, limited
	// range, one slice per picture, parameter sets before each IDR.
	OutputH264
	// OutputGray is the luma plane, full range, one byte per pixel, rows
	// without padding: for motion detection.
	OutputGray
	// OutputPCM is decoded sound, 16 bits big-endian, one or two channels
	// interleaved (media.L16). It is never asked for: every frame of a sound
	// input that is wanted comes back as this, with 0 for the output.
	OutputPCM
)

// String names the kind for logs.
func (k Kind) String() string {
	switch k {
	case OutputJPEG:
		return "jpeg"
	case OutputH264:
		return "h264"
	case OutputGray:
		return "gray"
	case OutputPCM:
		return "pcm"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Output asks for something to be made out of the pictures of the input.
type Output struct {
	// ID is the caller's name for the output; Result carries it back.
	ID uint32
	// Kind says what is made.
	Kind Kind
	// Width and Height are in pixels. 0 and 0: as the input. One of them 0:
	// computed from the other, keeping the aspect. Neither is ever larger
	// than the input's. OutputH264 rounds down to even numbers.
	Width, Height int
	// Quality of OutputJPEG, 1 to 100; 0 means 75.
	Quality int
	// FPS in pictures per second. For OutputH264 the nominal rate that the
	// rate control reckons with, 0 means 30, at most 60. For the others a cap
	// kept by dropping pictures before they are scaled, 0 means none.
	FPS float64
	// Bitrate of OutputH264 in bit/s; 0 means 0.1 bit per pixel.
	Bitrate int
	// GOP is the time between two key frames of OutputH264; 0 means that
	// they are made on request only, when the input changes, and where the
	// encoder sees a new scene.
	GOP time.Duration
}

func (o Output) check() error {
	switch {
	case o.Kind < OutputJPEG || o.Kind > OutputGray:
		return fmt.Errorf("worker: output %d: unknown %v", o.ID, o.Kind)
	case o.Width < 0 || o.Height < 0 || o.Width > MaxSide || o.Height > MaxSide:
		return fmt.Errorf("worker: output %d: size %dx%d is outside 0 to %d", o.ID, o.Width, o.Height, MaxSide)
	case o.Quality < 0 || o.Quality > 100:
		return fmt.Errorf("worker: output %d: quality %d is outside 1 to 100", o.ID, o.Quality)
	case !(o.FPS >= 0 && o.FPS <= 1000):
		return fmt.Errorf("worker: output %d: %v pictures per second are outside 0 to 1000", o.ID, o.FPS)
	case o.Bitrate < 0 || o.Bitrate > maxBitrate:
		return fmt.Errorf("worker: output %d: bit rate %d is outside 0 to %d", o.ID, o.Bitrate, maxBitrate)
	case o.GOP < 0 || o.GOP > time.Hour:
		return fmt.Errorf("worker: output %d: %v between key frames is outside 0 to 1 h", o.ID, o.GOP)
	}
	return nil
}

// Result is one made picture or block of sound, or one piece of news when Err
// is set.
type Result struct {
	// Output is the ID of the Output that made it; 0 with Err when the
	// input is meant.
	Output uint32
	// Kind of that output.
	Kind Kind

	// PTS, Captured and Arrived are those of the frame the picture came in.
	PTS               time.Duration
	Captured, Arrived time.Time

	// Key marks an H.264 picture that starts a group; JPEG and Gray always.
	Key bool
	// Units are the NAL units without start codes (SPS, PPS and IDR slice for
	// a key frame), the one JPEG, or the one plane. They may go into a
	// media.Frame as they are: nobody else holds them.
	Units [][]byte
	// Width and Height of the picture in pixels.
	Width, Height int
	// Rate in Hz and Channels (1 or 2) of sound. Its PTS is that of the first
	// sample; where a frame gives several blocks, they follow one another.
	Rate, Channels int

	// DecodeTime and EncodeTime are what the picture cost inside the worker;
	// EncodeTime includes scaling.
	DecodeTime, EncodeTime time.Duration

	// Err tells of trouble that the worker survived: a *TroubleError. All
	// other fields but Output are then empty.
	Err error
}

// TroubleError is a Result's Err: input that cannot be decoded or an output
// that cannot be made. The worker reports each kind at most once a second.
type TroubleError struct {
	// Text is one line for people; printable, at most 1 KiB.
	Text string
	// Count is the number of frames it happened to since the last report.
	Count int
	// NeedKey says that the decoder now waits for a key frame: ask the
	// source for one if it can be asked.
	NeedKey bool
}

// Error implements error.
func (e *TroubleError) Error() string { return e.Text }

// Errors of this package that callers tell apart.
var (
	// ErrBusy means that as many frames are in flight as may be.
	ErrBusy = errors.New("worker: busy, skip to the next key frame")
	// ErrHung means that the worker stopped answering and was killed.
	ErrHung = errors.New("worker: process stopped answering and was killed")
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("worker: closed")
	// ErrUnavailable means that this build or machine cannot run a worker.
	ErrUnavailable = errors.New("worker: codecs are not available")
	// ErrProtocol means that the process said something that a sane one
	// never says; it was killed.
	ErrProtocol = errors.New("worker: process broke the protocol and was killed")
	// ErrTooLarge means that a frame is over the limits and was not sent.
	ErrTooLarge = errors.New("worker: frame is too large")
	// ErrNoInput means that a frame came before SetInput.
	ErrNoInput = errors.New("worker: no input set")
)

// Limits that hold whatever the Options say.
const (
	// MaxSide is the largest width or height of any picture in pixels.
	MaxSide = 16384
	// MaxPixels is the largest number of pixels of any picture.
	MaxPixels = 64 << 20
	// MaxOutputs is the largest number of outputs of one worker.
	MaxOutputs = 32
	// MaxUnit is the largest coded frame in bytes.
	MaxUnit = 16 << 20

	maxBitrate = 200_000_000
)

// Options say how a worker is run. The zero value is good.
type Options struct {
	// Executable is the program to start; "" means this one.
	Executable string
	// Args are its arguments without the name; nil means "codec-worker".
	Args []string
	// Env is added to the little environment that a worker gets (the dynamic
	// linker's and Go's own variables; never the server's secrets).
	Env []string
	// Log takes the worker's standard error, at most 40 lines at once and two a second;
	// nil means slog.Default().
	Log *slog.Logger

	// MaxPixels limits width × height of the pictures that are decoded; 0 means
	// 16 Mi (4096 × 4096), at most the constant MaxPixels.
	MaxPixels int
	// MaxMemory limits the process's writable memory in bytes; 0 means 1 GiB.
	MaxMemory int64
	// InFlight is the number of frames that may be unanswered; 0 means 2,
	// at most 16.
	InFlight int
	// HangTimeout is how long the process may stay silent while frames are
	// unanswered; 0 means 2 s.
	HangTimeout time.Duration
	// StartTimeout is how long it may take to start; 0 means 10 s.
	StartTimeout time.Duration
	// Running counts the processes that there are; may be nil.
	Running *atomic.Int64
}

func (o Options) withDefaults() (Options, error) {
	if o.Args == nil {
		o.Args = []string{"codec-worker"}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxPixels == 0 {
		o.MaxPixels = 16 << 20
	}
	if o.MaxMemory == 0 {
		o.MaxMemory = 1 << 30
	}
	if o.InFlight == 0 {
		o.InFlight = 2
	}
	if o.HangTimeout == 0 {
		o.HangTimeout = 2 * time.Second
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 10 * time.Second
	}
	switch {
	case o.MaxPixels < 0 || o.MaxPixels > MaxPixels:
		return o, fmt.Errorf("worker: limit of %d pixels is outside 1 to %d", o.MaxPixels, MaxPixels)
	case o.MaxMemory < 64<<20:
		return o, fmt.Errorf("worker: limit of %d bytes of memory is under 64 MiB", o.MaxMemory)
	case o.InFlight < 0 || o.InFlight > 16:
		return o, fmt.Errorf("worker: %d frames in flight are outside 1 to 16", o.InFlight)
	case o.HangTimeout < 0 || o.StartTimeout < 0:
		return o, fmt.Errorf("worker: negative timeout")
	}
	return o, nil
}
