package uvcsim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// vhci is the virtual host controller.
const vhci = "/sys/devices/platform/vhci_hcd.0/"

// Payload sizes in bytes, and the length of a payload's header.
const (
	payloadBulk        = 32 * 512
	payloadIsochronous = 3 * 1024
	headerLength       = 2
)

// Camera is a camera that can be plugged in. Its methods may be called from
// any goroutine, but Plug and Unplug by one at a time.
type Camera struct {
	config Config
	port   int
	done   sync.WaitGroup

	// tx is held from taking a request off the queue until it is answered,
	// and around an unlink: an answer behind that of its own unlink makes
	// the host drop the device.
	tx sync.Mutex

	mu        sync.Mutex
	changed   *sync.Cond
	link      *os.File
	queue     []request // of the streaming endpoint
	mic       microphone
	probe     []byte
	commit    []byte
	streaming bool
	epoch     int // counts starts and stops of the stream
	paused    bool
	closed    bool
	sent      int
}

// New returns a camera that is not plugged in.
func New(c Config) *Camera {
	k := &Camera{config: c, port: -1, closed: true}
	k.changed = sync.NewCond(&k.mu)
	return k
}

// Available reports whether cameras can be plugged in here.
func Available() bool {
	_, err := os.Stat(vhci + "attach")
	return err == nil
}

// Port is the port of the host that the camera is plugged into.
func (c *Camera) Port() int { return c.port }

// freePort finds a high-speed port without a device. Its status has lines like
// "hs 0000 004 …": 4 is free.
func freePort() (int, error) {
	b, err := os.ReadFile(vhci + "status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var hub string
		var port, status int
		if n, _ := fmt.Sscanf(line, "%s %d %d", &hub, &port, &status); n == 3 && hub == "hs" && status == 4 {
			return port, nil
		}
	}
	return 0, errors.New("uvcsim: no free port")
}

// Plug attaches the camera to a port of the host, any if it is negative.
func (c *Camera) Plug(port int) error {
	if port < 0 {
		var err error
		if port, err = freePort(); err != nil {
			return err
		}
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("uvcsim: %w", err)
	}
	defer func() { _ = unix.Close(ends[1]) }() // the kernel keeps its own
	link := os.NewFile(uintptr(ends[0]), "vhci")
	c.mu.Lock()
	c.link, c.port, c.closed, c.streaming, c.queue = link, port, false, false, nil
	c.mic.queue = nil
	c.probe = c.agree(nil)
	c.commit = c.agree(nil)
	c.mu.Unlock()
	const highSpeed = 3
	line := fmt.Sprintf("%d %d %d %d", port, ends[1], 0x10000+port+2, highSpeed)
	if err := os.WriteFile(vhci+"attach", []byte(line), 0); err != nil {
		_ = link.Close()
		return fmt.Errorf("uvcsim: %w", err)
	}
	c.done.Go(func() { c.serve(link) })
	c.done.Go(func() { c.transmit(link) })
	if c.config.Microphone != nil {
		c.done.Go(func() { c.speak(link) })
	}
	return nil
}

// Unplug detaches the camera, as pulling the plug does, and waits until it has
// noticed. Without Plug before it does nothing.
func (c *Camera) Unplug() error {
	if c.port < 0 {
		return nil
	}
	err := os.WriteFile(vhci+"detach", fmt.Append(nil, c.port), 0)
	c.done.Wait()
	c.port = -1
	return err
}

// Pause makes the camera hang: it stays on the bus but sends nothing.
func (c *Camera) Pause(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = on
}

// Sent is the number of pictures sent so far.
func (c *Camera) Sent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sent
}

// Streaming reports whether the host wants pictures.
func (c *Camera) Streaming() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streaming && !c.closed
}

func (c *Camera) setStreaming(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream(on)
}

// stream is called with the lock held.
func (c *Camera) stream(on bool) {
	c.streaming = on
	c.epoch++
	c.changed.Broadcast()
}

// live reports whether the stream of that epoch still runs. The caller holds
// the lock.
func (c *Camera) live(epoch int) bool { return c.streaming && !c.closed && c.epoch == epoch }

// request is a USB request that waits for data (Documentation/usb/usbip_protocol.rst).
type request struct {
	sequence uint32
	length   int
	packets  int
	start    uint32
}

