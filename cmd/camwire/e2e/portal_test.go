package e2e

import (
	"fmt"
	"testing"
)

// TestPortal joins two places: two servers that know each other by whep:, and a
// page in front of each that shows the other side and sends its own.
func TestPortal(t *testing.T) {
	beside(t)
	needBrowser(t)
	a := start(t, `cameras: [{ id: off, source: "test:", enabled: false }]`)
	needPages(t, a)
	b := start(t, fmt.Sprintf(`cameras: [{ id: there, source: "whep:http://any:%s@127.0.0.1:%d/whep/kiosk_a" }]`, a.token, a.http))
	a.configure(t, fmt.Sprintf(`cameras: [{ id: there, source: "whep:http://any:%s@127.0.0.1:%d/whep/kiosk_b" }]`, b.token, b.http))

	pageA := needBrowser(t).open(t, a.base+"/portal/there?me=kiosk_a&token="+a.token)
	pageB := needBrowser(t).open(t, b.base+"/portal/there?me=kiosk_b&token="+b.token)
	a.state(t, "kiosk_a", "live")
	b.state(t, "kiosk_b", "live")
	a.state(t, "there", "live")
	b.state(t, "there", "live")
	pageA.advancing(t, "video")
	pageB.advancing(t, "video")

	// One place loses its power. The other says so, and shows it again when it
	// is back; nobody touches either page.
	sign := func() (text string) {
		pageA.eval(t, "() => document.querySelector('.sign')?.innerText ?? ''", nil, &text)
		return text
	}
	eventually(t, "no sign while the other side is there", func() (bool, string) { s := sign(); return s == "", s })
	b.kill()
	eventually(t, "a sign that the other side is away", func() (bool, string) { s := sign(); return s != "", s })
	if !b.launch(t) {
		t.Fatal("the other server does not come back")
	}
	b.state(t, "kiosk_b", "live")
	a.state(t, "there", "live")
	b.state(t, "there", "live")
	pageA.advancing(t, "video")
	pageB.advancing(t, "video")
}
