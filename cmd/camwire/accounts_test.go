package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"camwire/server/auth"
)

// command runs a command line with this standard input and returns its standard
// output.
func command(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	in, out := filepath.Join(t.TempDir(), "in"), filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(in, []byte(stdin), 0o600); err != nil {
		t.Fatal(err)
	}
	wasIn, wasOut, wasErr := os.Stdin, os.Stdout, os.Stderr
	defer func() { os.Stdin, os.Stdout, os.Stderr = wasIn, wasOut, wasErr }()
	var err error
	if os.Stdin, err = os.Open(in); err != nil {
		t.Fatal(err)
	}
	defer os.Stdin.Close()
	if os.Stdout, err = os.Create(out); err != nil {
		t.Fatal(err)
	}
	defer os.Stdout.Close()
	if os.Stderr, err = os.Open(os.DevNull); err != nil {
		t.Fatal(err)
	}
	defer os.Stderr.Close()
	var c cli
	p, err := kong.New(&c, kong.Name("camwire"), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	k, err := p.Parse(args)
	if err == nil {
		err = k.Run()
	}
	b, rerr := os.ReadFile(out)
	if rerr != nil {
		t.Fatal(rerr)
	}
	return string(b), err
}

func TestAccountCommands(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	// The commands refuse a variable that they do not know, and those who run the
	// tests have some of their own.
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "CAMWIRE_") {
			t.Setenv(name, "") // puts it back in the end
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Setenv("CAMWIRE_DATA_DIR", dir)
	run := func(stdin string, args ...string) string {
		t.Helper()
		out, err := command(t, stdin, args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	fails := func(words string, args ...string) {
		t.Helper()
		if _, err := command(t, "short\n", args...); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v: %v, want %q", args, err, words)
		}
	}
	fails("no token yet", "token")
	admin, _, err := auth.LoadToken(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"token"}, {"token", "link"}, {"token", "--http", ":8081"}} {
		if out := run("", args...); !strings.Contains(out, "/?token="+admin) {
			t.Errorf("%v: %s", args, out)
		}
	}
	// The server runs beside the commands and sees what they do.
	gate, err := auth.New(auth.Options{Token: admin, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	may := func(c auth.Credentials, p auth.Permission, camera string) bool {
		_, err := gate.Authorize(c, p, camera)
		return err == nil
	}

	secret := strings.TrimSpace(run("", "token", "create", "--name", "script", "--permission", "view", "--camera", "door", "--camera", "mobile_*", "--expires", "720h"))
	tok := auth.Credentials{Tokens: []string{secret}}
	if !may(tok, auth.View, "door") || !may(tok, auth.View, "mobile_1") || may(tok, auth.View, "hall") || may(tok, auth.Publish, "door") {
		t.Errorf("token %q may the wrong things", secret)
	}
	list := run("", "token", "list")
	if !strings.Contains(list, "script") || !strings.Contains(list, "view on door,mobile_*") || strings.Contains(list, secret) {
		t.Errorf("list: %s", list)
	}
	run("", "token", "revoke", gate.Book().Tokens()[0].ID)
	if may(tok, auth.View, "door") {
		t.Error("revoked, and still taken")
	}
	fails("no token", "token", "revoke", "x")
	fails("--expires", "token", "create", "--name", "x", "--permission", "view", "--expires", "tomorrow")
	fails("is over", "token", "create", "--name", "x", "--permission", "view", "--expires", "2001-01-01T00:00:00Z")
	fails("permission", "token", "create", "--name", "x")
	fails("permission", "token", "create", "--name", "x", "--permission", "fly")

	login := func(password string) auth.Credentials {
		return auth.Credentials{Logins: []auth.Login{{User: "bob", Password: password}}}
	}
	run("correct horse\r\n", "user", "add", "Bob", "--permission", "view,publish", "--password-stdin")
	if !may(login("correct horse"), auth.Publish, "door") || may(login("correct horse\r"), auth.View, "door") {
		t.Error("the new user may the wrong things")
	}
	if list := run("", "user", "list"); !strings.Contains(list, "Bob") || !strings.Contains(list, "publish,view") || strings.Contains(list, "argon") {
		t.Errorf("list: %s", list)
	}
	fails("fewer than 8", "user", "passwd", "bob", "--password-stdin")
	fails("no terminal", "user", "passwd", "bob")
	run("battery staple", "user", "passwd", "bob", "--password-stdin")
	if may(login("correct horse"), auth.View, "door") || !may(login("battery staple"), auth.View, "door") {
		t.Error("the password was not changed")
	}
	run("", "user", "remove", "bob")
	if may(login("battery staple"), auth.View, "door") {
		t.Error("removed, and still taken")
	}
	fails("no user", "user", "remove", "bob")

	t.Setenv("CAMWIRE_DATA_DIR", filepath.Join(dir, "nowhere"))
	fails("there is no folder", "token", "list")
	fails("there is no folder", "user", "add", "x", "--permission", "view", "--password-stdin")
}

func TestExpiry(t *testing.T) {
	now := time.Now()
	if at, err := expiry("", now); err != nil || !at.IsZero() {
		t.Errorf("%v, %v", at, err)
	}
	if at, err := expiry("1h", now); err != nil || !at.Equal(now.Add(time.Hour)) {
		t.Errorf("%v, %v", at, err)
	}
	if _, err := expiry("-1h", now); err == nil {
		t.Error("an hour ago is taken")
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	if err := table(&b, "A\tB", func(line func(...any)) { line("x", 1); line("longer", "y") }); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "A       B\nx       1\nlonger  y\n"; got != want {
		t.Errorf("%q", got)
	}
}
