package device

import (
	"bytes"
	"errors"
	"image/jpeg"
	"reflect"
	"slices"
	"strings"
	"testing"

	"camwire/media"
	"camwire/media/device/v4l2"
)

func sizes(list ...v4l2.Size) []v4l2.Size { return list }

func size(w, h int, rates ...float64) v4l2.Size { return v4l2.Size{Width: w, Height: h, Rates: rates} }

func TestChoose(t *testing.T) {
	mjpeg := v4l2.Format{FourCC: v4l2.MJPEG, Sizes: sizes(size(1920, 1080, 30), size(1280, 720, 60, 30, 10), size(640, 480, 30), size(320, 240, 30))}
	yuyv := v4l2.Format{FourCC: v4l2.YUYV, Sizes: sizes(size(1920, 1080, 5), size(1280, 720, 10), size(640, 480, 30, 15), size(320, 240, 30))}
	h264 := v4l2.Format{FourCC: v4l2.H264, Sizes: sizes(size(1920, 1080, 30), size(1280, 720, 29.97))}
	odd := v4l2.Format{FourCC: 0x31384142, Sizes: sizes(size(1280, 720, 30))} // Bayer
	all := []v4l2.Format{odd, yuyv, mjpeg, h264}
	for _, c := range []struct {
		name    string
		formats []v4l2.Format
		wish    v4l2.Wish
		want    mode
	}{
		{"default is MJPEG 720p30", all, v4l2.Wish{}, mode{v4l2.MJPEG, 1280, 720, 30}},
		{"default of a raw camera is smooth", []v4l2.Format{yuyv}, v4l2.Wish{}, mode{v4l2.YUYV, 640, 480, 30}},
		{"default of an H.264 camera", []v4l2.Format{yuyv, h264}, v4l2.Wish{}, mode{v4l2.H264, 1280, 720, 29.97}},
		{"only large sizes", []v4l2.Format{{FourCC: v4l2.MJPEG, Sizes: sizes(size(3840, 2160, 30), size(1920, 1080, 30))}}, v4l2.Wish{}, mode{v4l2.MJPEG, 1920, 1080, 30}},
		{"only slow ones", []v4l2.Format{{FourCC: v4l2.YUYV, Sizes: sizes(size(1280, 720, 5), size(640, 480, 10))}}, v4l2.Wish{}, mode{v4l2.YUYV, 640, 480, 10}},
		{"H.264 when its size is asked for", all, v4l2.Wish{Width: 1280, Height: 720, Rate: 30}, mode{v4l2.H264, 1280, 720, 29.97}},
		{"MJPEG where raw is too slow", []v4l2.Format{yuyv, mjpeg}, v4l2.Wish{Width: 1280, Height: 720, Rate: 30}, mode{v4l2.MJPEG, 1280, 720, 30}},
		{"lowest rate that is enough", []v4l2.Format{mjpeg}, v4l2.Wish{Width: 1280, Height: 720, Rate: 10}, mode{v4l2.MJPEG, 1280, 720, 10}},
		{"between two rates", []v4l2.Format{mjpeg}, v4l2.Wish{Width: 1280, Height: 720, Rate: 25}, mode{v4l2.MJPEG, 1280, 720, 30}},
		{"more than there is", []v4l2.Format{mjpeg}, v4l2.Wish{Width: 1280, Height: 720, Rate: 120}, mode{v4l2.MJPEG, 1280, 720, 60}},
		{"next size that covers it", []v4l2.Format{mjpeg}, v4l2.Wish{Width: 800, Height: 600}, mode{v4l2.MJPEG, 1280, 720, 30}},
		{"larger than there is", []v4l2.Format{mjpeg}, v4l2.Wish{Width: 4000, Height: 3000}, mode{v4l2.MJPEG, 1920, 1080, 30}},
		{"width alone", []v4l2.Format{mjpeg}, v4l2.Wish{Width: 640}, mode{v4l2.MJPEG, 640, 480, 30}},
		{"rate alone", []v4l2.Format{yuyv, mjpeg}, v4l2.Wish{Rate: 30}, mode{v4l2.MJPEG, 1280, 720, 30}},
		{"size that only raw has", []v4l2.Format{{FourCC: v4l2.YUYV, Sizes: sizes(size(160, 120, 30))}, mjpeg}, v4l2.Wish{Width: 160, Height: 120}, mode{v4l2.YUYV, 160, 120, 30}},
		{"driver without lists", []v4l2.Format{{FourCC: v4l2.NV12}}, v4l2.Wish{}, mode{v4l2.NV12, 1280, 720, 0}},
		{"driver without lists, asked", []v4l2.Format{{FourCC: v4l2.NV12}}, v4l2.Wish{Width: 640, Height: 480, Rate: 5}, mode{v4l2.NV12, 640, 480, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := choose(c.formats, c.wish)
			if !ok || got != c.want {
				t.Errorf("got %v %dx%d@%g, want %v %dx%d@%g", got.fourCC, got.width, got.height, got.rate,
					c.want.fourCC, c.want.width, c.want.height, c.want.rate)
			}
		})
	}
	if _, ok := choose([]v4l2.Format{odd}, v4l2.Wish{}); ok {
		t.Error("chose a format that nobody can use")
	}
}

