package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// AccountsFile is the name of the file with users and tokens in the data
// directory. It holds hashes, neither passwords nor tokens.
const AccountsFile = "accounts.json"

// TokenPrefix begins every token but the administrator's: a secret that shows
// what it is can be found where it should not be.
const TokenPrefix = "cw_"

const (
	tokenBytes = 32
	// maxUsers and maxTokens bound what a program that makes one after the
	// other can do.
	maxUsers  = 1000
	maxTokens = 5000
	maxName   = 64
	// keepExpired is how long a token that has expired is still listed.
	keepExpired = 24 * time.Hour
)

// Kinds of refusal when users and tokens are changed; the texts of the errors
// that wrap them are for the person who asked.
var (
	// ErrInvalid: a name, password or grant that cannot be.
	ErrInvalid = errors.New("invalid")
	// ErrExists: the name is taken.
	ErrExists = errors.New("exists already")
	// ErrUnknown: there is no such user or token.
	ErrUnknown = errors.New("unknown")
	// ErrFull: there are too many.
	ErrFull = errors.New("too many")
)

// problem is an error with words of its own and one of the kinds above.
type problem struct {
	kind error
	text string
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.kind }

func invalid(format string, args ...any) error {
	return &problem{ErrInvalid, fmt.Sprintf(format, args...)}
}

// User is somebody with a password.
type User struct {
	// Name is unique without regard to case.
	Name string `json:"name"`
	Grant
	Created time.Time `json:"created"`
	// Changed is when the password was set.
	Changed time.Time `json:"changed"`
}

// Token is a secret that a program or a link has instead of a password. The
// secret itself is shown once and not kept.
type Token struct {
	// ID names it when it is revoked.
	ID   string `json:"id"`
	Name string `json:"name"`
	Grant
	Created time.Time `json:"created"`
	// Expires is its end, zero for none.
	Expires time.Time `json:"expires,omitzero"`
	// Used is when it was last taken, zero for never. Other processes learn of
	// it some minutes later.
	Used time.Time `json:"last_used,omitzero"`
}

