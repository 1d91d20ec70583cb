package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"roomd/admin"
	"roomd/admin/term"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

func newTail() *cobra.Command {
	var r remote
	var t tailer
	var since, file string
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
		Args: exactly(1, 1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if lines < 0 {
				return usageError{fmt.Errorf(`--lines takes a number of 0 or more, not "%d"`, lines), cmd}
			}
			from := client.Newest(lines)
			if cmd.Flags().Changed("since") {
				if from, t.after, err = parseSince(since, time.Now()); err != nil {
					return usageError{err, cmd}
				}
			}
			if file == "-" {
				return usageError{errors.New("--cursor takes a FILE, which is read and written: - is none (./- is a file named -)"), cmd}
			}
			if file != "" {
				if err := r.isOwn(file); err != nil {
					return err
				}
				c, at, ok, failed := openCursor(file)
				if failed != nil {
					return failed
				}
				defer c.close()
				t.cursor = &c
				switch {
				case ok:
					from, t.after = client.Behind(at), time.Time{}
				case !cmd.Flags().Changed("since") && !cmd.Flags().Changed("lines"):
					from = client.After(0)
				}
				from = from.Strict()
				defer func() { err = otherHistory(file, err) }()
			}
			ctx, stop := untilSignal(cmd)
			defer stop()
			t.out = cmd.OutOrStdout()
			t.tell = newTeller(cmd.ErrOrStderr())
			room, err := r.join(ctx, t.tell, t.patience, args[0], client.JoinOptions{From: from})
			switch {
			case ctx.Err() != nil:
				return nil // a signal
			case err != nil:
				return err
			}
			defer room.Close()
			return says(t.run(ctx, room))
		},
	}
	r.flags(cmd, true)
	cmd.ValidArgsFunction = r.rooms(1)
	f := cmd.Flags()
	f.IntVarP(&lines, "lines", "n", 10, "begin with the newest `N` lines")
	f.StringVar(&since, "since", "", "begin behind a sequence number, or so long ago: `SEQ|1h`; 0: the oldest line that is kept")
	f.BoolVar(&t.asJSON, "json", false, "print one JSON object a line, as the protocol has it")
	f.BoolVarP(&t.follow, "follow", "f", true, "go on with what comes; false: end when all has been printed")
	f.StringVar(&file, "cursor", "", "remember in `FILE` how far we are, and go on from there")
	timeVar(f, &t.patience, "timeout", time.Minute, "give up when the server is out of reach for this long, at the start and with --follow=false; 0: never")
	return cmd
}

// tailer prints a room.
type tailer struct {
	out      io.Writer
	tell     *teller
	asJSON   bool
	follow   bool
	cursor   *cursorFile // nil: none
	after    time.Time   // lines before it are left out
	patience time.Duration
}

func (t *tailer) run(ctx context.Context, room *client.Room) error {
	asked := ctx
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	if t.follow {
		t.patience = 0
	}
	o := outage{tell: t.tell, patience: t.patience, giveUp: giveUp}
	defer o.over()
	printed, caughtUp := 0, false
	var line []byte
	for ev := range room.Events(ctx) {
		if ev.Type == client.Live {
			t.tell.clear()
			if caughtUp = true; !t.follow {
				return nil
			}
		}
		o.event(ev)
		if !ev.Stored() || ev.Time.Before(t.after) {
			continue
		}
		line = t.render(line[:0], ev)
		if !t.asJSON && isTerminal(t.out) {
			text := term.Folded(t.out, strings.TrimSuffix(string(line), "\n"), len("15:04 "))
			line = append(append(line[:0], text...), '\n')
		}
		if _, err := t.out.Write(line); err != nil {
			return err
		}
		if t.cursor != nil {
			if err := t.cursor.set(ev.Cursor()); err != nil {
				return err
			}
		}
		if printed++; !caughtUp && !isTerminal(t.out) {
			t.tell.progress(func() string { return fmt.Sprintf("%s, %d/s", plural(printed, "line"), t.tell.rate(printed)) })
		}
	}
	t.tell.clear()
	switch {
	case asked.Err() != nil:
		return nil // a signal
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return room.Err()
}

// otherHistory says what to do when the cursor in a file is not one in the history
// that there is.
func otherHistory(file string, err error) error {
	var refusal *client.Error
	if !errors.As(err, &refusal) || refusal.Code != "wrong-history" {
		return err
	}
	return fmt.Errorf("the cursor in %s cannot be used: %w\nremove the file to begin with the oldest line that is kept, or, with --since SEQ|1h, elsewhere", harmless(file), says(err))
}

// render is a line as it is printed, without anything that could harm a
// terminal.
func (t *tailer) render(b []byte, ev client.Event) []byte {
	w := wire.Event{Seq: ev.Seq, Time: ev.Time, Type: wire.Type(ev.Type), From: harmless(ev.From), Text: harmless(ev.Text)}
	if t.asJSON {
		return w.AppendJSON(b)
	}
	b = ev.Time.Local().AppendFormat(b, "2006-01-02 15:04:05 ")
	return w.AppendText(b)
}

// parseSince reads where to begin: a sequence number, or how long ago.
func parseSince(text string, now time.Time) (client.From, time.Time, error) {
	if seq, err := strconv.ParseUint(text, 10, 64); err == nil {
		return client.After(seq), time.Time{}, nil
	}
	if d, err := admin.ParseDuration(text); err == nil && d >= 0 {
		return client.After(0), now.Add(-d), nil
	}
	return client.From{}, time.Time{}, fmt.Errorf("--since %q is neither a sequence number (812) nor a time (90s, 1h, 30d)", text)
}