func TestModes(t *testing.T) {
	got := modesOf([]v4l2.Format{
		{FourCC: v4l2.YUYV, Sizes: sizes(size(640, 480, 30))}, {FourCC: 1},
		{FourCC: v4l2.I420}, {FourCC: v4l2.YV12},
		{FourCC: v4l2.MJPEG, Sizes: sizes(size(640, 480, 30), size(1280, 720, 30))},
	})
	want := []Mode{
		{"MJPG", media.JPEG, 1280, 720, []float64{30}},
		{"MJPG", media.JPEG, 640, 480, []float64{30}},
		{Format: "YU12", Codec: media.I420},
		{Format: "YV12", Codec: media.I420},
		{"YUYV", media.YUYV, 640, 480, []float64{30}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHuffmanTables(t *testing.T) {
	whole := picture(t, 1)
	bare := withoutTables(t, whole)
	if _, err := jpeg.Decode(bytes.NewReader(bare)); err == nil {
		t.Fatal("a picture without tables should not decode")
	}
	before := bytes.Clone(bare)
	fixed, ok := withHuffmanTables(bare)
	if !ok || !bytes.Equal(bare, before) {
		t.Fatal("not repaired, or the input was changed")
	}
	got, err := jpeg.Decode(bytes.NewReader(fixed))
	if err != nil {
		t.Fatal(err)
	}
	want, err := jpeg.Decode(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("repaired picture shows something else")
	}
	if same, ok := withHuffmanTables(whole); !ok || &same[0] != &whole[0] {
		t.Error("a picture with tables must pass untouched")
	}
	progressive := bytes.Replace(bytes.Clone(bare), []byte{0xff, 0xc0}, []byte{0xff, 0xc2}, 1)
	if same, ok := withHuffmanTables(progressive); !ok || len(same) != len(progressive) {
		t.Error("tables put into a progressive picture")
	}
	for _, bad := range [][]byte{nil, {0xff, 0xd8}, []byte("GIF89a"), {0xff, 0xd8, 0, 0, 0, 0}, {0xff, 0xd8, 0xff, 0xe0, 0, 1, 0, 0}} {
		if _, ok := withHuffmanTables(bad); ok {
			t.Errorf("%x taken for a JPEG", bad)
		}
	}
}

func TestWholeJPEG(t *testing.T) {
	whole := picture(t, 2)
	for _, tail := range [][]byte{nil, make([]byte, 100), {0xff, 0xff}} {
		got, ok := wholeJPEG(slices.Concat(whole, tail))
		if !ok || !bytes.Equal(got, whole) {
			t.Errorf("with %d bytes behind it: not whole", len(tail))
		}
	}
	for _, bad := range [][]byte{nil, whole[:len(whole)/2], whole[:len(whole)-1], whole[2:], {0xff, 0xd9}} {
		if _, ok := wholeJPEG(bad); ok {
			t.Errorf("%d bytes taken for a whole picture", len(bad))
		}
	}
}

func TestAnnexB(t *testing.T) {
	got, key, ok := splitAnnexB([]byte{0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 4, 0, 0, 3, 0, 0})
	want := [][]byte{{0x67, 1, 2}, {0x68, 3}, {0x65, 4, 0, 0, 3}}
	if !ok || !key || !reflect.DeepEqual(got, want) {
		t.Errorf("got %x key %v", got, key)
	}
	if got, key, ok := splitAnnexB([]byte{0, 0, 1, 0x41, 9}); !ok || key || len(got) != 1 {
		t.Errorf("got %x key %v", got, key)
	}
	for _, bad := range [][]byte{nil, {1, 2, 3, 4}, {0, 0, 1}, {0, 0, 1, 0, 0, 1}} {
		if got, _, ok := splitAnnexB(bad); ok {
			t.Errorf("%x gives %x", bad, got)
		}
	}
}

func TestPlanes(t *testing.T) {
	for _, c := range []struct {
		name   string
		layout v4l2.Layout
		data   string
		want   []string
	}{
		{"YUYV", v4l2.Layout{FourCC: v4l2.YUYV, Width: 2, Height: 2, Stride: 4}, "YUyVabcd", []string{"YUyVabcd"}},
		{"YUYV with padding", v4l2.Layout{FourCC: v4l2.YUYV, Width: 2, Height: 2, Stride: 6}, "YUyV..abcd", []string{"YUyVabcd"}},
		{"YUYV of odd width", v4l2.Layout{FourCC: v4l2.YUYV, Width: 1, Height: 2, Stride: 2}, "YUab", []string{"YUYUabab"}},
		{"NV12 without stride", v4l2.Layout{FourCC: v4l2.NV12, Width: 2, Height: 2}, "YyYyUV", []string{"YyYy", "UV"}},
		{"NV12 with padding", v4l2.Layout{FourCC: v4l2.NV12, Width: 2, Height: 2, Stride: 4}, "Yy..Yy..UV..", []string{"YyYy", "UV"}},
		{"I420", v4l2.Layout{FourCC: v4l2.I420, Width: 2, Height: 2, Stride: 4}, "Yy..Yy..U.V.", []string{"YyYy", "U", "V"}},
		{"YV12", v4l2.Layout{FourCC: v4l2.YV12, Width: 2, Height: 2, Stride: 2}, "YyYyVU", []string{"YyYy", "U", "V"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := []byte(c.data)
			got, ok := planes(c.layout, in)
			if !ok || len(got) != len(c.want) {
				t.Fatalf("got %q", got)
			}
			for i := range got {
				if string(got[i]) != c.want[i] {
					t.Errorf("plane %d is %q, want %q", i, got[i], c.want[i])
				}
			}
			if last := got[len(got)-1]; cap(last)-len(last) < spare {
				t.Error("no spare bytes behind the picture")
			}
			if string(in) != c.data {
				t.Error("input changed")
			}
			if _, ok := planes(c.layout, in[:len(in)/2]); ok {
				t.Error("half a picture taken")
			}
		})
	}
}

func TestParseRef(t *testing.T) {
	for in, want := range map[string]ref{
		"0": {index: 0}, "12": {index: 12},
		"/dev/video0":                 {index: -1, path: "/dev/video0"},
		"/dev/v4l/by-id/usb-x-index0": {index: -1, path: "/dev/v4l/by-id/usb-x-index0"},
		"usb:C920":                    {index: -1, key: "C920"},
		"usb:046d:0825":               {index: -1, key: "046d:0825"},
		"usb: HD Pro Webcam C920":     {index: -1, key: "HD Pro Webcam C920"},
		"usb:1-1.4":                   {index: -1, key: "1-1.4"},
		"/dev/v4l/../video3":          {index: -1, path: "/dev/video3"},
		"usb:/weird:name":             {index: -1, key: "/weird:name"},
	} {
		want.text = in
		if got, err := parseRef(in); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", in, got, err)
		}
	}
	for in, word := range map[string]string{"": "usb:", "-1": "0 to 255", "256": "0 to 255", "usb:": "missing", "/etc/passwd": "/dev", "/dev/../etc/x": "/dev", "rtsp://x": "usb:"} {
		if _, err := parseRef(in); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want a word about %q", in, err, word)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Source: "x"}, {Source: "0", Width: -1}, {Source: "0", Height: 1 << 20}, {Source: "0", FPS: -1}, {Source: "0", FPS: 1e9}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v taken", o)
		}
	}
	var e *Error
	if s, err := New(Options{Source: "usb:nothing of that name"}); err != nil {
		t.Error(err)
	} else if err := s.Run(t.Context(), &sink{}); !errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
}

