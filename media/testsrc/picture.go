package testsrc

import (
	"fmt"
	"math"
	"time"

	"camwire/media/testsrc/clock"
)

// picture draws the test picture. Everything that stands still is drawn once;
// each frame changes only what has moved.
type picture struct {
	now, back *canvas
	moved     []rect // areas of now that differ from back, text aside

	time, date  label
	ball, shine *sprite
	ballArea    rect
	dial        rect
	dateFormat  string
	dot         *sprite
}

// label is a line of text that changes character by character.
type label struct {
	font *typeface
	x, y int
	text []rune
	col  colour
}

var (
	white  = rgb(1, 1, 1)
	soft   = rgb(0.82, 0.88, 0.93)
	dark   = rgb(0.03, 0.06, 0.10)
	orange = rgb(1, 0.62, 0.16)
	cream  = rgb(1, 0.93, 0.72)
)

// newPicture draws the background. The size is even.
func newPicture(o Options, caption string) (*picture, error) {
	w, h := o.Width, o.Height
	p := &picture{now: newCanvas(w, h), back: newCanvas(w, h)}
	scale := min(float64(w)/1280, float64(h)/720)
	px := func(v float64) int { return int(math.Round(v*scale)) &^ 1 }
	b := p.back
	top := 0
	if w >= clock.MinWidth && h >= 2*clock.Height(w) {
		top = clock.Height(w)
	}
	background(b, o.Pattern)
	b.fill(rect{0, 0, w, top}, colour{128, 128, 128})

	small, err := newTypeface(false, max(25*scale, 9))
	if err != nil {
		return nil, err
	}
	medium, err := newTypeface(true, max(38*scale, 12))
	if err != nil {
		return nil, err
	}
	large, err := newTypeface(true, max(124*scale, 18))
	if err != nil {
		return nil, err
	}

	margin := px(36)
	if o.Pattern == "bars" {
		b.draw(panel(w, px(82), 0, 0.55), 0, top, dark)
	}
	b.draw(medium.line(o.Name), margin, top+px(22), white)
	c := small.line(caption)
	b.draw(c, (w-margin-c.w)&^1, top+px(32), soft)

	sample := large.width("00:00:00.000")
	boxW, boxH := sample+px(90), large.height+small.height+px(44)
	boxX, boxY := (w-boxW)/2&^1, (top+px(98))&^1
	b.draw(panel(boxW, boxH, 22*scale, 0.55), boxX, boxY, dark)
	p.time = label{font: large, x: (w - sample) / 2 &^ 1, y: (boxY + px(14)) &^ 1, col: white}
	p.date = label{font: small, x: 0, y: (boxY + px(20) + large.height) &^ 1, col: soft}
	p.dateFormat = "Monday, 2 January 2006   UTC-07:00"
	if small.width("Wednesday, 22 September 2026   UTC-00:00") > boxW {
		p.dateFormat = "2 Jan 2006   UTC-07:00"
	}

	bars(b, rect{0, (h - px(44)) &^ 1, w, px(44)})

	floor := h - px(44)
	area := rect{margin, boxY + boxH + px(24), w - 2*margin - px(230), 0}
	area.h = max(floor-px(14)-area.y, 0)
	p.ballArea = area
	r := max(min(46*scale, float64(area.h)/5), 5)
	p.ball, p.shine = disc(r, 1.2), disc(r*0.42, r*0.5)

	dr := max(min(78*scale, float64(area.h)/2-8*scale), 8)
	d := ring(dr, max(5*scale, 2))
	p.dial = rect{(w - margin - d.w) &^ 1, (area.y + (area.h-d.h)/2) &^ 1, d.w, d.h}
	b.draw(d, p.dial.x, p.dial.y, soft)
	for i := range 12 {
		a := float64(i) * math.Pi / 6
		tick := disc(max(2.6*scale, 1), 1)
		x := float64(p.dial.x+d.w/2) + 0.8*dr*math.Sin(a)
		y := float64(p.dial.y+d.h/2) - 0.8*dr*math.Cos(a)
		b.draw(tick, int(x)-tick.w/2, int(y)-tick.h/2, soft)
	}
	p.dot = disc(max(13*scale, 3), 1.2)
	copy(p.now.pix, b.pix)
	return p, nil
}

