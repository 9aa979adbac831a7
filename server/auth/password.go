package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/argon2"
)

// Bounds of a password in bytes.
const (
	minPassword = 8
	maxPassword = 1024
)

// cost is what a hash takes: argon2id with 19 MiB and two passes, the first
// choice of the OWASP Password Storage Cheat Sheet that a small board can pay
// (RFC 9106 section 4 has larger ones). A hash carries its own, so that it can
// be raised later.
var cost = costs{memory: 19 << 10, time: 2, threads: 1}

const (
	saltBytes = 16
	hashBytes = 32
)

type costs struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// What a stored hash may ask for: a file from elsewhere must not take all the
// memory of a small machine.
var maxCost = costs{memory: 256 << 10, time: 16, threads: 16}

// secretHash is an argon2id hash in the form that other programs write as well:
// $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>.
type secretHash struct {
	costs
	salt, sum []byte
}

func (h secretHash) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads, b64(h.salt), b64(h.sum))
}

func (h secretHash) of(password string) []byte {
	return argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.sum)))
}

var errHash = errors.New("is no argon2id hash that this version can use: set the password anew")

func parseHash(s string) (secretHash, error) {
	var h secretHash
	if len(s) > 512 {
		return h, errHash
	}
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, errHash
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return h, errHash
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	sum, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	h.salt, h.sum = salt, sum
	switch {
	case err1 != nil, err2 != nil, len(salt) < 8, len(sum) < 16,
		h.memory < 8*uint32(h.threads), h.time < 1, h.threads < 1,
		h.memory > maxCost.memory, h.time > maxCost.time, h.threads > maxCost.threads, h.String() != s:
		return secretHash{}, errHash
	}
	return h, nil
}

// hashPassword makes the hash of a new password; the error wraps ErrInvalid.
func hashPassword(password string) (string, error) {
	switch {
	case len(password) < minPassword:
		return "", invalid("the password has fewer than %d characters", minPassword)
	case len(password) > maxPassword:
		return "", invalid("the password has more than %d bytes", maxPassword)
	}
	h := secretHash{costs: cost, salt: randomBytes(saltBytes), sum: make([]byte, hashBytes)}
	h.sum = h.of(password)
	return h.String(), nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

// How many hashes are computed at once, how many requests may wait for their
// turn, and for how long a right password is remembered. Each hash takes 19 MiB
// and tens of milliseconds; without bounds, wrong passwords from many
// addresses would be a way to take the machine away from its cameras.
const (
	hashesAtOnce  = 2
	hashesWaiting = 32
	rememberFor   = 5 * time.Minute
	maxRemembered = 1024
)

// verifier checks passwords. A right one is remembered for a short time under
// a key of this process, so that every picture fetched with Basic does not cost
// a hash; wrong ones are not.
type verifier struct {
	key   [sha256.Size]byte
	dummy secretHash // of nobody: an unknown user costs as much as a known one
	queue chan struct{}
	turn  chan struct{}

	mu    sync.Mutex
	right map[[sha256.Size]byte]time.Time // until when
}

func newVerifier() *verifier {
	v := &verifier{
		dummy: secretHash{costs: cost, salt: make([]byte, saltBytes), sum: make([]byte, hashBytes)},
		queue: make(chan struct{}, hashesAtOnce+hashesWaiting),
		turn:  make(chan struct{}, hashesAtOnce),
		right: map[[sha256.Size]byte]time.Time{},
	}
	copy(v.key[:], randomBytes(len(v.key)))
	return v
}

// errBusy is for somebody who would have to wait too long for a hash.
var errBusy = errors.New("too many passwords are being checked")

// entry is the name under which a password is remembered. The stored hash is
// part of it: with a new password the old one is forgotten.
func (v *verifier) entry(password, stored string) (k [sha256.Size]byte) {
	m := hmac.New(sha256.New, v.key[:])
	m.Write([]byte(stored))
	m.Write([]byte{0})
	m.Write([]byte(password))
	m.Sum(k[:0])
	return k
}

// remembered reports whether the password was right a short time ago.
func (v *verifier) remembered(k [sha256.Size]byte, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return now.Before(v.right[k])
}

func (v *verifier) remember(k [sha256.Size]byte, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.right) >= maxRemembered {
		for o, until := range v.right {
			if !now.Before(until) {
				delete(v.right, o)
			}
		}
	}
	if len(v.right) >= maxRemembered {
		clear(v.right) // each of them costs one hash to come back
	}
	v.right[k] = now.Add(rememberFor)
}

// check reports whether a password belongs to a stored hash; "" is the hash of
// an unknown user. Allowed is asked when it is this password's turn, so that
// many at once are no way around a limit.
func (v *verifier) check(ctx context.Context, password, stored string, allowed func() error) (bool, error) {
	if len(password) > maxPassword {
		password, stored = password[:maxPassword], ""
	}
	k := v.entry(password, stored)
	if stored != "" && v.remembered(k, time.Now()) {
		return true, nil
	}
	select {
	case v.queue <- struct{}{}:
		defer func() { <-v.queue }()
	default:
		return false, errBusy
	}
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	// A page asks for many pictures at once: the first one has paid for all.
	if stored != "" && v.remembered(k, time.Now()) {
		return true, nil
	}
	if err := allowed(); err != nil {
		return false, err
	}
	h, err := parseHash(stored)
	known := err == nil
	if !known {
		h = v.dummy
	}
	if subtle.ConstantTimeCompare(h.of(password), h.sum) != 1 || !known {
		return false, nil
	}
	v.remember(k, time.Now())
	return true, nil
}
