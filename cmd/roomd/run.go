package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/admin/term"
	"roomd/cmd/roomd/output"
	"roomd/cmd/roomd/server"
	"roomd/cmd/roomd/usage"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2

	exitUnreachable = admin.ExitUnreachable // of roomd admin
)

// errReported is a failure whose reasons are printed already.
var errReported = errors.New("told")

// run carries out a command line and returns the exit status. Output goes to out, errors go
// to errw.
func run(args []string, in io.Reader, out, errw io.Writer) int {
	defer term.RestoreOnPanic()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errw)
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		usage.StripQuotes(root)
	}
	cmd, err := root.ExecuteC()
	lines := output.New(errw) // a reader of the log that hangs must not delay the exit
	defer lines.Flush(output.FlushTimeout)
	var wrong usage.Error
	var status exitStatus
	var ended server.ExitStatus
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &ended):
		return int(ended)
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &wrong):
		fmt.Fprintf(lines, "roomd: %v\n", err)
		return exitUsage
	case cmd == root: // cobra's own: an unknown command
		fmt.Fprintf(lines, "roomd: %v\n", usage.New(cmd, err))
		return exitUsage
	}
	fmt.Fprintf(lines, "roomd: %v\n", err)
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "roomd",
		Short: "A persistent chat server: every room is a TCP port, and plain nc is a full client",
		Long: `A persistent chat server: every room is a TCP port, and plain nc is a full client.

The configuration comes from the first of these files:

    the file that --config names
    the file that the variable ROOMD_CONFIG names
    config.toml in the current folder, unless the user is root
    /etc/roomd/config.toml

Without a file the defaults are used. The client commands and roomd admin read only
the keys that they need, and warn of mistakes in the other keys.

The variables ROOMD_SERVER (HOST:PORT), ROOMD_NICK and ROOMD_PASSWORD replace the
flags --server, --nick and --password.`,
		Example: `  roomd serve                            the master port is 8080
  printf 'CREATE dev\nLIST\n' | nc -N 127.0.0.1 8080`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usage.Subcommands,
		Version:       thisVersion().Version,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },

		PersistentPreRunE: usage.NoEmptyFlag,
	}
	root.SetFlagErrorFunc(usage.FlagError)
	root.SetVersionTemplate(thisVersion().String() + "\n")
	root.AddCommand(newServe(), newAdmin(), newHealth(), newCheck(), newStore(), newBench(), newVersion(),
		newChat(), newSend(), newTail(), newList(), newCreate(), newDelete())
	addManCommand(root)
	usage.StrictHelp(root)
	return root
}

func newServe() *cobra.Command {
	var file string
	var console bool
	cmd := &cobra.Command{
		Use:   "serve [PORT]",
		Short: "Run the server until SIGINT or SIGTERM",
		Long: `Run the server until it receives SIGINT or SIGTERM, or until an operator stops it.

PORT is the master port. It overrides server.port of the configuration. "roomd
--help" says which configuration file is used.

SIGHUP reloads the configuration. SIGUSR2 starts the binary that is now on the disk,
and hands the server and its connections over to it.

With --console, quit and Ctrl-D stop the server. If the server has members, the
console asks first.`,
		Example: `  roomd serve
  roomd serve 9090
  roomd serve --console
  roomd serve --config /etc/roomd/config.toml`,
		Args: usage.Args(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			port := 0
			if len(args) == 1 {
				n, err := strconv.Atoi(args[0])
				if err != nil || n < 1 || n > 65535 {
					return usage.New(cmd, fmt.Errorf("%q is not a port: a number from 1 to 65535", args[0]))
				}
				port = n
			}
			v := thisVersion()
			return server.Serve(cmd.Context(), server.Launch{File: file, Port: port, Console: console, Version: v.Version, Commit: v.Commit, Go: v.Go}, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration `FILE`")
	cmd.Flags().BoolVar(&console, "console", false, "open the console in this terminal, with the log above the prompt")
	return cmd
}
