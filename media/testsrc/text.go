package testsrc

import (
	"fmt"
	"image"
	"image/draw"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// typeface renders glyphs of one size once and keeps them as sprites.
type typeface struct {
	face           font.Face
	height, ascent int
	cell           int // width of every digit, so that a running clock stands still
	glyphs         map[rune]*sprite
}

func newTypeface(bold bool, size float64) (*typeface, error) {
	data := gomedium.TTF
	if bold {
		data = gobold.TTF
	}
	f, err := opentype.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("test picture: font: %w", err)
	}
	face, err := opentype.NewFace(f, &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		return nil, fmt.Errorf("test picture: font: %w", err)
	}
	m := face.Metrics()
	t := &typeface{face: face, ascent: m.Ascent.Ceil(), height: m.Ascent.Ceil() + m.Descent.Ceil(), glyphs: map[rune]*sprite{}}
	for r := '0'; r <= '9'; r++ {
		if a, ok := face.GlyphAdvance(r); ok {
			t.cell = max(t.cell, (a.Ceil()+1)&^1)
		}
	}
	return t, nil
}

// advance returns how wide a character is, in even pixels.
func (t *typeface) advance(r rune) int {
	if r >= '0' && r <= '9' {
		return t.cell
	}
	a, _ := t.face.GlyphAdvance(r)
	return (a.Ceil() + 1) &^ 1
}

func (t *typeface) width(s string) int {
	w := 0
	for _, r := range s {
		w += t.advance(r)
	}
	return w
}

// glyph returns the sprite of a character, as wide as its advance and as high
// as a line.
func (t *typeface) glyph(r rune) *sprite {
	if s := t.glyphs[r]; s != nil {
		return s
	}
	w := t.advance(r)
	m := image.NewAlpha(image.Rect(0, 0, w, t.height))
	a, _ := t.face.GlyphAdvance(r)
	d := font.Drawer{
		Dst: m, Src: image.Opaque, Face: t.face,
		Dot: fixed.Point26_6{X: (fixed.I(w) - a) / 2, Y: fixed.I(t.ascent)},
	}
	d.DrawString(string(r))
	s := newSprite(w, t.height, func(x, y int) float64 { return float64(m.AlphaAt(x, y).A) / 255 })
	t.glyphs[r] = s
	return s
}

// line returns a whole string as one sprite, letters set as the font says.
func (t *typeface) line(s string) *sprite {
	w := font.MeasureString(t.face, s).Ceil()
	m := image.NewAlpha(image.Rect(0, 0, w+2, t.height))
	draw.Draw(m, m.Bounds(), image.Transparent, image.Point{}, draw.Src)
	d := font.Drawer{Dst: m, Src: image.Opaque, Face: t.face, Dot: fixed.P(1, t.ascent)}
	d.DrawString(s)
	return newSprite(w+2, t.height, func(x, y int) float64 { return float64(m.AlphaAt(x, y).A) / 255 })
}
