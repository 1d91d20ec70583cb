package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"roomd/netsvc/client"
)

func newSend() *cobra.Command {
	var r remote
	var s sender
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

The server may take lines no faster than its limits.lines_per_second.

Exit status: 0 all lines are in the room (by default: on disk), 1 they are not,
and standard error says how many are, 2 wrong usage.`,
		Example: `  roomd send lobby the build is green
  roomd send dev --nick ci "$(git log -1 --oneline)"
  journalctl -fu nginx | roomd send ops --nick nginx
  roomd send dump < notes.txt`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("which room?"), cmd}
			}
			if len(args) == 1 && terminal(cmd.InOrStdin()) {
				fmt.Fprintln(cmd.ErrOrStderr(), "(each line is sent; Ctrl-D ends)")
			}
			ctx, stop := untilSignal(cmd)
			defer stop()
			c, err := r.dial(ctx)
			if err != nil {
				return err
			}
			if s.nick == "" {
				s.nick = ownNick()
			}
			s.room, err = c.Join(ctx, args[0], client.JoinOptions{Nick: s.nick, Password: r.password, Window: 256})
			if err != nil {
				return says(err)
			}
			defer s.room.Close()
			s.tell = newTeller(cmd.ErrOrStderr())
			in := cmd.InOrStdin()
			if len(args) > 1 {
				in = strings.NewReader(strings.Join(args[1:], " "))
			} else if f, ok := in.(*os.File); ok {
				if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
					s.size = st.Size()
				}
			}
			return says(s.run(ctx, in))
		},
	}
	r.flags(cmd, true)
	cmd.Flags().StringVar(&s.nick, "nick", "", "the `NAME` to speak under")
	cmd.Flags().DurationVar(&s.patience, "timeout", time.Minute, "give up when the server is out of reach for this long; 0: never")
	return cmd
}

// sender sends lines and keeps count of them.
type sender struct {
	nick     string
	patience time.Duration
	room     *client.Room
	tell     *teller
	size     int64 // of the input in bytes; 0: not known

	there, unsure int
}

// sending is a line on its way.
type sending struct {
	receipt *client.Receipt
	number  int   // of the line in the input
	upto    int64 // bytes of the input, this line included
}

// grace is for lines that are under way when sending is given up.
const grace = time.Second

// run sends all lines of in.
func (s *sender) run(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, giveUp) })
	defer stop()
	var watching sync.WaitGroup
	defer watching.Wait()
	aside, leave := context.WithCancel(ctx)
	defer leave()
	watching.Go(func() { watchOutage(aside, s.room, s.tell, s.patience, cancel) })

	lines, read := make(chan sending, 256), make(chan error, 1)
	go func() {
		read <- s.post(ctx, in, lines)
		close(lines)
	}()
	var first error // why not all are there
	fail := func(err error) {
		if first == nil {
			first = err
			cancel(err)
		}
	}
	for open := true; open; {
		var l sending
		select {
		case l, open = <-lines:
		case <-late.Done(): // who reads from a terminal may stay there
			open = false
		}
		if l.receipt == nil {
			continue
		}
		_, err := l.receipt.Wait(late)
		switch {
		case err == nil:
			s.there++
			s.tell.progress(func() string { return s.howFar(l.upto) })
		case errors.Is(err, client.ErrUnknown):
			s.unsure++
			fail(context.Cause(ctx))
		case ctx.Err() == nil:
			fail(fmt.Errorf("line %d: %w", l.number, says(err)))
		}
	}
	s.tell.clear()
	select {
	case err := <-read:
		if first == nil {
			first = err
		}
	default:
	}
	if first == nil {
		first = context.Cause(ctx)
	}
	switch {
	case first == nil || s.there+s.unsure == 0:
		return first
	case s.unsure > 0:
		return fmt.Errorf("%w\n%s in the room, %d may be, no more", first, are(s.there), s.unsure)
	}
	return fmt.Errorf("%w\n%s in the room, no more", first, are(s.there))
}

// post posts the lines of in.
func (s *sender) post(ctx context.Context, in io.Reader, lines chan<- sending) error {
	const longest = 1 << 20 // far above any server's limit, which it says itself
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, longest)
	number, upto := 0, int64(0)
	for scan.Scan() {
		number++
		upto += int64(len(scan.Bytes())) + 1
		l, err := s.room.Post(ctx, scan.Text())
		if errors.Is(err, client.ErrBlank) {
			continue
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		lines <- sending{l, number, upto}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("line %d: %w", number+1, err)
	}
	return nil
}

// howFar is what a person who waits wants to know.
func (s *sender) howFar(upto int64) string {
	text := fmt.Sprintf("%s in the room, %d/s", are(s.there), s.tell.rate(s.there))
	if s.size > 0 {
		text += fmt.Sprintf(", %d %%", min(100*upto/s.size, 100))
	}
	return text
}

func are(lines int) string {
	if lines == 1 {
		return "1 line is"
	}
	return fmt.Sprintf("%d lines are", lines)
}
