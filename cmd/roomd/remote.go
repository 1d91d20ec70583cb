package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/remote"
	"roomd/cmd/roomd/server"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// remoteFlags are the flags of client commands that select the server.
type remoteFlags struct {
	remote.Server
	config string
	cmd    *cobra.Command
}

// flags adds the flags of all client commands, and, for commands about a room, its password.
func (r *remoteFlags) flags(cmd *cobra.Command, room bool) {
	r.cmd, r.Find = cmd, r.findServer
	f := cmd.Flags()
	f.StringVar(&r.Addr, "server", "", "the master port of the server, `HOST:PORT`; default: "+remote.ServerVar+", then the configuration")
	f.StringVar(&r.config, "config", "", "configuration `FILE` that names the server; default: the file that the server uses")
	f.BoolVar(&r.TLS, "tls", false, "use TLS; default without --server: as in the configuration")
	f.StringVar(&r.CA, "ca", "", "`FILE` with the certificates to trust, in PEM; default: those of the system; implies --tls")
	if room {
		f.StringVar(&r.Password, "password", "", "`PASSWORD` of the room; other users cannot see it in the variable "+remote.PasswordVar)
	}
}

// with calls a command with a client of the selected server.
func (r *remoteFlags) with(do func(cmd *cobra.Command, args []string, c *client.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := r.Dial(cmd.Context())
		if err != nil {
			return err
		}
		return do(cmd, args, c)
	}
}

// findServer returns the server of the environment, or that of the configuration.
func (r *remoteFlags) findServer() (addr, cert string, err error) {
	if addr = os.Getenv(remote.ServerVar); addr != "" && r.config == "" {
		return addr, "", nil
	}
	c, err := config.LoadKeys(r.config, r.cmd.ErrOrStderr(), true, "server.listen", "server.port", "tls.cert")
	if err != nil {
		return "", "", fmt.Errorf("%w\nor name the server with --server HOST:PORT", err)
	}
	return remote.LocalAddr(c.Server.Listen, c.Server.Port), c.TLS.Cert, nil
}

// refuseServerFile returns an error if an output file belongs to the server, as far as the
// configuration can be read.
func (r *remoteFlags) refuseServerFile(file string) error {
	c, err := config.LoadKeys(r.config, io.Discard, false)
	if err != nil {
		return nil
	}
	return server.RefuseServerFile(c, file)
}

// completeRooms completes names of rooms for the first most arguments; 0: for all.
func (r *remoteFlags) completeRooms(most int) completer {
	return func(cmd *cobra.Command, args []string, last string) ([]string, cobra.ShellCompDirective) {
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		cmd.SetErr(io.Discard)
		ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
		defer cancel()
		c, err := r.Dial(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := c.List(ctx, "")
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, i := range all {
			if name := wire.CleanString(i.Name); strings.HasPrefix(wire.Fold(name), wire.Fold(last)) {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// signalContext returns the context of a command, done at SIGINT or SIGTERM. A second signal
// ends the process at once, because a write may hang.
func signalContext(cmd *cobra.Command) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
