package v4l2

import (
	"math"
	"reflect"
	"testing"
)

func TestFourCC(t *testing.T) {
	if s := MJPEG.String(); s != "MJPG" {
		t.Errorf("got %q", s)
	}
	if s := FourCC(0x80000000 | 'Y').String(); s != "Y..." {
		t.Errorf("got %q", s)
	}
}

func TestCaptures(t *testing.T) {
	for caps, want := range map[uint32]bool{
		0x04200001: true,  // UVC capture
		0x04a00000: false, // UVC metadata
		0x00200001: false, // read() only
		0x04208000: false, // memory to memory
		0x04200002: false, // output
	} {
		if (Capability{Caps: caps}).Captures() != want {
			t.Errorf("%#x: want %v", caps, want)
		}
	}
}

func TestSteps(t *testing.T) {
	got := stepwise{2, 1300, 2, 2, 800, 2}.sizes([][2]int{{100, 50}, {101, 50}, {640, 480}})
	want := [][2]int{{1300, 800}, {1280, 720}, {800, 600}, {640, 480}, {640, 360}, {320, 240}, {100, 50}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}
	for _, bad := range []stepwise{{}, {10, 5, 1, 1, 5, 1}, {1, math.MaxUint32, 0, 1, math.MaxUint32, 0}} {
		if got := bad.sizes(nil); got != nil {
			t.Errorf("%v gives %v", bad, got)
		}
	}
	if got := ratesBetween(5, 50, []float64{12, 1000}); !reflect.DeepEqual(got, []float64{50, 30, 25, 20, 15, 12, 10, 5}) {
		t.Errorf("got %v", got)
	}
	if got := ratesBetween(0, 30, nil); got != nil {
		t.Errorf("got %v", got)
	}
}

func TestRatio(t *testing.T) {
	for _, fps := range []float64{1, 5, 7.5, 12.5, 15, 23.976, 24, 25, 29.97, 30000.0 / 1001, 30, 59.94, 60, 120, 0.5} {
		num, den := ratio(fps)
		if got := float64(den) / float64(num); math.Abs(got-fps) > 0.01 {
			t.Errorf("%g becomes %d/%d", fps, den, num)
		}
	}
	if num, den := ratio(29.97); num != 1001 || den != 30000 {
		t.Errorf("29.97 becomes %d/%d", den, num)
	}
}
