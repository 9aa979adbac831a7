package v4l2

import (
	"math"
	"slices"
	"sort"
)

// A driver that scales offers a range of sizes instead of a list. These are
// the sizes and rates out of such a range that are offered to people.
func commonSizes() [][2]int {
	return [][2]int{{1920, 1080}, {1280, 720}, {800, 600}, {640, 480}, {640, 360}, {320, 240}}
}

func commonRates() []float64 { return []float64{60, 50, 30, 25, 20, 15, 10, 5, 1} }

// stepwise is struct v4l2_frmsize_stepwise.
type stepwise struct {
	minW, maxW, stepW uint32
	minH, maxH, stepH uint32
}

// sizes lists what a range is worth, the largest first. Extra are sizes that
// somebody would like to have.
func (s stepwise) sizes(extra [][2]int) [][2]int {
	if s.maxW < s.minW || s.maxH < s.minH || s.maxW > maxSide || s.maxH > maxSide || s.maxW == 0 || s.maxH == 0 {
		return nil
	}
	list := [][2]int{{int(s.maxW), int(s.maxH)}}
	for _, c := range append(commonSizes(), extra...) {
		if onStep(c[0], s.minW, s.maxW, s.stepW) && onStep(c[1], s.minH, s.maxH, s.stepH) && !slices.Contains(list, c) {
			list = append(list, c)
		}
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i][0]*list[i][1] > list[j][0]*list[j][1] })
	return list
}

func onStep(v int, lo, hi, step uint32) bool {
	return v >= int(lo) && v <= int(hi) && (v-int(lo))%max(int(step), 1) == 0
}

// ratesBetween lists what a range of rates is worth, the highest first.
func ratesBetween(lo, hi float64, extra []float64) []float64 {
	if !(lo > 0 && hi >= lo) {
		return nil
	}
	list := []float64{hi}
	for _, r := range append(commonRates(), extra...) {
		if r >= lo && r < hi && !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	if !slices.Contains(list, lo) {
		list = append(list, lo)
	}
	sortRates(list)
	return list
}

// maxSide bounds a size that a driver may claim, in pixels.
const maxSide = 1 << 14

func sortRates(r []float64) { sort.Sort(sort.Reverse(sort.Float64Slice(r))) }

// ratio writes a rate as an interval of num/den seconds. Rates of television
// (29.97) are exact fractions of 1001.
func ratio(fps float64) (num, den uint32) {
	if whole := math.Round(fps); math.Abs(fps-whole) < 1e-6 {
		return 1, uint32(whole)
	}
	if ntsc := math.Round(fps*1.001) * 1000; math.Abs(fps-ntsc/1001) < 1e-2 && ntsc > 0 {
		return 1001, uint32(ntsc)
	}
	return 1000, uint32(math.Round(fps * 1000))
}
