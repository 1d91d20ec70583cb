package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"roomd/cmd/roomd/feed"
	"roomd/cmd/roomd/progress"
	"roomd/cmd/roomd/remote"
	"roomd/cmd/roomd/usage"
)

func newSend() *cobra.Command {
	var r remoteFlags
	var o feed.Options
	cmd := &cobra.Command{
		Use:   "send ROOM [TEXT...]",
		Short: "Send a line to a room, or all lines of standard input",
		Long: `Send a line to a room: the words of the command line as one line, or each line of
standard input. Blank lines are skipped. A line that begins with / is text, not a
command.

Each line is in the room once and in order, also if the server restarts or the
connection is lost: after a new connection the command looks for unconfirmed lines in
the room before it sends them again. For that the nick must be used by nobody else.
Without --nick a unique nick is made from the user's name.

The command waits for problems that pass, for --timeout at most: the server starts, the
room has no port for a moment, you are muted, the room or the database is read-only,
the disk is full. A line that was refused is sent again before the next lines; a few
lines that were already on the way may be stored before it. A line that cannot be sent
is skipped, and the command continues with the next line. The server takes no more than
limits.lines_per_second.

--long says what happens to a line that is longer than limits.line_bytes of the server:
it is skipped (skip), shortened (cut), sent as several lines (split), or ends the
command (fail). Characters stay whole.

Exit status: 0 all lines are in the room (by default: on disk); 1 some are not, and
standard error says which lines and why; 2 wrong usage.`,
		Example: `  roomd send lobby the build is green
  roomd send dev --nick ci "$(git log -1 --oneline)"
  journalctl -fu nginx | roomd send ops --nick nginx
  roomd send dump --long split < notes.txt`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage.New(cmd, errors.New("ROOM is missing"))
			}
			if !slices.Contains(feed.LongPolicies, o.Long) {
				return usage.New(cmd, fmt.Errorf("--long %q is none of %s", o.Long, strings.Join(feed.LongPolicies, ", ")))
			}
			in := cmd.InOrStdin()
			switch {
			case len(args) > 1:
				in = strings.NewReader(strings.Join(args[1:], " "))
			case terminal(in):
				fmt.Fprintln(cmd.ErrOrStderr(), "(each line is sent; Ctrl-D ends the input)")
			}
			ctx, stop := signalContext(cmd)
			defer stop()
			o.Display = progress.New(cmd.ErrOrStderr())
			return feed.Send(ctx, &r.Server, args[0], in, o)
		},
	}
	r.flags(cmd, true)
	cmd.ValidArgsFunction = r.completeRooms(1)
	cmd.Flags().StringVar(&o.Nick, "nick", "", "your `NAME` in the room; default: "+remote.NickVar+", then a unique nick")
	usage.DurationVar(cmd.Flags(), &o.Timeout, "timeout", time.Minute, "give up when the server is unreachable, or takes no line, for this `TIME`; 0: never")
	cmd.Flags().StringVar(&o.Long, "long", "skip", "`skip|cut|split|fail` a line that is too long for the server")
	return cmd
}
