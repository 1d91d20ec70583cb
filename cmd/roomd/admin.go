package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/admin/term"
	"roomd/cmd/roomd/config"
	"roomd/cmd/roomd/usage"
)

func newAdmin() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin [--socket FILE | --config FILE] [COMMAND...]",
		Short: "Give the running server a command, or open its console",
		Long: `Give the running server a command. Without COMMAND, open its console.
"roomd admin help" lists the commands, "roomd admin help delete" explains one.

--socket FILE names the admin socket of the server. --config FILE names the
configuration that contains the path of the socket; the default is the file that the
server uses. Write these flags before COMMAND: the words after COMMAND belong to it.

Exit status: 0 done; 1 refused; 2 wrong usage; 3 the server cannot be reached.

The commands:

` + commandList(),
		Example: `  roomd admin
  roomd admin rooms --json
  roomd admin delete dev --yes
  roomd admin --socket /run/roomd/roomd.sock members lobby`,
		// The server parses the flags after the command.
		DisableFlagParsing: true,
		ValidArgsFunction:  completeAdmin,
		RunE: func(cmd *cobra.Command, args []string) error {
			socket, words, err := parseAdminArgs(args, cmd.ErrOrStderr())
			var away unreachable
			switch {
			case errors.Is(err, errHelp):
				return cmd.Help()
			case errors.As(err, &away):
				fmt.Fprintf(cmd.ErrOrStderr(), "roomd: %v\n", err)
				return exitStatus(exitUnreachable)
			case err != nil:
				return usage.New(cmd, err)
			}
			if socket == "" {
				return errNoSocket
			}
			out, errw := cmd.OutOrStdout(), cmd.ErrOrStderr()
			if len(words) == 0 {
				if !terminal(cmd.InOrStdin()) {
					return usage.New(cmd, errors.New("COMMAND is missing: the console needs a terminal"))
				}
				console, err := admin.NewConsole(socket, admin.HistoryFile())
				if err != nil {
					return err
				}
				console.Run()
				return nil
			}
			var ask func(string) bool
			if terminal(cmd.InOrStdin()) {
				ask = func(text string) bool { return confirm(cmd.InOrStdin(), errw, text) }
			}
			if status := admin.Once(socket, words, cmd.InOrStdin(), out, errw, ask); status != exitOK {
				return exitStatus(status)
			}
			return nil
		},
	}
	cmd.AddCommand(newAdminWeb())
	return cmd
}

// commandList lists the commands of the console. Four spaces make it a list in the man page.
func commandList() string {
	var b strings.Builder
	for _, c := range admin.Summary() {
		fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(c, "\n", "\n    "))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// exitStatus is the exit status of a command that has printed its errors.
type exitStatus int

func (e exitStatus) Error() string { return "exit status " + strconv.Itoa(int(e)) }

var errHelp = errors.New("help")

var errNoSocket = errors.New("this server has no admin socket: admin.socket is empty in its configuration")

// parseAdminArgs returns the socket and the words of the command. The flags before the command
// belong to roomd admin, all following words to the command.
func parseAdminArgs(args []string, errw io.Writer) (socket string, words []string, err error) {
	file := ""
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		name, value, has := strings.Cut(args[0], "=")
		args = args[1:]
		switch name {
		case "-h", "--help":
			return "", nil, errHelp
		case "--socket", "--config":
			if !has {
				if len(args) == 0 {
					return "", nil, fmt.Errorf("%s needs a file", name)
				}
				value, args = args[0], args[1:]
			}
			if value == "" {
				return "", nil, usage.EmptyFlag(name[2:], "FILE")
			}
			if name == "--socket" {
				socket = value
			} else {
				file = value
			}
		default:
			return "", nil, fmt.Errorf("unknown flag: %s", name)
		}
	}
	if socket == "" {
		if socket, err = configuredSocket(file, errw, !serverReadsConfig(args)); err != nil {
			return "", nil, err
		}
	}
	return socket, args, nil
}

// configuredSocket returns the socket that a configuration names; file is "" for the default one.
// warn says that mistakes in other keys are reported.
func configuredSocket(file string, errw io.Writer, warn bool) (string, error) {
	cfg, err := config.LoadKeys(file, errw, warn, "admin.socket")
	if err != nil {
		return "", unreachable{err}
	}
	socket := cfg.Admin.Socket
	if cfg.Path == "" && os.Geteuid() == 0 && ownedByOther(socket) {
		return "", unreachable{fmt.Errorf("%s in the current folder belongs to another user and is not used: root has to name the socket with --socket, or its configuration with --config", filepath.Base(socket))}
	}
	return socket, nil
}

// ownedByOther reports whether a file exists and belongs to another user than root.
func ownedByOther(path string) bool {
	st, err := os.Lstat(path)
	if err != nil {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return !ok || sys.Uid != 0
}

// serverReadsConfig reports whether the server reads the configuration for a command, and
// reports the mistakes itself.
func serverReadsConfig(words []string) bool {
	const least = 3 // letters of an unambiguous abbreviation
	return len(words) > 0 && len(words[0]) >= least && (strings.HasPrefix("reload", words[0]) || strings.HasPrefix("upgrade", words[0]))
}

// unreachable is an error that prevents a connection to the server.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

// terminal reports whether the input is a terminal.
func terminal(in io.Reader) bool {
	return term.IsTerminal(in)
}

func confirm(in io.Reader, out io.Writer, text string) bool {
	fmt.Fprintf(out, "this %s\ndo it? [y/N] ", text)
	line, _ := bufio.NewReader(in).ReadString('\n') // on an error: no
	return term.IsYes(line)
}
