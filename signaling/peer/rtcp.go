package peer

import (
	"time"

	"github.com/pion/rtcp"
)

// link is what the receiver's reports say about its connection.
type link struct {
	lost   uint8 // fraction of 256 in the last report
	jitter time.Duration
	rtt    time.Duration
	plis   uint64
	nacks  uint64
	// By transport-wide feedback: packets that arrived and that did not.
	delivered, dropped uint64
	badAt              time.Time
	lastPLI            time.Time
	pliGap             time.Duration // how long further requests are not heard
	askedAt            time.Time     // when the source was last asked for a key frame
}

// Link is a snapshot of a viewer's connection.
type Link struct {
	// Lost is the fraction of packets lost in the last report, 0 to 1.
	Lost        float64
	Jitter, RTT time.Duration
	PLIs, NACKs uint64
	// Delivered and Dropped count packets by transport-wide feedback.
	Delivered, Dropped uint64
	// Estimate is what the link carries in bit/s as far as it is known, up to
	// what could make a difference. 0 while it is unknown, and where the video
	// could not follow it: then it is not measured.
	Estimate int
	// Queue is how long pictures wait on the way, over the least that was seen.
	Queue time.Duration
	// Rung is what the video is sent from: "main" is the camera's own stream or
	// its rendering in H.264, "low" the smaller one for narrow links. "" without
	// video.
	Rung  string
	Video SenderStats
	Audio SenderStats
}

// Link returns what is known of the connection.
func (v *Viewer) Link() Link {
	v.mu.Lock()
	l := v.link
	v.mu.Unlock()
	estimate, queue := v.estimate()
	return Link{
		Estimate: estimate, Queue: queue, Rung: v.rung(),
		Lost: float64(l.lost) / 256, Jitter: l.jitter, RTT: l.rtt, PLIs: l.plis, NACKs: l.nacks,
		Delivered: l.delivered, Dropped: l.dropped,
		Video: v.video.snapshot(), Audio: v.audio.snapshot(),
	}
}

const (
	// playoutNow asks for pictures to be shown as soon as they are decoded.
	playoutNow = 0
	// playoutSmooth lets the receiver's jitter buffer use up to 400 ms.
	playoutSmooth = 400 / 10

	badLoss    = 13 // of 256: 5 %
	badJitter  = 30 * time.Millisecond
	goodAgain  = 30 * time.Second
	minPLIGap  = 300 * time.Millisecond
	maxPLIGap  = 5 * time.Second
	maxNackRun = 512 // packets sent again for one feedback packet
)

// readRTCP reads what the receiver says about one sender until the connection
// is closed.
func (v *Viewer) readRTCP(s *sender) {
	buf := make([]byte, 1500)
	for {
		n, _, err := s.rtp.Read(buf)
		if err != nil {
			return
		}
		pkts, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue // one bad packet from outside
		}
		now := time.Now()
		for _, p := range pkts {
			v.feedback(s, p, now)
		}
	}
}

// feedback takes one packet. pion hands a compound to the reader of every SSRC
// in it, so what is about another track comes along.
func (v *Viewer) feedback(s *sender, p rtcp.Packet, now time.Time) {
	mine := s.ssrcNow()
	switch p := p.(type) {
	case *rtcp.PictureLossIndication:
		if p.MediaSSRC == mine {
			v.needKey(now)
		}
	case *rtcp.FullIntraRequest:
		for _, e := range p.FIR {
			if e.SSRC == mine {
				v.needKey(now)
			}
		}
	case *rtcp.TransportLayerNack:
		if p.MediaSSRC != mine {
			return
		}
		v.mu.Lock()
		v.link.nacks++
		rtt := v.link.rtt
		v.mu.Unlock()
		v.repair(s, p, now, rtt)
	case *rtcp.TransportLayerCC:
		if p.MediaSSRC != mine {
			return
		}
		got, lost := deliveries(p)
		v.mu.Lock()
		v.link.delivered += got
		v.link.dropped += lost
		v.mu.Unlock()
		if e := v.rate.est.Load(); e != nil {
			e.feedback(p, now)
			v.tell(e, now)
		}
	case *rtcp.ReceiverReport:
		for _, r := range p.Reports {
			if r.SSRC != mine {
				continue
			}
			v.received(r, s, now)
			if e := v.rate.est.Load(); e != nil && s == v.video {
				e.report(float64(r.FractionLost)/256, s.bytes(), now)
				v.tell(e, now)
			}
		}
	}
}