// background paints what is behind everything else.
func background(c *canvas, pattern string) {
	all := rect{0, 0, c.w, c.h}
	w, h := float64(c.w), float64(c.h)
	switch pattern {
	case "bars":
		bars(c, all)
	case "plain":
		c.fill(all, rgb(0.16, 0.30, 0.38))
	default:
		c.shade(all, func(x, y int) (r, g, b float64) {
			u, v := float64(x)/w, float64(y)/h
			// Two soft lights on a ground that goes from teal to indigo.
			warm := 0.30 * math.Exp(-((u-0.16)*(u-0.16)*3 + (v-0.95)*(v-0.95)*4))
			cold := 0.26 * math.Exp(-((u-0.86)*(u-0.86)*4 + (v-0.2)*(v-0.2)*5))
			return 0.10 + 0.10*v + warm + 0.2*cold,
				0.30 - 0.14*v + 0.45*warm + 0.8*cold,
				0.40 + 0.06*u - 0.02*v + 0.25*warm + cold
		})
	}
}

// bars paints eight vertical colour bars.
func bars(c *canvas, r rect) {
	cols := [8][3]float64{
		{0.88, 0.88, 0.88}, {0.86, 0.80, 0.18}, {0.18, 0.74, 0.80}, {0.20, 0.70, 0.28},
		{0.72, 0.26, 0.66}, {0.78, 0.20, 0.18}, {0.18, 0.28, 0.76}, {0.10, 0.11, 0.13},
	}
	for i, k := range cols {
		x0, x1 := r.x+i*r.w/8, r.x+(i+1)*r.w/8
		c.fill(rect{x0 &^ 1, r.y, x1 - x0 + 2, r.h}, rgb(k[0], k[1], k[2]))
	}
}

// draw makes the picture of the instant t, which is elapsed after the first.
// The result is valid until the next call.
func (p *picture) draw(t time.Time, elapsed time.Duration) *canvas {
	for _, r := range p.moved {
		p.now.copyFrom(p.back, r)
	}
	p.moved = p.moved[:0]
	p.write(&p.time, t.Format("15:04:05.000"))
	date := t.Format(p.dateFormat)
	p.date.x = (p.now.w - p.date.font.width(date)) / 2 &^ 1
	p.write(&p.date, date)
	p.moveBall(elapsed.Seconds())
	p.moveDot(t)
	clock.Draw(p.now.y, p.now.w, p.now.w, p.now.h, t)
	return p.now
}

// write draws those characters of the label that differ from what is there.
func (p *picture) write(l *label, s string) {
	text := []rune(s)
	whole := len(text) != len(l.text)
	if whole {
		p.now.copyFrom(p.back, rect{0, l.y, p.now.w, l.font.height})
	}
	x := l.x
	for i, r := range text {
		w := l.font.advance(r)
		if whole || l.text[i] != r {
			if !whole {
				p.now.copyFrom(p.back, rect{x, l.y, max(w, l.font.advance(l.text[i])), l.font.height})
			}
			p.now.draw(l.font.glyph(r), x, l.y, l.col)
		}
		x += w
	}
	l.text = text
}

// moveBall lets the ball bounce to and fro.
func (p *picture) moveBall(s float64) {
	a := p.ballArea
	if a.w <= p.ball.w || a.h <= p.ball.h {
		return
	}
	way := (1 - math.Cos(s*2*math.Pi/7)) / 2
	fall := math.Mod(s/1.1, 1)*2 - 1
	x := a.x + int(way*float64(a.w-p.ball.w))
	y := a.y + int(fall*fall*float64(a.h-p.ball.h))
	p.moved = append(p.moved, p.now.draw(p.ball, x, y, orange))
	p.now.draw(p.shine, x+p.ball.w*2/5-p.shine.w/2, y+p.ball.h*2/5-p.shine.h/2, cream)
}

// moveDot runs around the dial once a second.
func (p *picture) moveDot(t time.Time) {
	a := float64(t.Nanosecond()) / 1e9 * 2 * math.Pi
	r := float64(p.dial.w)/2 - float64(p.dot.w)*0.3
	x := float64(p.dial.x) + float64(p.dial.w)/2 + r*math.Sin(a)
	y := float64(p.dial.y) + float64(p.dial.h)/2 - r*math.Cos(a)
	p.moved = append(p.moved, p.now.draw(p.dot, int(x)-p.dot.w/2, int(y)-p.dot.h/2, orange))
}

func caption(o Options) string {
	name := map[string]string{"h264": "H.264", "jpeg": "JPEG", "raw": "raw"}[o.Codec]
	return fmt.Sprintf("%d × %d   %g fps   %s", o.Width, o.Height, o.FPS, name)
}
