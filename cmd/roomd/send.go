package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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
				return usageError{errors.New("which room?"), cmd}
			}
			if !slices.Contains(longWays, s.long) {
				return usageError{fmt.Errorf("--long %q is none of %s", s.long, strings.Join(longWays, ", ")), cmd}
			}
			if len(args) == 1 && terminal(cmd.InOrStdin()) {
				fmt.Fprintln(cmd.ErrOrStderr(), "(each line is sent; Ctrl-D ends)")
			}
			ctx, stop := untilSignal(cmd)
			defer stop()
			s.tell = newTeller(cmd.ErrOrStderr())
			usual := os.Getenv(nickVar)
			join := func(nick string) (err error) {
				s.room, err = r.join(ctx, s.tell, s.patience, args[0], client.JoinOptions{Nick: nick, Window: mostWindow})
				return err
			}
			err := join(cmp.Or(s.nick, usual, ownNick(login())))
			var refusal *client.Error
			if s.nick == "" && usual != "" && errors.As(err, &refusal) && refusal.Code == "exists" {
				err = join(ownNick(usual)) // it chats meanwhile
			}
			if err != nil {
				return err
			}
			defer s.room.Close()
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
	cmd.ValidArgsFunction = r.rooms(1)
	cmd.Flags().StringVar(&s.nick, "nick", "", "the `NAME` to speak under; default: "+nickVar+", else one that is made up")
	timeVar(cmd.Flags(), &s.patience, "timeout", time.Minute, "give up when the server is out of reach, or takes no line, for this long; 0: never")
	cmd.Flags().StringVar(&s.long, "long", "skip", "a line that is too long for the server: `skip|cut|split|fail`")
	return cmd
}

// sender sends lines and keeps count of them. It is owned by run.
type sender struct {
	nick     string
	patience time.Duration // 0: without end
	long     string        // of longWays
	room     *client.Room
	tell     *teller
	size     int64 // of the input in bytes; 0: not known

	there  int     // lines that are in the room
	unsure spans   // those that may be
	cut    spans   // those of which only the beginning is there
	lost   reasons // those that were not sent

	queue  []entry // from the input, and not on their way
	back   int     // of them, those at the front that were refused since one went out
	under  []sending
	window window
	mute   mute
}

// sending is a line on its way.
type sending struct {
	entry
	receipt *client.Receipt
	since   time.Time
}

// mute is a time in which the room takes no line: the member is muted, the room
// or the database is read-only, the disk is full.
type mute struct {
	since time.Time // zero: the room takes lines
	next  time.Time // when a line is tried again
	pause time.Duration
	over  bool // it has lasted for longer than the patience: no line waits for its end
}

const (
	firstTry = 100 * time.Millisecond // after a line was refused
	lastTry  = time.Second            // between tries, at most
	grace    = time.Second            // for lines that are under way when sending is given up
)

