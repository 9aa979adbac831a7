package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// TokenFile is the name of the admin token's file in the data directory.
const TokenFile = "admin-token"

// minToken is the shortest token that is taken: it must be too long to guess,
// because a right one is never rate-limited.
const minToken = 32

// LoadToken returns the admin token kept in dir, and makes one (32 random
// bytes, base64url) at the first start. The file holds the token itself, mode
// 0600, so that the link can be shown again.
func LoadToken(dir string) (token string, created bool, err error) {
	token, err = ReadToken(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, false, err
	}
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", false, fmt.Errorf("admin token: %w", err)
	}
	token = base64.RawURLEncoding.EncodeToString(b[:])
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", false, fmt.Errorf("admin token: %w", err)
	}
	if err := writeToken(dir, token); err != nil {
		return "", false, fmt.Errorf("admin token: %w", err)
	}
	return token, true, nil
}

// ReadToken returns the admin token kept in dir; the error wraps
// fs.ErrNotExist when there is none yet.
func ReadToken(dir string) (string, error) {
	path := filepath.Join(dir, TokenFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("admin token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if err := checkToken(token); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	// A copy or a backup may have made it readable for all.
	if st, err := os.Stat(path); err == nil && st.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o600); err != nil {
			return "", fmt.Errorf("admin token can be read by others: %w", err)
		}
	}
	return token, nil
}

// writeToken lets the file appear whole or not at all.
func writeToken(dir, token string) error {
	f, err := os.CreateTemp(dir, TokenFile+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(token + "\n")
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, TokenFile))
	}
	if err != nil {
		err = errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

func checkToken(token string) error {
	if len(token) < minToken {
		return fmt.Errorf("the admin token has fewer than %d characters: delete the file, the next start makes a new one", minToken)
	}
	return nil
}

// Link returns the address that signs a browser in. Base is scheme, host and
// port.
func Link(base, token string) string {
	return strings.TrimSuffix(base, "/") + "/?token=" + url.QueryEscape(token)
}
