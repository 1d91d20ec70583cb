package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

const (
	// passwordVar holds a room's password for those who do not want it to be seen
	// among the processes.
	passwordVar = "ROOMD_PASSWORD"

	serverVar = "ROOMD_SERVER" // instead of --server
	nickVar   = "ROOMD_NICK"   // instead of --nick
)

// remote is the server that a command talks to.
type remote struct {
	server   string
	config   string
	tls      bool
	ca       string
	password string

	cmd *cobra.Command
	at  string         // the server, once it is known
	how client.Options // to speak with it
}

// flags adds the flags that all commands of a client have in common, and that
// of a room's password.
func (r *remote) flags(cmd *cobra.Command, room bool) {
	r.cmd = cmd
	f := cmd.Flags()
	f.StringVar(&r.server, "server", "", "the server's master port, `HOST:PORT`; default: "+serverVar+", else that of the configuration")
	f.StringVar(&r.config, "config", "", "configuration `FILE` to look the server up in; default: "+configVar+", else where the server looks")
	f.BoolVar(&r.tls, "tls", false, "speak TLS; default: as the configuration says, if there is no --server")
	f.StringVar(&r.ca, "ca", "", "`FILE` with the certificates to trust, in PEM; default: the system's (implies --tls)")
	if room {
		f.StringVar(&r.password, "password", "", "the room's `PASSWORD`; better in "+passwordVar+", where other users do not see it")
	}
}

// isOwn refuses a file to write to that belongs to the server, if its
// configuration can be read.
func (r *remote) isOwn(file string) error {
	c, err := keysConfig(r.config, io.Discard, false)
	if err != nil {
		return nil
	}
	return c.isOwn(file)
}

// dial finds the server.
func (r *remote) dial(ctx context.Context) (*client.Client, error) {
	c, err := r.reach(ctx)
	return c, says(err)
}

// reach is dial, with an error that is not fit for a terminal.
func (r *remote) reach(ctx context.Context) (*client.Client, error) {
	if r.password == "" {
		r.password = os.Getenv(passwordVar)
	}
	if r.at == "" {
		var err error
		if r.at, r.how, err = r.where(); err != nil {
			return nil, err
		}
	}
	c, err := client.Dial(ctx, r.at, r.how)
	return c, r.advise(err)
}

// join makes a member of a room. What passes it waits for, for that long; 0:
// without end.
func (r *remote) join(ctx context.Context, tell *teller, patience time.Duration, room string, o client.JoinOptions) (*client.Room, error) {
	within, cancel := ctx, context.CancelFunc(func() {})
	if patience > 0 {
		within, cancel = context.WithTimeout(ctx, patience)
	}
	defer cancel()
	var failed error // the last time
	for pause := firstTry; ; pause = min(2*pause, lastTry) {
		c, err := r.reach(within)
		if err == nil {
			o.Password = r.password
			var joined *client.Room
			if joined, err = c.Join(within, room, o); err == nil {
				if failed != nil {
					tell.say("connected")
				}
				return joined, nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded) && failed == nil:
			return nil, fmt.Errorf("the server at %s has not answered within %v", r.at, patience)
		case within.Err() != nil && failed == nil:
			return nil, says(err)
		case within.Err() != nil:
			return nil, fmt.Errorf("%w\nit was tried for %v", says(failed), patience)
		case !client.MayPass(err):
			return nil, says(err)
		case failed == nil:
			first, _, _ := strings.Cut(says(err).Error(), "\n")
			tell.say("%s; trying again", first)
		}
		failed = err
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-within.Done():
			t.Stop()
		}
	}
}

// where is the server's address, and how to speak with it.
func (r *remote) where() (addr string, o client.Options, err error) {
	ca, name := r.ca, ""
	if r.server == "" && r.config == "" {
		r.server = os.Getenv(serverVar)
	}
	addr = r.server
	if addr == "" {
		c, err := keysConfig(r.config, r.cmd.ErrOrStderr(), true, "server.listen", "server.port", "tls.cert")
		if err != nil {
			return "", o, fmt.Errorf("%w\nor name the server with --server HOST:PORT", err)
		}
		addr = net.JoinHostPort(near(c.Server.Listen), strconv.Itoa(c.Server.Port))
		if c.TLS.Cert != "" {
			r.tls = true
			if ca == "" {
				if ca = c.TLS.Cert; !readable(ca) {
					ca = ""
				}
			}
			name = certName(ca)
		}
	}
	if !r.tls && ca == "" {
		return addr, o, nil
	}
	o.TLS = &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return "", o, err
		}
		o.TLS.RootCAs = x509.NewCertPool()
		if !o.TLS.RootCAs.AppendCertsFromPEM(text) {
			return "", o, fmt.Errorf("%s holds no certificate in PEM", ca)
		}
	}
	return addr, o, nil
}

// near is an address at which we reach who listens.
func near(listen []netip.Addr) string {
	for _, a := range listen {
		if !a.IsUnspecified() {
			return a.String()
		}
	}
	for _, a := range listen {
		if a.Is4() {
			return "127.0.0.1"
		}
	}
	return "::1"
}

func readable(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// certName is a name that the server's own certificate is for.
func certName(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return ""
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || len(cert.DNSNames) == 0 {
		return ""
	}
	return cert.DNSNames[0]
}

// untilSignal is the command's context, done at SIGINT or SIGTERM. A second one
// ends the process at once: it may be that nobody reads what it writes.
func untilSignal(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// login is a nick made from the user's name.
func login() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return nickOf(name)
}

// nickOf is a nick made from a user's name: letters and digits of ASCII only, and
// what a server takes.
func nickOf(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, name)
	if name == "" {
		return "somebody"
	}
	name = name[:min(len(name), 20)]
	if _, err := wire.ParseNick(name); err != nil { // "operator" or "1000"
		name = "user-" + name
	}
	return name
}

// ownNick is a nick that nobody else has: a line whose connection broke is
// known by it.
func ownNick(name string) string {
	const most = 25 // characters, of the 32 that a name may have
	r := []rune(name)
	return string(r[:min(len(r), most)]) + "-" + strings.ToLower(rand.Text()[:6])
}

// harmless is a text from the network as it may go to a terminal, whatever the
// server is.
func harmless(s string) string { return wire.CleanString(s) }

// says makes an error harmless that may have in it what a server said.
func says(err error) error {
	if err == nil {
		return nil
	}
	lines := strings.Split(err.Error(), "\n")
	for i, l := range lines {
		lines[i] = harmless(l)
	}
	if text := strings.Join(lines, "\n"); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// isTerminal reports whether a person looks at what is written.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && terminal(f)
}
