package connect

import (
	"fmt"
	"strings"

	"github.com/skip2/go-qrcode"
)

// quiet is the light margin of a QR code in modules (ISO/IEC 18004 section
// 5.3.8: four).
const quiet = 4

// matrix encodes text; true is dark. The margin is part of it.
func matrix(text string) ([][]bool, error) {
	// Nothing covers a part of it and no paper gets dirty: few large modules
	// are easier to read than much redundancy.
	q, err := qrcode.New(text, qrcode.Low)
	if err != nil {
		return nil, fmt.Errorf("QR code of %d bytes: %w", len(text), err)
	}
	q.DisableBorder = true
	inner := q.Bitmap()
	n := len(inner) + 2*quiet
	out := make([][]bool, n)
	for y := range out {
		out[y] = make([]bool, n)
		if y >= quiet && y < n-quiet {
			copy(out[y][quiet:], inner[y-quiet])
		}
	}
	return out, nil
}

// SVG returns text as a QR code: one <svg> element, a module is one unit wide.
// The error is for texts that do not fit (about 2900 bytes).
func SVG(text string) (string, error) {
	m, err := matrix(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	n := len(m)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges">`, n, n)
	fmt.Fprintf(&b, `<path fill="#fff" d="M0 0h%dv%dH0z"/><path d="`, n, n)
	for y, row := range m {
		for x := 0; x < n; x++ {
			run := 0
			for x+run < n && row[x+run] {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%dz", x, y, run, run)
				x += run
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String(), nil
}

// TerminalQR returns text as a QR code for a terminal with light letters on a
// dark ground: two modules above one another make one character, each line
// ends with a line feed. On a light ground it is inverted, which phones read
// too.
func TerminalQR(text string) (string, error) {
	m, err := matrix(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for y := 0; y < len(m); y += 2 {
		for x := range m[y] {
			upper := !m[y][x]
			lower := y+1 < len(m) && !m[y+1][x]
			switch {
			case upper && lower:
				b.WriteRune('█')
			case upper:
				b.WriteRune('▀')
			case lower:
				b.WriteRune('▄')
			default:
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