func FuzzJPEG(f *testing.F) {
	whole := picture(f, 3)
	f.Add(whole)
	f.Add(withoutTables(f, whole))
	f.Add([]byte{0xff, 0xd8, 0xff, 0xff, 0xc0, 0, 2, 0xff, 0xda, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.Clone(b)
		cut, _ := wholeJPEG(b)
		out, ok := withHuffmanTables(cut)
		if !bytes.Equal(in, b) {
			t.Fatal("input changed")
		}
		if ok && len(out) != len(cut) && len(out) != len(cut)+420 {
			t.Fatalf("%d bytes became %d", len(cut), len(out))
		}
		if again, ok2 := withHuffmanTables(out); ok && (!ok2 || len(again) != len(out)) {
			t.Fatal("repaired twice")
		}
	})
}

func FuzzAnnexB(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0x67, 1, 2, 0, 0, 1, 0x65})
	f.Add([]byte{0, 0, 1, 0, 0, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _, ok := splitAnnexB(b)
		if ok != (len(list) > 0) {
			t.Fatal("ok without units, or units without ok")
		}
		for _, u := range list {
			if len(u) == 0 || u[len(u)-1] == 0 || bytes.Contains(u, []byte{0, 0, 1}) {
				t.Fatalf("unit %x", u)
			}
		}
	})
}

