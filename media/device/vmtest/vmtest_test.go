package vmtest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// TestCPIO reads an archive back, by the lengths in its headers.
func TestCPIO(t *testing.T) {
	var b bytes.Buffer
	c := &cpio{w: bufio.NewWriter(&b)}
	want := map[string]string{"a": "", "dir/bc": "1", "def": "1234567"}
	for _, name := range []string{"a", "dir/bc", "def"} {
		c.entry(name, modeFile|0o644, []byte(want[name]), 0, 0)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	rest := b.Bytes()
	align := func(n int) int { return (n + 3) &^ 3 }
	for len(rest) > 110 {
		field := func(i int) int {
			v, err := strconv.ParseUint(string(rest[6+8*i:14+8*i]), 16, 32)
			if err != nil || string(rest[:6]) != "070701" {
				t.Fatalf("header %q", rest[:110])
			}
			return int(v)
		}
		size, length := field(6), field(11)
		name := string(rest[110 : 110+length-1])
		data := align(110 + length)
		if name == "TRAILER!!!" {
			break
		}
		got[name] = string(rest[data : data+size])
		rest = rest[align(data+size):]
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestSift(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range map[string]string{
		"./boot/vmlinuz-6.1.0": "MZ kernel",
		"./lib/modules/6.1.0/kernel/drivers/usb/usbip/vhci-hcd.ko":             "vhci",
		"./lib/modules/6.1.0/kernel/drivers/media/usb/uvc/uvcvideo.ko":         "uvc",
		"./lib/modules/6.1.0/kernel/drivers/net/wireless/../../evil/x.ko":      "no",
		"./usr/share/doc/linux-image/kernel/drivers/media/common/changelog.gz": "no",
	} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "unpacked")
	if err := sift(t.Context(), tar.NewReader(&b), dir); err != nil {
		t.Fatal(err)
	}
	var names []string
	found, _ := filepath.Glob(dir + "/*/*")
	for _, f := range append(found, filepath.Join(dir, "kernel")) {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, filepath.Base(f)+"="+string(data))
	}
	if got := strings.Join(names, " "); got != "uvcvideo.ko=uvc vhci_hcd.ko=vhci kernel=MZ kernel" {
		t.Errorf("got %s", got)
	}
	if err := sift(t.Context(), tar.NewReader(bytes.NewReader(nil)), dir); err == nil {
		t.Error("a package without kernel taken")
	}
}

func TestModules(t *testing.T) {
	if _, err := dependencies([]byte("not ELF")); err == nil {
		t.Error("taken for a module")
	}
	if _, err := moduleOrder(t.TempDir(), []string{"vhci-hcd"}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "vhci_hcd") {
		t.Errorf("got %v", err)
	}
}

// TestUnavailable: what is missing is said, nothing is fetched.
func TestUnavailable(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv(EnvCache, t.TempDir())
	if _, err := Run(context.Background(), Machine{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := findKernel(t.Context()); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("got %v", err)
	}
}

// TestFiles: further files come with their folders, each once.
func TestFiles(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	if err := os.WriteFile(from, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	c := &cpio{w: bufio.NewWriter(&b)}
	if err := c.files(Machine{Files: map[string]string{"/lib/x/a.so": from, "/lib/b.so": from, "/tmp/c": from}}); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range []string{"lib\x00", "lib/x\x00", "lib/x/a.so\x00", "lib/b.so\x00", "tmp\x00", "tmp/c\x00"} {
		if k := bytes.Count(b.Bytes(), []byte(n)); k > 0 {
			names = append(names, strings.TrimRight(n, "\x00")+"="+strconv.Itoa(k))
		}
	}
	if got := strings.Join(names, " "); got != "lib=1 lib/x=1 lib/x/a.so=1 lib/b.so=1 tmp/c=1" {
		t.Errorf("got %s", got)
	}
	if n := bytes.Count(b.Bytes(), []byte("12345")); n != 3 {
		t.Errorf("content is there %d times", n)
	}
	for _, name := range []string{"relative", "/a/../b"} {
		if err := c.files(Machine{Files: map[string]string{name: from}}); err == nil {
			t.Errorf("%q taken", name)
		}
	}
}

func TestParseLDD(t *testing.T) {
	got, err := parseLDD("\tlinux-vdso.so.1 (0x00007f)\n\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n")
	if err != nil || strings.Join(got, " ") != "/lib/x86_64-linux-gnu/libm.so.6 /lib64/ld-linux-x86-64.so.2" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := parseLDD("\tlibavcodec.so.59 => not found\n"); err == nil || !strings.Contains(err.Error(), "libavcodec.so.59") {
		t.Errorf("got %v", err)
	}
}
