package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"roomd/cmd/roomd/progress"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/client"
)

// Options say how a feed is sent.
type Options struct {
	// Nick to speak under. Empty: that of remote.NickVar, else one that is made up.
	Nick string
	// Patience is how long a server that is out of reach, or takes no line, is waited
	// for. 0: without end.
	Patience time.Duration
	// Long is one of Ways, for lines that are too long.
	Long string
	// Display is told of outages, of refusals and of how much is done.
	Display *progress.Display
}

// Send sends all lines of an input to a room and returns when they are there: by
// default on disk. The error says which lines are not in the room and why; it is fit
// for a terminal. After ctx is done it waits for a second for lines that are under way.
func Send(ctx context.Context, server *remote.Server, room string, in io.Reader, o Options) error {
	s := sender{o: o, display: o.Display}
	usual := os.Getenv(remote.NickVar)
	join := func(nick string) (err error) {
		s.room, err = server.Join(ctx, o.Display, o.Patience, room, client.JoinOptions{Nick: nick, Window: mostUnderWay})
		return err
	}
	err := join(cmp.Or(o.Nick, usual, remote.Unique(remote.Login())))
	var refusal *client.Error
	if o.Nick == "" && usual != "" && errors.As(err, &refusal) && refusal.Code == client.Exists {
		err = join(remote.Unique(usual)) // the person chats under it meanwhile
	}
	if err != nil {
		return err
	}
	defer s.room.Close()
	if f, ok := in.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			s.size = st.Size()
		}
	}
	return remote.CleanError(s.run(ctx, in))
}

// sender sends lines and keeps count of them. It is owned by the goroutine of Send.
type sender struct {
	o       Options
	display *progress.Display
	room    *client.Room
	size    int64 // of the input in bytes; 0: not known

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
	outage := remote.Outage{Display: s.display, Patience: s.o.Patience, GiveUp: cancel}
	watching.Go(func() { outage.Watch(aside, s.room) })

	lines, read := make(chan entry), make(chan error, 1)
	go func() { // a read from a terminal may never return
		defer close(lines)
		read <- newSource(in, s.o.Long, s.room.LineBytes).each(func(e entry) bool {
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
	s.display.Clear()
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
		if e.why != nil && s.o.Long == "fail" {
			return fmt.Errorf("line %d: not sent: %w", e.number, e.why)
		}
		var receipt *client.Receipt
		if e.why == nil {
			var err error
			receipt, err = s.room.Post(ctx, e.text)
			if err != nil && !errors.Is(err, client.ErrBlank) {
				return remote.CleanError(err)
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
		s.display.Show(func() string { return s.howFar(l.upto) })
		return nil
	case errors.Is(err, client.ErrUnknown):
		s.unsure.add(l.number)
		return remote.CleanError(err)
	case s.room.Err() != nil || ctx.Err() != nil:
		s.lost.add(l.number, "")
		return remote.CleanError(err)
	case !passes(err):
		s.lose(l.number, err)
		return nil
	}
	now := time.Now()
	m := &s.mute
	if m.since.IsZero() {
		*m = mute{since: now, pause: firstTry}
		s.display.Say("line %d: %s; trying again", l.number, reasonOf(err))
	} else if s.o.Patience > 0 && now.Sub(m.since) > s.o.Patience {
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
	return errors.Is(err, client.ErrRefused) || client.MayPass(err) || errors.As(err, &refusal) && refusal.Code == client.Denied // muted, read-only
}