func FuzzPlanes(f *testing.F) {
	f.Add(uint8(0), uint16(4), uint16(4), uint16(8), make([]byte, 32))
	f.Add(uint8(1), uint16(1), uint16(2), uint16(1), []byte("000"))
	f.Add(uint8(1), uint16(3), uint16(3), uint16(3), make([]byte, 32))
	f.Fuzz(func(t *testing.T, format uint8, w, h, stride uint16, data []byte) {
		fourCC := []v4l2.FourCC{v4l2.YUYV, v4l2.NV12, v4l2.I420, v4l2.YV12}[format%4]
		list, ok := planes(v4l2.Layout{FourCC: fourCC, Width: int(w), Height: int(h), Stride: int(stride)}, data)
		if !ok {
			return
		}
		n := 0
		for _, p := range list {
			n += len(p)
		}
		if cw, ch := (int(w)+1)/2, (int(h)+1)/2; fourCC == v4l2.YUYV && n != 4*cw*int(h) || fourCC != v4l2.YUYV && n != int(w)*int(h)+2*cw*ch {
			t.Fatalf("%v %dx%d gives %d bytes", fourCC, w, h, n)
		}
	})
}

func FuzzAttribute(f *testing.F) {
	f.Add([]byte("HD Pro Webcam\n"))
	f.Add([]byte("\x1b[2J\xff\x00\u0085"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := cleanAttribute(b); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) || s != strings.TrimSpace(s) {
			t.Fatalf("%q", s)
		}
	})
}

func FuzzRef(f *testing.F) {
	for _, s := range []string{"0", "usb:046d:0825:X", "/dev/video0", "usb:é"} {
		f.Add(s, "serial", "1-1", "Name: Name")
	}
	f.Fuzz(func(t *testing.T, s, serial, port, name string) {
		n := node{number: 0, path: "/dev/video0", name: name, vid: "046d", pid: "0825", serial: serial, port: port}
		all := []node{n, {number: 2, path: "/dev/video2", name: name, vid: "046d", pid: "0825", serial: serial, port: port + "x"}}
		if r, err := parseRef(s); err == nil {
			_ = r.match(all)
		}
		// What is offered as a source must be one, and mean that camera.
		r, err := parseRef(n.shortest(all))
		if err != nil {
			t.Fatal(err)
		}
		if found := firstOfDevice(r.match(all)); r.key != "" && (len(found) != 1 || found[0].number != 0) {
			t.Fatalf("%q means %v", r.text, found)
		}
	})
}
