package testsrc

import "math"

// rect is an area of pixels; x and y are even, so that it starts on a sample
// of the chroma planes.
type rect struct{ x, y, w, h int }

// colour is a limited-range BT.601 colour.
type colour struct{ y, u, v byte }

// rgb converts a full-range colour, each component 0 to 1.
func rgb(r, g, b float64) colour {
	c := func(v float64) byte { return byte(math.Round(min(max(v, 16), 240))) }
	return colour{
		c(16 + 65.481*r + 128.553*g + 24.966*b),
		c(128 - 37.797*r - 74.203*g + 112*b),
		c(128 + 112*r - 93.786*g - 18.214*b),
	}
}

// canvas is an I420 picture of even size; the planes lie behind one another.
type canvas struct {
	w, h    int
	pix     []byte
	y, u, v []byte
}

func newCanvas(w, h int) *canvas {
	c := &canvas{w: w, h: h, pix: make([]byte, w*h*3/2)}
	c.y, c.u, c.v = planes(c.pix, w, h)
	return c
}

// planes cuts an I420 picture into its three planes.
func planes(pix []byte, w, h int) (y, u, v []byte) {
	n := w * h
	return pix[:n:n], pix[n : n+n/4 : n+n/4], pix[n+n/4 : n+n/2 : n+n/2]
}

// clip returns the part of r that lies on the canvas, with even bounds.
func (c *canvas) clip(r rect) rect {
	x0, y0 := max(r.x, 0)&^1, max(r.y, 0)&^1
	x1, y1 := min((r.x+r.w+1)&^1, c.w), min((r.y+r.h+1)&^1, c.h)
	return rect{x0, y0, max(x1-x0, 0), max(y1-y0, 0)}
}

// copyFrom takes the area r over from a canvas of the same size.
func (c *canvas) copyFrom(o *canvas, r rect) {
	r = c.clip(r)
	for y := r.y; y < r.y+r.h; y++ {
		i := y*c.w + r.x
		copy(c.y[i:i+r.w], o.y[i:i+r.w])
	}
	for y := r.y / 2; y < (r.y+r.h)/2; y++ {
		i := y*c.w/2 + r.x/2
		copy(c.u[i:i+r.w/2], o.u[i:i+r.w/2])
		copy(c.v[i:i+r.w/2], o.v[i:i+r.w/2])
	}
}

// fill paints a whole area.
func (c *canvas) fill(r rect, col colour) {
	r = c.clip(r)
	for y := r.y; y < r.y+r.h; y++ {
		set(c.y[y*c.w+r.x:][:r.w], col.y)
	}
	for y := r.y / 2; y < (r.y+r.h)/2; y++ {
		i := y*c.w/2 + r.x/2
		set(c.u[i:i+r.w/2], col.u)
		set(c.v[i:i+r.w/2], col.v)
	}
}

func set(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// shade paints every pixel by a function of its place; for backgrounds.
func (c *canvas) shade(r rect, f func(x, y int) (red, green, blue float64)) {
	r = c.clip(r)
	for y := r.y; y < r.y+r.h; y += 2 {
		for x := r.x; x < r.x+r.w; x += 2 {
			for j := range 2 {
				for i := range 2 {
					col := rgb(f(x+i, y+j))
					// A pattern of half a step hides the bands that eight
					// bits make out of a soft gradient.
					c.y[(y+j)*c.w+x+i] = col.y + byte((i+j)&1)&byte(x>>1^y>>1)&1
					c.u[y/2*c.w/2+x/2], c.v[y/2*c.w/2+x/2] = col.u, col.v
				}
			}
		}
	}
}

// sprite is a shape with soft edges: how much of its colour covers each pixel
// (0 to 255), once for luma and once at half size for chroma.
type sprite struct {
	w, h   int
	alpha  []byte
	chroma []byte // (w+1)/2 x (h+1)/2
}

// newSprite makes a sprite out of a coverage of 0 to 1.
func newSprite(w, h int, coverage func(x, y int) float64) *sprite {
	s := &sprite{w: w, h: h, alpha: make([]byte, w*h), chroma: make([]byte, ((w+1)/2)*((h+1)/2))}
	for y := range h {
		for x := range w {
			s.alpha[y*w+x] = byte(math.Round(255 * min(max(coverage(x, y), 0), 1)))
		}
	}
	for y := range (h + 1) / 2 {
		for x := range (w + 1) / 2 {
			sum := 0
			for j := range 2 {
				for i := range 2 {
					if 2*x+i < w && 2*y+j < h {
						sum += int(s.alpha[(2*y+j)*w+2*x+i])
					}
				}
			}
			s.chroma[y*((w+1)/2)+x] = byte(sum / 4)
		}
	}
	return s
}

// disc returns a filled circle of radius r with an edge soft pixels wide.
func disc(r, soft float64) *sprite {
	n := 2*int(math.Ceil(r+soft)) + 2
	m := float64(n) / 2
	return newSprite(n, n, func(x, y int) float64 {
		d := math.Hypot(float64(x)+0.5-m, float64(y)+0.5-m)
		return (r-d)/soft + 0.5
	})
}

// ring returns a circle line of the given radius and width.
func ring(r, width float64) *sprite {
	n := 2*int(math.Ceil(r+width)) + 2
	m := float64(n) / 2
	return newSprite(n, n, func(x, y int) float64 {
		d := math.Abs(math.Hypot(float64(x)+0.5-m, float64(y)+0.5-m) - r)
		return width/2 - d + 0.5
	})
}

// panel returns a rectangle with round corners, covering at most cover.
func panel(w, h int, radius, cover float64) *sprite {
	return newSprite(w, h, func(x, y int) float64 {
		px, py := float64(x)+0.5, float64(y)+0.5
		dx := max(radius-px, px-(float64(w)-radius), 0)
		dy := max(radius-py, py-(float64(h)-radius), 0)
		return cover * min(max(radius-math.Hypot(dx, dy)+0.5, 0), 1)
	})
}

// draw blends a sprite with its upper left corner at x, y and returns the area
// that it touched. What does not fit on the canvas is left out.
func (c *canvas) draw(s *sprite, x, y int, col colour) rect {
	blend(c.y, c.w, c.h, s.alpha, s.w, s.h, x, y, col.y)
	cw, ch, sw, sh := c.w/2, c.h/2, (s.w+1)/2, (s.h+1)/2
	blend(c.u, cw, ch, s.chroma, sw, sh, x>>1, y>>1, col.u)
	blend(c.v, cw, ch, s.chroma, sw, sh, x>>1, y>>1, col.v)
	return rect{x &^ 1, y &^ 1, s.w + 3, s.h + 3}
}

func blend(dst []byte, dw, dh int, alpha []byte, w, h, x, y int, v byte) {
	x0, x1 := max(-x, 0), min(w, dw-x)
	if x0 >= x1 {
		return
	}
	for j := max(-y, 0); j < min(h, dh-y); j++ {
		a := alpha[j*w+x0 : j*w+x1]
		d := dst[(y+j)*dw+x+x0:][:len(a)]
		for i, k := range a {
			switch k {
			case 0:
			case 255:
				d[i] = v
			default:
				o := int(d[i])
				d[i] = byte(o + ((int(v)-o)*int(k)+127)/255)
			}
		}
	}
}
