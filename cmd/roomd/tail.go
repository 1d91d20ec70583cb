package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin/value"
	"roomd/cmd/roomd/progress"
	"roomd/cmd/roomd/tail"
	"roomd/cmd/roomd/usage"
	"roomd/netsvc/client"
)

func newTail() *cobra.Command {
	var r remoteFlags
	var o tail.Options
	var since string
	var lines int
	cmd := &cobra.Command{
		Use:   "tail ROOM",
		Short: "Print the newest lines of a room, and new lines as they arrive",
		Long: `Print the lines of a room: the newest lines, and then new lines as they arrive. Each
line is printed once and in order, also if the server restarts or the connection is
lost. Only the lines of the room's history are printed: messages, actions, topics.

With --cursor the command writes the number of each line to FILE as soon as the line is
printed, and the next run continues after that line. The first run begins with the
oldest line that is kept, or as --since says. If the command is killed between these two
steps, also with kill -9, the next run prints one line again. No other line is printed
twice, and none is lost. After a power failure the last few lines may be printed again.
While a run uses FILE, a second run with the same FILE is refused.

FILE also identifies the history of the room. The command ends with status 1, and says
what to do, if the history is another one: the room was deleted and created again, it is
on another server, a backup was restored, or lines were imported.

While the server starts, the command waits for --timeout at most.

Exit status: 0 done, also after a signal; 1 failed; 2 wrong usage.`,
		Example: `  roomd tail lobby
  roomd tail lobby --since 1h --follow=false
  roomd tail dev --json | jq -r 'select(.type == "message") | .text'
  roomd tail ops --cursor /var/lib/shipper/ops --follow=false | shipper`,
		Args: usage.Args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if lines < 0 {
				return usage.New(cmd, fmt.Errorf(`--lines takes a number of 0 or more, not "%d"`, lines))
			}
			o.From = client.Newest(lines)
			if cmd.Flags().Changed("since") {
				if o.From, o.After, err = parseSince(since, time.Now()); err != nil {
					return usage.New(cmd, err)
				}
			} else if o.Cursor != "" && !cmd.Flags().Changed("lines") {
				o.From = client.After(0)
			}
			if o.Cursor == "-" {
				return usage.New(cmd, errors.New("--cursor takes the name of a file, not -; a file named - is ./-"))
			}
			if o.Cursor != "" {
				if err := r.refuseServerFile(o.Cursor); err != nil {
					return err
				}
			}
			ctx, stop := signalContext(cmd)
			defer stop()
			o.Out, o.Display = cmd.OutOrStdout(), progress.New(cmd.ErrOrStderr())
			return tail.Room(ctx, &r.Server, args[0], o)
		},
	}
	r.flags(cmd, true)
	cmd.ValidArgsFunction = r.completeRooms(1)
	f := cmd.Flags()
	f.IntVarP(&lines, "lines", "n", 10, "begin with the newest `N` lines")
	f.StringVar(&since, "since", "", "begin after this sequence number, or this long ago: `SEQ|1h`; 0: the oldest line that is kept")
	f.BoolVar(&o.JSON, "json", false, "print each line as a JSON object, as in the protocol")
	f.BoolVarP(&o.Follow, "follow", "f", true, "print new lines as they arrive; false: end when all lines are printed")
	f.StringVar(&o.Cursor, "cursor", "", "keep the number of the last printed line in `FILE`, and continue after it")
	usage.DurationVar(f, &o.Timeout, "timeout", time.Minute, "give up when the server is unreachable for this `TIME`, at the start and with --follow=false; 0: never")
	return cmd
}

// parseSince parses --since: a sequence number, or a time ago.
func parseSince(text string, now time.Time) (client.From, time.Time, error) {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		return client.After(seq), time.Time{}, nil
	}
	if d, err := value.ParseDuration(text); err == nil && d >= 0 {
		return client.After(0), now.Add(-d), nil
	}
	return client.From{}, time.Time{}, fmt.Errorf("--since %q is neither a sequence number (812) nor a time (90s, 1h, 30d)", text)
}