// repair sends again what was asked for, as much as the link has room for.
func (v *Viewer) repair(s *sender, p *rtcp.TransportLayerNack, now time.Time, rtt time.Duration) {
	e := v.rate.est.Load()
	room := maxRepairs
	if e != nil {
		room = e.repairs(now)
	}
	budget, used := maxNackRun, 0
	defer func() {
		if e != nil {
			e.repaired(used)
		}
	}()
	for _, pair := range p.Nacks {
		for _, seq := range pair.PacketList() {
			if budget--; budget < 0 || used > room {
				return
			}
			n, err := s.resend(seq, now, rtt)
			if err != nil {
				return
			}
			used += n
		}
	}
}

// needKey answers a request for a new start of the decoder: the source is
// asked, or, where it cannot be or has not answered the last time, the viewer
// goes back to the cached key frame.
func (v *Viewer) needKey(now time.Time) {
	v.mu.Lock()
	v.link.plis++
	since := now.Sub(v.link.lastPLI)
	if v.link.pliGap == 0 || since > 2*maxPLIGap {
		v.link.pliGap = minPLIGap
	}
	if since < v.link.pliGap {
		v.mu.Unlock()
		return
	}
	// Going back floods a link that is too narrow already: ever less often,
	// until it has been quiet.
	v.link.lastPLI, v.link.pliGap = now, min(2*v.link.pliGap, maxPLIGap)
	src := v.source.Load()
	ask := src != nil && src.CanRequestKey() && now.Sub(v.link.askedAt) > 2*time.Second
	if ask {
		v.link.askedAt = now
	}
	v.mu.Unlock()
	if ask {
		src.RequestKey()
		return
	}
	v.rewind.Store(true)
}

// received takes a report block (RFC 3550 section 6.4.1).
func (v *Viewer) received(r rtcp.ReceptionReport, s *sender, now time.Time) {
	rate := time.Duration(s.rate()) // not under our lock: a write may hold the sender's
	v.mu.Lock()
	defer v.mu.Unlock()
	v.link.lost = r.FractionLost
	v.link.jitter = time.Duration(r.Jitter) * time.Second / rate
	if r.LastSenderReport != 0 {
		d := uint32(ntp(now)>>16) - r.LastSenderReport - r.Delay
		if rtt := time.Duration(d) * time.Second / 65536; rtt < 10*time.Second {
			v.link.rtt = rtt
		}
	}
	if s != v.video {
		return
	}
	// A clean link shows pictures at once; a bad one may smooth for a while.
	if r.FractionLost > badLoss || v.link.jitter > badJitter {
		v.link.badAt = now
	}
	d := uint32(playoutNow)
	if !v.link.badAt.IsZero() && now.Sub(v.link.badAt) < goodAgain {
		d = playoutSmooth
	}
	v.delay.Store(d)
}

// deliveries counts what a transport-wide feedback packet says of its packets.
func deliveries(p *rtcp.TransportLayerCC) (got, lost uint64) {
	left := int(p.PacketStatusCount)
	count := func(symbol uint16, n int) {
		n = min(n, left)
		left -= n
		if symbol == rtcp.TypeTCCPacketNotReceived {
			lost += uint64(n)
		} else {
			got += uint64(n)
		}
	}
	for _, c := range p.PacketChunks {
		switch c := c.(type) {
		case *rtcp.RunLengthChunk:
			count(c.PacketStatusSymbol, int(c.RunLength))
		case *rtcp.StatusVectorChunk:
			for _, sym := range c.SymbolList {
				count(sym, 1)
			}
		}
	}
	return got, lost
}