// Commands of USB/IP.
const (
	cmdSubmit = 1
	cmdUnlink = 2
	retSubmit = 3
	retUnlink = 4

	headerSize = 48
)

// answer completes a request. The caller holds tx.
func (c *Camera) answer(link io.Writer, r request, status int32, data []byte, actual int, packets []byte) {
	be := binary.BigEndian
	b := make([]byte, headerSize, headerSize+len(data)+len(packets))
	be.PutUint32(b[0:], retSubmit)
	be.PutUint32(b[4:], r.sequence)
	be.PutUint32(b[20:], uint32(status))
	be.PutUint32(b[24:], uint32(actual))
	be.PutUint32(b[28:], r.start)
	be.PutUint32(b[32:], uint32(r.packets))
	b = append(b, data...)
	b = append(b, packets...)
	_, _ = link.Write(b) // unplugged: serve notices
}

// serve takes the host's commands until the camera is unplugged.
func (c *Camera) serve(link *os.File) {
	defer func() {
		c.mu.Lock()
		c.closed = true
		c.changed.Broadcast()
		c.mu.Unlock()
		_ = link.Close()
	}()
	be := binary.BigEndian
	header := make([]byte, headerSize)
	for {
		if _, err := io.ReadFull(link, header); err != nil {
			return
		}
		switch be.Uint32(header) {
		case cmdSubmit:
			if !c.submitted(link, header) {
				return
			}
		case cmdUnlink:
			c.unlink(link, be.Uint32(header[4:]), be.Uint32(header[20:]))
		default:
			return
		}
	}
}

func (c *Camera) submitted(link *os.File, header []byte) bool {
	be := binary.BigEndian
	in, endpoint := be.Uint32(header[12:]) == 1, be.Uint32(header[16:])
	r := request{
		sequence: be.Uint32(header[4:]), length: int(int32(be.Uint32(header[24:]))),
		start: be.Uint32(header[28:]), packets: int(int32(be.Uint32(header[32:]))),
	}
	if r.packets < 0 || r.packets > 1024 { // -1: not isochronous
		r.packets = 0
	}
	var out []byte
	if !in && r.length > 0 {
		out = make([]byte, r.length)
	}
	if _, err := io.ReadFull(link, out); err != nil {
		return false
	}
	if _, err := io.ReadFull(link, make([]byte, 16*r.packets)); err != nil {
		return false
	}
	if endpoint != 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		queue := &c.queue
		if endpoint == microphoneEndpoint {
			queue = &c.mic.queue
		}
		*queue = append(*queue, r)
		c.changed.Broadcast()
		return true
	}
	data, ok := c.control(parseSetup(header[40:48]), out)
	c.tx.Lock()
	defer c.tx.Unlock()
	switch {
	case !ok:
		c.answer(link, r, -int32(unix.EPIPE), nil, 0, nil)
	case in:
		c.answer(link, r, 0, data, len(data), nil)
	default:
		c.answer(link, r, 0, nil, r.length, nil)
	}
	return true
}

func (c *Camera) unlink(link io.Writer, sequence, victim uint32) {
	be := binary.BigEndian
	c.tx.Lock()
	defer c.tx.Unlock()
	status := int32(0) // too late: it has been answered
	c.mu.Lock()
	for _, queue := range []*[]request{&c.queue, &c.mic.queue} {
		for i, r := range *queue {
			if r.sequence == victim {
				*queue = append((*queue)[:i:i], (*queue)[i+1:]...)
				status = -int32(unix.ECONNRESET)
				break
			}
		}
	}
	c.mu.Unlock()
	b := make([]byte, headerSize)
	be.PutUint32(b, retUnlink)
	be.PutUint32(b[4:], sequence)
	be.PutUint32(b[20:], uint32(status))
	_, _ = link.Write(b)
}

// transmit sends pictures while the host wants some.
func (c *Camera) transmit(link *os.File) {
	for {
		c.mu.Lock()
		for !c.streaming && !c.closed {
			c.changed.Wait()
		}
		if c.closed {
			c.mu.Unlock()
			return
		}
		f, s := c.selected(c.commit)
		t := transmission{
			c: c, link: link, epoch: c.epoch, format: f.FourCC, size: s,
			interval: time.Duration(binary.LittleEndian.Uint32(c.commit[4:])) * 100,
		}
		c.mu.Unlock()
		if c.config.Isochronous {
			t.isochronous()
		} else {
			t.bulk()
		}
	}
}
