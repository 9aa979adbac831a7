//go:build unix

package auth

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// What root writes beside a server of another user stays readable for it.
func TestRootLocksNobodyOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	const uid, gid = 12345, 12346
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openBook(t, dir).IssueToken("x", viewer, time.Time{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{AccountsFile, lockFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != uid || st.Gid != gid || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %+v, %v", name, st, info.Mode())
		}
	}
}

// A lock that another process has is waited for, not ignored.
func TestLockExcludes(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, lockFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if ok, err := tryLock(f); ok || err != nil {
		t.Errorf("locked twice: %v, %v", ok, err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if ok, err := tryLock(f); !ok || err != nil {
		t.Errorf("not given back: %v, %v", ok, err)
	}
}
