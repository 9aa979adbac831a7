package tlscert

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSubjectOfHost(t *testing.T) {
	t.Parallel()
	for host, want := range map[string][]string{
		"lab":                   {"localhost", "lab", "lab.local"},
		"LAB.local":             {"localhost", "lab.local", "lab"},
		"cam.home.arpa":         {"localhost", "cam.home.arpa", "cam", "cam.local"},
		"my_pi.":                {"localhost", "my_pi", "my_pi.local"},
		"Küche":                 {"localhost", "xn--kche-0ra", "xn--kche-0ra.local"},
		"localhost":             {"localhost", "localhost.local"},
		"":                      {"localhost"},
		"a b":                   {"localhost"},
		"*.x":                   {"localhost"},
		"..":                    {"localhost"},
		strings.Repeat("a", 64): {"localhost"},
	} {
		if got := newSubject(host).names; !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}

func TestPassingAddresses(t *testing.T) {
	t.Parallel()
	const table = `20010db8000000000000000000000001 02 40 00 00     eth0
20010db8000000000000000000000002 02 40 00 01     eth0
20010db8000000000000000000000003 02 40 00 c0     eth0
20010db8000000000000000000000004 02 40 00 80     eth0
00000000000000000000000000000001 01 80 10 80       lo
nonsense
zz 1 2 3 4 5
`
	got := passingAddresses([]byte(table))
	want := map[string]bool{"2001:db8::2": true, "2001:db8::3": true}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	for a := range want {
		if !got[netip.MustParseAddr(a)] {
			t.Errorf("%s is missing", a)
		}
	}
}

func TestInterfaceAddresses(t *testing.T) {
	t.Parallel()
	for _, a := range interfaceAddresses() {
		if !usable(a) || a.IsLoopback() || a.Zone() != "" || a.Is4In6() {
			t.Errorf("%v", a)
		}
	}
}

func FuzzNames(f *testing.F) {
	for _, s := range []string{"lab", "LAB.local.", "*.example.org", "Küche", "10.0.0.1", "[::1]", "fe80::1%eth0", "-a", "a..b", "xn--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		names, addrs, err := splitNames([]string{s})
		if err != nil {
			return
		}
		for _, n := range names {
			again, err := cleanName(n)
			if err != nil || again != n {
				t.Errorf("%q becomes %q (%v)", n, again, err)
			}
		}
		for _, a := range addrs {
			if plain(a) != a || !usable(a) {
				t.Errorf("%v", a)
			}
		}
	})
}

func FuzzPassingAddresses(f *testing.F) {
	f.Add([]byte("20010db8000000000000000000000002 02 40 00 01     eth0\n"))
	f.Add([]byte("0a000001 02 40 00 ffffffff x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for a := range passingAddresses(b) {
			if plain(a) != a {
				t.Errorf("%v", a)
			}
		}
	})
}
