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
		Short: "Print the lines of a room as they come",
		Long: `Print the lines of a room: the newest, and then those that come, each once and in
order, also if the server is restarted or the connection breaks meanwhile. Only
what is in the room's history is printed: messages, actions, topics.

With --cursor the number of each line is put into FILE as soon as the line has
been written, and the next run goes on behind it (the first begins with the oldest
line that is kept, or as --since says). A program that is killed in the middle, also
with kill -9, prints the last line again when it is started again, if it was killed
between the two, and nothing worse: no other line is doubled, and none is lost. After
a power failure it may be the last few. A second run with the same FILE is refused
while the first goes on.

FILE also says which history the number is of. If the room is another one (a name
that was used again, another server), or its history may have gone back (a backup
was restored, lines were imported), tail ends with status 1 instead of leaving
lines out, and says what to do.

A server that is being started is waited for, for --timeout.

Exit status: 0 done (also when a signal ended it), 1 failed, 2 wrong usage.`,
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
				return usage.New(cmd, errors.New("--cursor takes a FILE, which is read and written: - is none (./- is a file named -)"))
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
	f.StringVar(&since, "since", "", "begin behind a sequence number, or a time ago: `SEQ|1h`; 0: the oldest line that is kept")
	f.BoolVar(&o.JSON, "json", false, "print one JSON object a line, as the protocol has it")
	f.BoolVarP(&o.Follow, "follow", "f", true, "go on with what comes; false: end when all has been printed")
	f.StringVar(&o.Cursor, "cursor", "", "remember in `FILE` how far we are, and go on from there")
	usage.DurationVar(f, &o.Timeout, "timeout", time.Minute, "give up when the server is out of reach for this long, at the start and with --follow=false; 0: never")
	return cmd
}

// parseSince reads where to begin: a sequence number, or how long ago.
func parseSince(text string, now time.Time) (client.From, time.Time, error) {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		return client.After(seq), time.Time{}, nil
	}
	if d, err := value.ParseDuration(text); err == nil && d >= 0 {
		return client.After(0), now.Add(-d), nil
	}
	return client.From{}, time.Time{}, fmt.Errorf("--since %q is neither a sequence number (812) nor a time (90s, 1h, 30d)", text)
}
