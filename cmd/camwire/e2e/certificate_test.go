package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCertificate: openssl knows nothing of us. It trusts the authority that a
// phone downloads, and nothing else, and checks name and address.
func TestCertificate(t *testing.T) {
	end2end(t)
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		skip(t, "openssl is not installed")
	}
	port := freePort(t)
	s := start(t, fmt.Sprintf(`cameras: [{ id: off, source: "test:", enabled: false }]
https: { address: "127.0.0.1:%d" }
`, port))
	res, body := s.do(t, http.MethodGet, "/api/ca.crt?format=pem", nil)
	if res.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "-----BEGIN CERTIFICATE-----") {
		t.Fatalf("%s %s", res.Status, body)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		args []string
		ok   bool
	}{
		{[]string{"-CAfile", ca, "-verify_ip", "127.0.0.1"}, true},
		{[]string{"-CAfile", ca, "-verify_hostname", "localhost"}, true},
		{[]string{"-CAfile", ca, "-verify_hostname", "other.example"}, false},
		{[]string{"-CAfile", ca, "-verify_ip", "203.0.113.7"}, false},
		{[]string{"-verify_ip", "127.0.0.1"}, false}, // the system does not know us
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		args := append([]string{"s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", port), "-verify_return_error", "-brief"}, x.args...)
		out, err := exec.CommandContext(ctx, openssl, args...).CombinedOutput()
		cancel()
		if (err == nil) != x.ok {
			t.Errorf("%v: %v\n%s", x.args, err, out)
		}
	}
	key := filepath.Join(s.dir, "data", "tls", "ca.key")
	if st, err := os.Stat(key); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the authority's key: %v %v", st, err)
	}
	profile, err := exec.Command(openssl, "x509", "-in", ca, "-noout", "-fingerprint", "-sha256").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, fingerprint, _ := strings.Cut(strings.TrimSpace(string(profile)), "=")
	res, body = s.do(t, http.MethodGet, "/api/connect", nil, "Authorization", "Bearer "+s.token)
	if res.StatusCode != http.StatusOK || !strings.Contains(string(body), fingerprint) {
		t.Errorf("the page shows another fingerprint than openssl: %s %s, %s", res.Status, body, fingerprint)
	}
}