// run sends all lines of in. It waits for what may pass, and goes on behind a line
// that cannot be sent.
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

	lines, read := make(chan entry), make(chan error, 1)
	go func() { // whoever reads from a terminal may stay there
		defer close(lines)
		read <- newFeed(in, s.long, s.room.LineBytes).each(func(e entry) bool {
			select {
			case lines <- e:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	s.window.size = firstWindow
	open, done := true, false
	for !done && ctx.Err() == nil {
		if err := s.post(ctx); err != nil {
			cancel(err)
			break
		}
		var next <-chan entry
		if open && len(s.queue) == 0 && len(s.under) < s.window.size {
			next = lines
		}
		var oldest <-chan struct{}
		var again <-chan time.Time
		switch {
		case len(s.under) > 0:
			oldest = s.under[0].receipt.Done()
		case len(s.queue) > 0: // it is refused for now
			again = time.After(time.Until(s.mute.next))
		case !open:
			done = true
			continue
		}
		select {
		case e, ok := <-next:
			if open = ok; ok {
				s.queue = append(s.queue, e)
			}
		case <-oldest:
			if err := s.arrived(late); err != nil {
				cancel(err)
			}
		case <-again:
		case <-ctx.Done():
		}
	}
	why := context.Cause(ctx)
	for len(s.under) > 0 {
		s.arrived(late) // why is known
	}
	s.tell.clear()
	if !open {
		if err := <-read; why == nil {
			why = err
		}
	}
	return s.verdict(why)
}

// post sends what waits, as much as may be under way.
func (s *sender) post(ctx context.Context) error {
	for len(s.queue) > 0 && s.may() {
		e := s.queue[0]
		if e.why != nil && s.long == "fail" {
			return fmt.Errorf("line %d: %w", e.number, e.why)
		}
		var receipt *client.Receipt
		if e.why == nil {
			var err error
			receipt, err = s.room.Post(ctx, e.text)
			if err != nil && !errors.Is(err, client.ErrBlank) {
				return says(err)
			}
		} else {
			s.lose(e.number, e.why)
		}
		s.queue, s.back = s.queue[1:], 0
		if receipt != nil {
			s.under = append(s.under, sending{e, receipt, time.Now()})
		}
	}
	return nil
}

// may reports whether another line may go out. While the room takes none, one is
// tried at a time: what was refused comes first.
func (s *sender) may() bool {
	if m := s.mute; !m.since.IsZero() && !m.over {
		return len(s.under) == 0 && !time.Now().Before(m.next)
	}
	return len(s.under) < s.window.size
}

// arrived waits for the line that went out first and accounts for it. The error
// is why no other can follow.
func (s *sender) arrived(ctx context.Context) error {
	l := s.under[0]
	s.under = s.under[1:]
	_, err := l.receipt.Wait(ctx)
	switch {
	case err == nil:
		s.there++
		if l.cut {
			s.cut.add(l.number)
		}
		s.mute = mute{}
		s.window.took(time.Since(l.since))
		s.tell.progress(func() string { return s.howFar(l.upto) })
		return nil
	case errors.Is(err, client.ErrUnknown):
		s.unsure.add(l.number)
		return says(err)
	case s.room.Err() != nil || ctx.Err() != nil:
		s.lose(l.number, errLeft)
		return says(err)
	case !passes(err):
		s.lose(l.number, err)
		return nil
	}
	now := time.Now()
	m := &s.mute
	if m.since.IsZero() {
		*m = mute{since: now, pause: firstTry}
		s.tell.say("line %d: %s; trying again", l.number, reasonOf(err))
	} else if s.patience > 0 && now.Sub(m.since) > s.patience {
		m.over = true
	}
	if m.over {
		s.lose(l.number, err)
		return nil
	}
	if m.next.Before(now) {
		m.next = now.Add(m.pause)
		m.pause = min(2*m.pause, lastTry)
	}
	s.queue = slices.Insert(s.queue, s.back, l.entry)
	s.back++
	return nil
}

// passes reports whether the server may take a line later that it has refused.
func passes(err error) bool {
	var refusal *client.Error
	return errors.Is(err, client.ErrRefused) || client.MayPass(err) || errors.As(err, &refusal) && refusal.Code == "denied" // muted, read-only
}

var errLeft = errors.New("not sent")

// lose notes a line that is not sent. While a feed goes on, each new reason is
// said at once.
func (s *sender) lose(number int, err error) {
	why := reasonOf(err)
	if r, fresh := s.lost.add(number, why); fresh && time.Since(s.tell.began) > time.Second {
		r.told = true
		s.tell.say("line %d: not sent: %s", number, why)
	}
}

// reasonOf is why a line was not sent.
func reasonOf(err error) string { return strings.TrimPrefix(says(err).Error(), "not sent: ") }

// verdict says which lines are not in the room as they should be, if there are
// any. why is why it ended before the end of the input.
func (s *sender) verdict(why error) error {
	if len(s.cut) > 0 {
		s.tell.say("%v: cut", s.cut)
	}
	if why == nil && len(s.lost) == 0 {
		return nil
	}
	var text strings.Builder
	missing := 0
	for _, e := range s.queue {
		s.lost.add(e.number, errLeft.Error())
	}
	for _, r := range s.lost {
		n := r.lines.count()
		switch missing += n; {
		case r.told && n == 1: // and there is nothing to add
		case r.why == errLeft.Error():
			fmt.Fprintf(&text, "%v: not sent\n", r.lines)
		default:
			fmt.Fprintf(&text, "%v: not sent: %s\n", r.lines, r.why)
		}
	}
	if n := s.unsure.count(); n > 0 {
		fmt.Fprintf(&text, "%v: in the room, or not\n", s.unsure)
	}
	fmt.Fprintf(&text, "%s in the room", are(s.there))
	if why == nil {
		return fmt.Errorf("%s, %d not", &text, missing)
	}
	return fmt.Errorf("%w\n%s, no more", why, &text)
}

// window is how many lines may be under way: fewer where the server takes them
// slowly. What is refused for now is tried again behind what was under way.
type window struct {
	size  int
	least time.Duration // from the sending to the arrival
}

const (
	firstWindow = 16
	mostWindow  = 256
	slowly      = 100 * time.Millisecond // beyond the least
)

// took learns from a line that has arrived.
func (w *window) took(d time.Duration) {
	if w.least == 0 || d < w.least {
		w.least = d
	}
	if d > w.least+slowly {
		w.size = max(w.size/2, 1)
	} else {
		w.size = min(w.size+1, mostWindow)
	}
	w.least += (d - w.least) / 64 // the way may have become longer
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
