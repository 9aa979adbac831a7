package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"camwire/cmd/camwire/app"
	"camwire/config"
	"camwire/server/auth"
)

// maxPassword bounds what is read of a password from standard input, in bytes;
// the book has a bound of its own.
const maxPassword = 4 << 10

type tokenCmd struct {
	Link   tokenLinkCmd   `cmd:"" default:"withargs" help:"Print the sign-in link of the administrator again (the default)."`
	Create tokenCreateCmd `cmd:"" help:"Make a token for a program, a link or an <img>, and print it this once."`
	List   tokenListCmd   `cmd:"" help:"List the tokens."`
	Revoke tokenRevokeCmd `cmd:"" help:"Take a token back; whoever uses it is cut off within seconds."`
}

type userCmd struct {
	Add    userAddCmd    `cmd:"" help:"Add a user, who signs in with name and password."`
	List   userListCmd   `cmd:"" help:"List the users."`
	Passwd userPasswdCmd `cmd:"" help:"Set a user's password anew; it ends the user's sessions."`
	Remove userRemoveCmd `cmd:"" help:"Remove a user; whoever signed in as it is cut off within seconds."`
}

// load reads the configuration that the flags mean.
func (s source) load() (config.Config, error) {
	w, err := s.watcher()
	if err != nil {
		return config.Config{}, err
	}
	conf, _, err := w.Load()
	return conf, err
}

// book opens the users and tokens of the configuration. A running server
// notices what is changed in them.
func (s source) book() (*auth.Book, error) {
	conf, err := s.load()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(conf.DataDir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no folder %s: start Camwire once, or name its configuration with --config", conf.DataDir)
	}
	return auth.OpenBook(auth.BookOptions{
		Dir: conf.DataDir,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}

// grant are the flags that make a Grant.
type grant struct {
	Permission []string `required:"" placeholder:"PERMISSION" enum:"view,publish,control,playback,admin" help:"What is allowed: ${enum}; may be repeated."`
	Camera     []string `placeholder:"ID" help:"A camera that it is allowed for, or the beginning of its id and a *; may be repeated. Without it: all."`
}

func (g grant) grant() auth.Grant {
	out := auth.Grant{Cameras: g.Camera}
	for _, p := range g.Permission {
		out.Permissions = append(out.Permissions, auth.Permission(p))
	}
	return out
}

type tokenLinkCmd struct{ source }

func (c tokenLinkCmd) Run() error {
	conf, err := c.load()
	if err != nil {
		return err
	}
	token, err := auth.ReadToken(conf.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("there is no token yet: Camwire makes one at its first start")
	}
	if err != nil {
		return err
	}
	for _, base := range app.BaseURLs(conf.HTTP.Address) {
		fmt.Println(auth.Link(base, token))
	}
	return nil
}

type tokenCreateCmd struct {
	source
	grant
	Name    string `required:"" placeholder:"NAME" help:"What it is for, so that you know it later."`
	Expires string `placeholder:"WHEN" help:"Its end: how long from now (720h) or a time (2030-01-31T12:00:00Z). Without it: never."`
}

func (c tokenCreateCmd) Run() error {
	expires, err := expiry(c.Expires, time.Now())
	if err != nil {
		return err
	}
	b, err := c.book()
	if err != nil {
		return err
	}
	secret, t, err := b.IssueToken(c.Name, c.grant.grant(), expires)
	if err != nil {
		return err
	}
	// Only the token goes to standard output: scripts catch it.
	fmt.Fprintf(os.Stderr, "Token %q with the id %s: %s; it ends %s. It is shown only now:\n", t.Name, t.ID, t.Summary(), moment(t.Expires, "never"))
	fmt.Println(secret)
	return nil
}

// expiry reads the end of a token; "" is none.
func expiry(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(d), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("--expires %s: write how long, such as 720h, or a time, such as 2030-01-31T12:00:00Z", s)
	}
	return t, nil
}

type tokenListCmd struct{ source }

func (c tokenListCmd) Run() error {
	b, err := c.book()
	if err != nil {
		return err
	}
	return table(os.Stdout, "ID\tNAME\tMAY\tEXPIRES\tLAST USED", func(line func(...any)) {
		for _, t := range b.Tokens() {
			line(t.ID, t.Name, t.Summary(), moment(t.Expires, "never"), moment(t.Used, "never"))
		}
	})
}

type tokenRevokeCmd struct {
	source
	ID []string `arg:"" name:"id" help:"The id that \"camwire token list\" shows; may be repeated."`
}

func (c tokenRevokeCmd) Run() error {
	b, err := c.book()
	if err != nil {
		return err
	}
	var all error
	for _, id := range c.ID {
		all = errors.Join(all, b.RevokeToken(id))
	}
	return all
}

// password are the flags that say where a password comes from.
type password struct {
	PasswordStdin bool `help:"Read the password from standard input instead of asking for it."`
}

// read gets a new password without showing it.
func (p password) read() (string, error) {
	if p.PasswordStdin {
		b, err := io.ReadAll(io.LimitReader(os.Stdin, maxPassword))
		if err != nil {
			return "", err
		}
		s := strings.TrimSuffix(string(b), "\n")
		return strings.TrimSuffix(s, "\r"), nil
	}
	fd := int(os.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return "", errors.New("there is no terminal to ask for the password on: use --password-stdin")
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		return string(b), err
	}
	first, err := ask("New password: ")
	if err != nil {
		return "", err
	}
	second, err := ask("The same again: ")
	if err == nil && first != second {
		err = errors.New("the two are not the same")
	}
	return first, err
}

type userAddCmd struct {
	source
	grant
	password
	Name string `arg:"" help:"Name to sign in with."`
}

func (c userAddCmd) Run() error {
	b, err := c.book()
	if err != nil {
		return err
	}
	p, err := c.read()
	if err != nil {
		return err
	}
	u, err := b.AddUser(c.Name, p, c.grant.grant())
	if err == nil {
		fmt.Printf("User %s: %s\n", u.Name, u.Summary())
	}
	return err
}

type userListCmd struct{ source }

func (c userListCmd) Run() error {
	b, err := c.book()
	if err != nil {
		return err
	}
	return table(os.Stdout, "NAME\tMAY\tPASSWORD SET", func(line func(...any)) {
		for _, u := range b.Users() {
			line(u.Name, u.Summary(), moment(u.Changed, "never"))
		}
	})
}

type userPasswdCmd struct {
	source
	password
	Name string `arg:"" help:"Name of the user."`
}

func (c userPasswdCmd) Run() error {
	b, err := c.book()
	if err != nil {
		return err
	}
	p, err := c.read()
	if err != nil {
		return err
	}
	_, err = b.ChangeUser(c.Name, auth.UserChange{Password: &p})
	return err
}

type userRemoveCmd struct {
	source
	Name string `arg:"" help:"Name of the user."`
}

func (c userRemoveCmd) Run() error {
	b, err := c.book()
	if err != nil {
		return err
	}
	return b.RemoveUser(c.Name)
}

// table writes lines in columns.
func table(w io.Writer, head string, lines func(line func(...any))) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	lines(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, c)
		}
		fmt.Fprintln(t)
	})
	return t.Flush()
}

func moment(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.Local().Format("2006-01-02 15:04")
}
