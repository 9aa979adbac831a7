package connect

import (
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

const sample = "https://192.168.1.5:8443/m?token=cw_0123456789abcdefghijklmnopqrstuvwxyz"

// finder are the rows of a finder pattern (ISO/IEC 18004 section 5.3.2).
var finder = []string{"#######", "#.....#", "#.###.#", "#.###.#", "#.###.#", "#.....#", "#######"}

func TestMatrix(t *testing.T) {
	m, err := matrix(sample)
	if err != nil {
		t.Fatal(err)
	}
	n := len(m)
	if inner := n - 2*quiet; inner < 21 || (inner-17)%4 != 0 {
		t.Fatalf("%d modules wide", inner)
	}
	for y, row := range m {
		if len(row) != n {
			t.Fatalf("row %d has %d modules of %d", y, len(row), n)
		}
		for x, dark := range row {
			if margin := min(x, y, n-1-x, n-1-y) < quiet; margin && dark {
				t.Errorf("dark margin at %d,%d", x, y)
			}
		}
	}
	for _, at := range [][2]int{{quiet, quiet}, {n - quiet - 7, quiet}, {quiet, n - quiet - 7}} {
		for y, row := range finder {
			for x, c := range row {
				if m[at[1]+y][at[0]+x] != (c == '#') {
					t.Fatalf("no finder pattern at %v", at)
				}
			}
		}
	}
}

func TestSVG(t *testing.T) {
	s, err := SVG(sample)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		XMLName xml.Name `xml:"http://www.w3.org/2000/svg svg"`
		ViewBox string   `xml:"viewBox,attr"`
		Paths   []struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal([]byte(s), &doc); err != nil {
		t.Fatal(err)
	}
	m, err := matrix(sample)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("0 0 %d %d", len(m), len(m)); doc.ViewBox != want || len(doc.Paths) != 2 {
		t.Fatalf("%q, %d paths", doc.ViewBox, len(doc.Paths))
	}
	// The path paints exactly the dark modules.
	got := map[[2]int]bool{}
	for run := range strings.SplitSeq(strings.TrimSuffix(doc.Paths[1].D, "z"), "z") {
		var x, y, w, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &w, &back); err != nil || w != back {
			t.Fatalf("%q: %v", run, err)
		}
		for i := range w {
			got[[2]int{x + i, y}] = true
		}
	}
	for y, row := range m {
		for x, dark := range row {
			if got[[2]int{x, y}] != dark {
				t.Fatalf("module %d,%d", x, y)
			}
		}
	}
}

func TestTerminalQR(t *testing.T) {
	s, err := TerminalQR(sample)
	if err != nil {
		t.Fatal(err)
	}
	m, err := matrix(sample)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	if len(lines) != (len(m)+1)/2 {
		t.Fatalf("%d lines for %d rows", len(lines), len(m))
	}
	for y, line := range lines {
		for x, c := range []rune(line) {
			upper, lower := c == '█' || c == '▀', c == '█' || c == '▄'
			if upper == m[2*y][x] || 2*y+1 < len(m) && lower == m[2*y+1][x] {
				t.Fatalf("module %d,%d", x, 2*y)
			}
		}
	}
}

func TestQRTooLong(t *testing.T) {
	long := strings.Repeat("x", 4000)
	if _, err := SVG(long); err == nil {
		t.Error("SVG takes everything")
	}
	if _, err := TerminalQR(long); err == nil {
		t.Error("TerminalQR takes everything")
	}
}
