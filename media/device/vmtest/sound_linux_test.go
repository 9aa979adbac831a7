package vmtest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"camwire/media"
	"camwire/media/alsa"
	"camwire/media/audio/pcm"
	"camwire/media/device/vmtest"
	"camwire/media/device/vmtest/guest"
	"camwire/media/device/vmtest/uvcsim"
)

// TestSound runs TestSoundGuest in a virtual machine, where cameras have
// microphones.
func TestSound(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine: left out by -short")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	program := filepath.Join(t.TempDir(), "guest.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags=-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // static, whatever the outer test is
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	var out bytes.Buffer
	status, err := vmtest.Run(ctx, vmtest.Machine{
		Program: program, Output: &out, Args: []string{"-test.run=^TestSoundGuest$", "-test.v", "-test.timeout=9m"},
		Modules: []string{"vhci_hcd", "uvcvideo nodrop=1", "snd-usb-audio"},
	})
	if errors.Is(err, vmtest.ErrUnavailable) {
		t.Skipf("NO MICROPHONE HAS BEEN TESTED: %v", err)
	}
	if err != nil || status != 0 {
		t.Errorf("status %d, %v", status, err)
	}
	t.Logf("guest:\n%s", strings.TrimSpace(out.String()))
}

// TestSoundGuest is run by TestSound.
func TestSoundGuest(t *testing.T) {
	if !guest.Inside() {
		t.Skip("runs inside of TestSound's virtual machine")
	}
	t.Run("own", testOwnMicrophone)
	t.Run("busy", testBusyMicrophone)
	t.Run("replug", testReplugMicrophone)
	t.Run("off", testMicrophoneOff)
}

const humming = 440.0

// singer is a webcam with a microphone that hears a tone.
func singer(t *testing.T, serial string) uvcsim.Config {
	c := webcam(serial, newStill(t, 320, 240))
	c.Microphone = func(n int) int16 { return int16(8000 * math.Sin(2*math.Pi*humming*float64(n)/48000)) }
	return c
}

// sounds returns the frames of sound so far, and how many pictures there are.
func (r *running) sounds() (sound []*media.Frame, pictures int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.frames {
		if f.Track == 1 {
			sound = append(sound, f)
		} else {
			pictures++
		}
	}
	return sound, pictures
}

// awaitTone waits until the newest tenth of a second is the tone and nothing
// else: a slow machine loses some of it now and then.
func awaitTone(t *testing.T, r *running) {
	t.Helper()
	why := "nothing"
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		sound, _ := r.sounds()
		if len(sound) < 5 {
			continue
		}
		var x []float32
		for _, f := range sound[len(sound)-5:] {
			x = append(x, pcm.Mono(pcm.FromL16(nil, f.Units[0]), 2)...)
		}
		w := 2 * math.Pi * humming / 48000
		var s, c, sum float64
		for i, v := range x {
			s += float64(v) * math.Sin(w*float64(i)) * 2 / float64(len(x))
			c += float64(v) * math.Cos(w*float64(i)) * 2 / float64(len(x))
		}
		for i, v := range x {
			d := float64(v) - s*math.Sin(w*float64(i)) - c*math.Cos(w*float64(i))
			sum += d * d
		}
		level, rest := math.Hypot(s, c), math.Sqrt(2*sum/float64(len(x)))
		if math.Abs(level-8000.0/32768) < 0.01 && rest < 0.01 {
			return
		}
		why = fmt.Sprintf("level %.4f, beside it %.4f", level, rest)
	}
	t.Fatalf("the tone is not heard: %s", why)
}

// testOwnMicrophone: the camera's own microphone is found and heard, and told
// in the time of the pictures.
func testOwnMicrophone(t *testing.T) {
	plug(t, webcam("MUTE", newStill(t, 320, 240)), singer(t, "SINGER"))
	eventually(t, "microphone appears", func() bool {
		l, err := alsa.List()
		return err == nil && len(l) == 1 && l[0].Name == "Webcam" && l[0].Port != "" && l[0].Channels == 2
	})
	mute := run(t, options("usb:MUTE"))
	r := run(t, options("usb:SINGER"))
	mute.await(t, 3)
	awaitTone(t, r)
	if ts := r.tracks; len(ts) != 2 || ts[0].Codec != media.JPEG || !ts[1].Equal(media.Track{Codec: media.L16, ClockRate: 48000, Channels: 2}) {
		t.Errorf("tracks %+v", ts)
	}
	if len(mute.tracks) != 1 {
		t.Errorf("tracks of the camera without microphone: %+v", mute.tracks)
	}
	sound, pictures := r.sounds()
	if pictures == 0 {
		t.Error("no picture")
	}
	for i, f := range sound {
		if i > 0 && f.PTS <= sound[i-1].PTS {
			t.Errorf("sound %d: %v after %v", i, f.PTS, sound[i-1].PTS)
		}
		if age := f.Arrived.Sub(f.Captured); age < 0 || age > patience {
			t.Errorf("sound %d is %v old", i, age)
		}
	}
	// One clock for both: a time on it is the same moment in both tracks.
	r.mu.Lock()
	origins := map[int]time.Time{}
	for _, f := range r.frames {
		origins[f.Track] = f.Captured.Add(-f.PTS)
	}
	r.mu.Unlock()
	if d := origins[0].Sub(origins[1]).Abs(); d > 10*time.Millisecond {
		t.Errorf("the clocks of sound and picture are %v apart", d)
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
	if err := mute.stop(t); err != nil {
		t.Error(err)
	}
}

// testBusyMicrophone: the picture goes on without, the sound comes when the
// other one has gone.
func testBusyMicrophone(t *testing.T) {
	plug(t, singer(t, "SINGER"))
	var ref alsa.Ref
	eventually(t, "microphone appears", func() bool {
		l, err := alsa.List()
		if err != nil || len(l) != 1 {
			return false
		}
		ref = l[0].Ref
		return true
	})
	other, err := alsa.Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, options("usb:SINGER"))
	eventually(t, "pictures without sound", func() bool {
		_, pictures := r.sounds()
		return pictures > 5
	})
	if sound, _ := r.sounds(); len(sound) > 0 {
		t.Errorf("%d sounds of a microphone in use", len(sound))
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	awaitTone(t, r)
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}

// testReplugMicrophone: with the camera goes its sound, and with it it comes
// back.
func testReplugMicrophone(t *testing.T) {
	k := plug(t, singer(t, "SINGER"))[0]
	r := run(t, options("usb:SINGER"))
	awaitTone(t, r)
	pull(t, k)
	if err := r.end(t); err == nil {
		t.Error("the source did not notice")
	}
	eventually(t, "microphone disappears", func() bool {
		l, err := alsa.List()
		return err == nil && len(l) == 0
	})
	attach(t, k, -1)
	again := run(t, options("usb:SINGER"))
	awaitTone(t, again)
	if err := again.stop(t); err != nil {
		t.Error(err)
	}
}

func testMicrophoneOff(t *testing.T) {
	plug(t, singer(t, "SINGER"))
	o := options("usb:SINGER")
	o.Microphone = "off"
	r := run(t, o)
	r.await(t, 5)
	if sound, _ := r.sounds(); len(r.tracks) != 1 || len(sound) > 0 {
		t.Errorf("tracks %+v, %d sounds", r.tracks, len(sound))
	}
	if err := r.stop(t); err != nil {
		t.Error(err)
	}
}