func (t Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// userRecord and tokenRecord are how they are kept.
type userRecord struct {
	User
	Hash string `json:"hash"` // argon2id
}

type tokenRecord struct {
	Token
	Hash string `json:"hash"` // SHA-256, hex: enough for 256 random bits
}

// record is an entry of the file. What this version does not understand stays
// in it and lets nobody in.
type record struct {
	User  *userRecord  `json:"user,omitempty"`
	Token *tokenRecord `json:"token,omitempty"`
}

// accounts is what the file held at one time; nobody writes to it.
type accounts struct {
	info    os.FileInfo // of the file, nil for none
	records []record
	users   map[string]*userRecord // by lower-case name
	tokens  map[[sha256.Size]byte]*tokenRecord
	ids     map[string]*tokenRecord
}

// BookOptions of a Book.
type BookOptions struct {
	// Dir is the data directory; "" keeps nothing across restarts.
	Dir string
	// Log gets what is wrong with the file; default none.
	Log *slog.Logger
}

// Book holds the users and the tokens. Several processes may have the same one
// open: each sees the others' changes at its next look. All methods may be
// called from any goroutine.
type Book struct {
	file file[record]
	log  *slog.Logger
	now  atomic.Pointer[accounts]
	// changed is called after a change by this process; nil: nobody asks.
	changed func()

	mu      sync.Mutex // one reading or change at a time
	failure string     // of the last reading, logged once

	usedMu sync.Mutex
	used   map[string]time.Time // by token id, not yet in the file
}

// OpenBook reads the users and tokens of a data directory; none when there is
// no file yet.
func OpenBook(o BookOptions) (*Book, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{
		file: file[record]{dir: o.Dir, name: AccountsFile, log: o.Log},
		log:  o.Log, used: map[string]time.Time{},
	}
	b.now.Store(index(nil, nil, o.Log))
	if b.kept() {
		if _, err := b.look(); err != nil {
			return nil, fmt.Errorf("users and tokens: %w", err)
		}
	}
	return b, nil
}

// kept reports whether there is a file at all.
func (b *Book) kept() bool { return b.file.dir != "" }

// current returns the users and tokens as they are now. A look at the file's
// times is all that it costs while nothing has changed, and it needs no watcher
// that could miss something. While the file cannot be read, those read before
// stay.
func (b *Book) current() *accounts {
	if !b.kept() {
		return b.now.Load()
	}
	a, err := b.look()
	if err != nil {
		b.complain(err)
		return b.now.Load()
	}
	return a
}

func (b *Book) complain(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failure != err.Error() {
		b.failure = err.Error()
		b.log.Error("users and tokens cannot be read; those known before stay in force", "error", err)
	}
}

func (b *Book) look() (*accounts, error) {
	info, err := b.file.stat()
	if err != nil {
		return nil, err
	}
	if a := b.now.Load(); same(info, a.info) {
		return a, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if info, err = b.file.stat(); err != nil {
		return nil, err
	}
	if a := b.now.Load(); same(info, a.info) {
		return a, nil // somebody else has read it meanwhile
	}
	if info == nil {
		return b.take(nil, nil), nil
	}
	records, info, err := b.file.update(nil)
	if err != nil {
		return nil, err
	}
	return b.take(records, info), nil
}

// take makes records the current ones. The caller holds mu.
func (b *Book) take(records []record, info os.FileInfo) *accounts {
	a := index(records, info, b.log)
	b.now.Store(a)
	b.failure = ""
	return a
}

func index(records []record, info os.FileInfo, log *slog.Logger) *accounts {
	a := &accounts{
		info: info, records: records,
		users: map[string]*userRecord{}, tokens: map[[sha256.Size]byte]*tokenRecord{}, ids: map[string]*tokenRecord{},
	}
	for i, r := range records {
		if err := a.add(r); err != nil {
			log.Error("an entry of the users and tokens lets nobody in", "file", AccountsFile, "entry", i+1, "error", err)
		}
	}
	return a
}

func (a *accounts) add(r record) error {
	switch {
	case r.User != nil:
		u := r.User
		if err := errors.Join(checkUserName(u.Name), u.Check()); err != nil {
			return err
		}
		if _, err := parseHash(u.Hash); err != nil {
			return fmt.Errorf("user %q: the hash of the password %w", u.Name, err)
		}
		a.users[strings.ToLower(u.Name)] = u
	case r.Token != nil:
		t := r.Token
		h, err := hex.DecodeString(t.Hash)
		if err != nil || len(h) != sha256.Size || t.ID == "" {
			return fmt.Errorf("token %q: no id or no SHA-256: revoke it", t.Name)
		}
		if err := t.Check(); err != nil {
			return fmt.Errorf("token %q: %w", t.Name, err)
		}
		a.tokens[[sha256.Size]byte(h)], a.ids[t.ID] = t, t
	default:
		return errors.New("neither a user nor a token")
	}
	return nil
}

// change replaces the records by what f makes of them.
func (b *Book) change(f func(*accounts, []record) ([]record, error)) error {
	err := b.replace(f)
	if err == nil && b.changed != nil {
		b.changed()
	}
	return err
}

func (b *Book) replace(f func(*accounts, []record) ([]record, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	apply := func(was []record) ([]record, error) {
		a := index(was, nil, slog.New(slog.DiscardHandler))
		next, err := f(a, slices.Clone(was))
		if err != nil {
			return nil, err
		}
		return b.tidy(next, time.Now()), nil
	}
	if !b.kept() {
		next, err := apply(b.now.Load().records)
		if err == nil {
			b.take(next, nil)
		}
		return err
	}
	next, info, err := b.file.update(apply)
	if err == nil {
		b.take(next, info)
	}
	return err
}

// tidy drops tokens that expired long ago, and notes when the others were used.
func (b *Book) tidy(records []record, now time.Time) []record {
	b.usedMu.Lock()
	used := b.used
	b.used = map[string]time.Time{}
	b.usedMu.Unlock()
	out := records[:0]
	for _, r := range records {
		if t := r.Token; t != nil {
			if t.expired(now.Add(-keepExpired)) {
				continue
			}
			if at := used[t.ID]; at.After(t.Used) {
				n := *t
				n.Used = at
				r.Token = &n
			}
		}
		out = append(out, r)
	}
	return out
}

// use notes that a token was taken.
func (b *Book) use(id string, now time.Time) {
	b.usedMu.Lock()
	defer b.usedMu.Unlock()
	b.used[id] = now.UTC().Truncate(time.Second)
}

// flush writes down when tokens were used, unless nothing is new.
func (b *Book) flush() error {
	b.usedMu.Lock()
	n := len(b.used)
	b.usedMu.Unlock()
	if n == 0 || !b.kept() {
		return nil
	}
	return b.change(func(_ *accounts, r []record) ([]record, error) { return r, nil })
}

// lastYear is the last one that RFC 3339 can write with room for time zones.
const lastYear = 9998

var userName = regexp.MustCompile(`^[A-Za-z0-9._@+-]{1,64}$`)

func checkUserName(name string) error {
	if !userName.MatchString(name) || strings.EqualFold(name, anonymousName) {
		return invalid("user name %q: use 1 to %d letters, digits and . _ @ + -", clip(name, 80), maxName)
	}
	return nil
}

func checkTokenName(name string) error {
	switch {
	case strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > maxName:
		return invalid("name: a token has a name of 1 to %d characters, so that you know later what it is for", maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return invalid("name: only characters that can be seen")
	}
	return nil
}

// Users returns all users, sorted by name.
func (b *Book) Users() []User {
	l := []User{}
	for _, u := range b.current().users {
		l = append(l, u.User)
	}
	slices.SortFunc(l, func(x, y User) int { return strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name)) })
	return l
}

// AddUser adds a user; the error wraps ErrInvalid, ErrExists or ErrFull.
func (b *Book) AddUser(name, password string, g Grant) (User, error) {
	if err := errors.Join(checkUserName(name), g.Check()); err != nil {
		return User{}, err
	}
	hash, err := hashPassword(password) // before anything is locked: it takes its time
	if err != nil {
		return User{}, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	u := userRecord{User: User{Name: name, Grant: g.normal(), Created: now, Changed: now}, Hash: hash}
	err = b.change(func(a *accounts, l []record) ([]record, error) {
		switch {
		case a.users[strings.ToLower(name)] != nil:
			return nil, &problem{ErrExists, fmt.Sprintf("there is a user %q already", a.users[strings.ToLower(name)].Name)}
		case len(a.users) >= maxUsers:
			return nil, &problem{ErrFull, fmt.Sprintf("there are %d users already: remove some", maxUsers)}
		}
		return append(l, record{User: &u}), nil
	})
	return u.User, err
}

// UserChange says what is to change; nil leaves it as it is.
type UserChange struct {
	// Password ends all sessions of the user when it is set.
	Password *string
	// Grant makes the new grant of the one so far.
	Grant func(Grant) Grant
}

// ChangeUser changes a user; the error wraps ErrInvalid or ErrUnknown.
func (b *Book) ChangeUser(name string, c UserChange) (User, error) {
	var hash string
	if c.Password != nil {
		var err error
		if hash, err = hashPassword(*c.Password); err != nil {
			return User{}, err
		}
	}
	var out User
	err := b.change(func(a *accounts, l []record) ([]record, error) {
		i, err := findUser(l, name)
		if err != nil {
			return nil, err
		}
		u := *l[i].User
		if c.Password != nil {
			u.Hash, u.Changed = hash, time.Now().UTC().Truncate(time.Second)
		}
		if c.Grant != nil {
			g := c.Grant(u.Grant.normal()) // a copy: others read the first
			if err := g.Check(); err != nil {
				return nil, err
			}
			u.Grant = g.normal()
		}
		l[i].User, out = &u, u.User
		return l, nil
	})
	return out, err
}

// RemoveUser removes a user and with it all its sessions; the error wraps
// ErrUnknown.
func (b *Book) RemoveUser(name string) error {
	return b.change(func(_ *accounts, l []record) ([]record, error) {
		i, err := findUser(l, name)
		if err != nil {
			return nil, err
		}
		return slices.Delete(l, i, i+1), nil
	})
}

func findUser(l []record, name string) (int, error) {
	i := slices.IndexFunc(l, func(r record) bool { return r.User != nil && strings.EqualFold(r.User.Name, name) })
	if i < 0 {
		return i, &problem{ErrUnknown, fmt.Sprintf("there is no user %q", clip(name, 80))}
	}
	return i, nil
}

// Tokens returns all tokens, oldest first, those that expired in the last day
// among them.
func (b *Book) Tokens() []Token {
	ids := b.current().ids
	b.usedMu.Lock()
	used := maps.Clone(b.used)
	b.usedMu.Unlock()
	l := []Token{}
	for id, t := range ids {
		n := t.Token
		if at := used[id]; at.After(n.Used) {
			n.Used = at
		}
		l = append(l, n)
	}
	slices.SortFunc(l, func(x, y Token) int {
		if c := x.Created.Compare(y.Created); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return l
}

// IssueToken makes a token that ends at expires (zero: never). The secret is
// returned this once; the error wraps ErrInvalid or ErrFull.
func (b *Book) IssueToken(name string, g Grant, expires time.Time) (secret string, t Token, err error) {
	if err := errors.Join(checkTokenName(name), g.Check()); err != nil {
		return "", Token{}, err
	}
	now := time.Now().UTC()
	if !expires.IsZero() {
		if expires = expires.UTC().Truncate(time.Second); !expires.After(now) {
			return "", Token{}, invalid("expires: %s is over", expires.Format(time.RFC3339))
		}
		if expires.Year() > lastYear {
			return "", Token{}, invalid("expires: the year %d is too far away; leave it out for a token without an end", expires.Year())
		}
	}
	secret = TokenPrefix + base64.RawURLEncoding.EncodeToString(randomBytes(tokenBytes))
	sum := sha256.Sum256([]byte(secret))
	r := tokenRecord{
		Token: Token{ID: hex.EncodeToString(randomBytes(8)), Name: name, Grant: g.normal(), Created: now.Truncate(time.Second), Expires: expires},
		Hash:  hex.EncodeToString(sum[:]),
	}
	err = b.change(func(a *accounts, l []record) ([]record, error) {
		if len(a.ids) >= maxTokens {
			return nil, &problem{ErrFull, fmt.Sprintf("there are %d tokens already: revoke some", maxTokens)}
		}
		return append(l, record{Token: &r}), nil
	})
	if err != nil {
		return "", Token{}, err
	}
	return secret, r.Token, nil
}

// RevokeToken takes a token back; the error wraps ErrUnknown.
func (b *Book) RevokeToken(id string) error {
	return b.change(func(_ *accounts, l []record) ([]record, error) {
		i := slices.IndexFunc(l, func(r record) bool { return r.Token != nil && r.Token.ID == id })
		if i < 0 || id == "" {
			return nil, &problem{ErrUnknown, fmt.Sprintf("there is no token with the id %q", clip(id, 80))}
		}
		return slices.Delete(l, i, i+1), nil
	})
}

// token finds a token by its secret.
func (b *Book) token(secret string) (*tokenRecord, bool) {
	if !strings.HasPrefix(secret, TokenPrefix) {
		return nil, false
	}
	// A map's timing could tell about the hash at most, which tells nothing
	// about a secret of 256 random bits.
	sum := sha256.Sum256([]byte(secret))
	t, ok := b.current().tokens[sum]
	if !ok {
		return nil, false
	}
	want, err := hex.DecodeString(t.Hash)
	return t, err == nil && subtle.ConstantTimeCompare(sum[:], want) == 1
}

// login finds a user by name and password. The error is that of allowed, or
// errBusy.
func (b *Book) login(ctx context.Context, v *verifier, name, password string, allowed func() error) (*userRecord, bool, error) {
	u := b.current().users[strings.ToLower(name)]
	stored := ""
	if u != nil {
		stored = u.Hash
	}
	ok, err := v.check(ctx, password, stored, allowed)
	return u, ok && u != nil, err
}
