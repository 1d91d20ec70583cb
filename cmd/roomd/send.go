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
		Short: "Say something in a room, or all lines of standard input",
		Long: `Say something in a room: the words given, as one line, or else each line of
standard input. Blank lines are left out, as they are nothing to a room. What
begins with / is text, too.

Each line is in the room once, in order, also if the server is restarted or the
connection breaks in the middle: what was under way is looked for in the room
before anything is sent again. That rests on a nick that nobody else has, which
is made up (from the user's name) if --nick names none.

What passes is waited for, for --timeout at most: the server is being started, the
room has no port for a moment, you are muted, the room or the database is
read-only, the disk is full. A line that was refused is tried again before the next
ones; a few lines that were under way behind it may then be before it. What cannot
be sent is left out, and the next line is sent: a feed goes on. The server may take
lines no faster than its limits.lines_per_second.

A line longer than the server's limits.line_bytes is left out (--long skip), sent
without its end (cut), sent as several lines (split), or ends it (fail). Characters
stay whole.

Exit status: 0 all lines are in the room (by default: on disk), 1 they are not,
and standard error says which are not, and why, 2 wrong usage.`,
		Example: `  roomd send lobby the build is green
  roomd send dev --nick ci "$(git log -1 --oneline)"
  journalctl -fu nginx | roomd send ops --nick nginx
  roomd send dump --long split < notes.txt`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage.New(cmd, errors.New("which room?"))
			}
			if !slices.Contains(feed.LongPolicies, o.Long) {
				return usage.New(cmd, fmt.Errorf("--long %q is none of %s", o.Long, strings.Join(feed.LongPolicies, ", ")))
			}
			in := cmd.InOrStdin()
			switch {
			case len(args) > 1:
				in = strings.NewReader(strings.Join(args[1:], " "))
			case terminal(in):
				fmt.Fprintln(cmd.ErrOrStderr(), "(each line is sent; Ctrl-D ends)")
			}
			ctx, stop := signalContext(cmd)
			defer stop()
			o.Display = progress.New(cmd.ErrOrStderr())
			return feed.Send(ctx, &r.Server, args[0], in, o)
		},
	}
	r.flags(cmd, true)
	cmd.ValidArgsFunction = r.completeRooms(1)
	cmd.Flags().StringVar(&o.Nick, "nick", "", "the `NAME` to speak under; default: "+remote.NickVar+", else one that is made up")
	usage.DurationVar(cmd.Flags(), &o.Timeout, "timeout", time.Minute, "give up when the server is out of reach, or takes no line, for this long; 0: never")
	cmd.Flags().StringVar(&o.Long, "long", "skip", "a line that is too long for the server: `skip|cut|split|fail`")
	return cmd
}
