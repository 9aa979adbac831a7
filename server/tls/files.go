package tlscert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long after the first notice files are read: who renews a
	// certificate writes two of them, in several steps.
	settle = 500 * time.Millisecond
	// pairWarning is how long before its end the operator's certificate is
	// complained of. Common renewers act 30 days before.
	pairWarning = 14 * 24 * time.Hour
)

// pair is the operator's own certificate. Its fields belong to whoever opened
// it, and then to Run.
type pair struct {
	cert, key string
	used      [sha256.Size]byte // contents in use
	trouble   once
	ending    once

	every  time.Duration // between two looks
	notify bool          // whether to ask the system for notices
}

func (m *Manager) openFiles() error {
	if m.o.CertFile == "" || m.o.KeyFile == "" {
		return fmt.Errorf("certificate: of the certificate and its key only %q is given: give both files, or neither", m.o.CertFile+m.o.KeyFile)
	}
	m.files = &pair{cert: m.o.CertFile, key: m.o.KeyFile, every: pollEvery, notify: true}
	c, sum, err := m.files.load()
	if err != nil {
		return err
	}
	m.use(c, sum)
	return nil
}

// load reads both files. The sum tells one state of them from another, also
// where they cannot be used. There is no certificate when the state is the one
// in use.
func (p *pair) load() (*tls.Certificate, [sha256.Size]byte, error) {
	cert, err := readFile(p.cert)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("certificate: %w", err)
	}
	key, err := readFile(p.key)
	if err != nil {
		return nil, [sha256.Size]byte{}, fmt.Errorf("key of the certificate: %w", err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%d,", len(cert)) // where one ends and the other begins
	h.Write(cert)
	h.Write(key)
	sum := [sha256.Size]byte(h.Sum(nil))
	if sum == p.used {
		return nil, sum, nil
	}
	c, err := parsePair(cert, key)
	if err != nil {
		err = fmt.Errorf("certificate %s with key %s: %w", p.cert, p.key, err)
	}
	return c, sum, err
}

// parsePair checks that the key is that of the first certificate.
func parsePair(cert, key []byte) (*tls.Certificate, error) {
	for rest := key; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		// DEK-Info is the older form (RFC 1421 section 4.6.1.3).
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New(`the key is locked with a password: write an open one with "openssl pkey -in KEY -out NEWKEY", readable for Camwire alone`)
		}
	}
	c, err := keyPair(cert, key)
	if err != nil && (!bytes.Contains(cert, []byte("-----BEGIN")) || !bytes.Contains(key, []byte("-----BEGIN"))) {
		return nil, fmt.Errorf("both files must be PEM text: convert them with openssl: %w", err)
	}
	return c, err
}

func (m *Manager) use(c *tls.Certificate, sum [sha256.Size]byte) {
	m.files.used, m.files.ending = sum, once{}
	m.cur.Store(c)
	m.log.Info("using the certificate of a file", "file", m.files.cert, "names", c.Leaf.DNSNames, "addresses", c.Leaf.IPAddresses, "until", c.Leaf.NotAfter.Format(time.DateOnly))
	m.judge()
}

// judge complains of a certificate that clients refuse. It is used all the
// same: there is no better one, and the clock may be wrong.
func (m *Manager) judge() {
	leaf, now, msg := m.Leaf(), m.o.Clock(), ""
	switch {
	case now.Before(leaf.NotBefore):
		msg = "the certificate is not valid yet"
	case now.After(leaf.NotAfter):
		msg = "the certificate has ended"
	case leaf.NotAfter.Sub(now) < pairWarning:
		msg = "the certificate ends soon"
	}
	if m.files.ending.pass(msg, now) {
		m.log.Warn(msg+": put a new one in its place, it is taken without a restart", "file", m.files.cert, "from", leaf.NotBefore, "until", leaf.NotAfter)
	}
}

// check takes a new pair. With complain it tells of one that cannot be used;
// without, it leaves the files some time.
func (m *Manager) check(complain bool) {
	c, sum, err := m.files.load()
	switch {
	case c != nil:
		m.use(c, sum)
	case err == nil:
		m.judge()
	case !complain:
		return
	}
	msg := ""
	if err != nil {
		// One message for each state of the files.
		msg = fmt.Sprintf("%x %v", sum, err)
	}
	if m.files.trouble.pass(msg, m.o.Clock()) {
		m.log.Warn("the new certificate cannot be used; the old one stays in use", "error", err)
	}
}

// followFiles looks at the files when the system tells of a change, and from
// time to time: network folders and files mounted into a container tell
// nothing.
func (m *Manager) followFiles(ctx context.Context) error {
	var notifier *fsnotify.Watcher
	var events chan fsnotify.Event
	var faults chan error
	if m.files.notify {
		n, err := fsnotify.NewWatcher()
		if err != nil {
			m.log.Debug("no notices of file changes; looking at the certificate from time to time", "every", m.files.every, "error", err)
		} else {
			defer n.Close()
			notifier, events, faults = n, n.Events, n.Errors
		}
	}
	watched := map[string]bool{}
	m.files.watch(notifier, watched)
	m.check(false) // what changed since New
	tick := time.NewTicker(m.files.every)
	defer tick.Stop()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			// Notices come for the whole folder, which others may use without
			// a pause: the first one counts, and does not wait for the last.
			if settled == nil {
				settled = time.After(settle)
			}
		case err := <-faults:
			m.log.Debug("notices of file changes were lost", "error", err)
		case <-settled:
			settled = nil
			m.files.watch(notifier, watched)
			m.check(false)
		case <-tick.C:
			m.files.watch(notifier, watched)
			m.check(true)
		}
	}
}

// watch asks for notices of the folders of both files and, where these are
// links, of their targets. Folders, because files are replaced.
func (p *pair) watch(n *fsnotify.Watcher, watched map[string]bool) {
	if n == nil {
		return
	}
	want := map[string]bool{}
	for _, path := range []string{p.cert, p.key} {
		want[filepath.Dir(path)] = true
		if target, err := filepath.EvalSymlinks(path); err == nil {
			want[filepath.Dir(target)] = true
		}
	}
	for dir := range watched {
		if !want[dir] {
			_ = n.Remove(dir) // fails where the folder is gone, and its watch with it
			delete(watched, dir)
		}
	}
	for dir := range want {
		// Again each time: the folder may have been made anew. Where it fails
		// the next look does without.
		_ = n.Add(dir)
		watched[dir] = true
	}
}
