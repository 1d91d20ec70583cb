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
	// Timeout is how long a server that is out of reach, or takes no line, is waited
	// for. 0: without end.
	Timeout time.Duration
	// Long is one of LongPolicies, for lines that are too long.
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
		s.room, err = server.Join(ctx, o.Display, o.Timeout, room, client.JoinOptions{Nick: nick, Window: maxWindow})
		return err
	}
	err := join(cmp.Or(o.Nick, usual, remote.UniqueNick(remote.LoginNick())))
	var refusal *client.Error
	if o.Nick == "" && usual != "" && errors.As(err, &refusal) && refusal.Code == client.Exists {
		err = join(remote.UniqueNick(usual)) // the person chats under it meanwhile
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

	stored    int         // lines that are in the room
	uncertain lineRanges  // those that may be
	truncated lineRanges  // those of which only the beginning is there
	unsent    unsentLines // those that were not sent

	queue    []entry // from the input, and not on their way
	requeued int     // of them, those at the front that were refused since one went out
	inFlight []inFlightLine
	window   window
	refusing refusal
}

// inFlightLine is a line on its way.
type inFlightLine struct {
	entry
	receipt *client.Receipt
	since   time.Time
}

const (
	minRetry     = 100 * time.Millisecond // after a line was refused
	maxRetry     = time.Second            // between tries, at most
	drainTimeout = time.Second            // for lines that are under way when sending is given up
)

// run sends all lines of in. It waits for what may pass, and goes on behind a line
// that cannot be sent.
func (s *sender) run(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drainTimeout, giveUp) })
	defer stop()
	var watching sync.WaitGroup
	defer watching.Wait()
	aside, leave := context.WithCancel(ctx)
	defer leave()
	outage := remote.Outage{Display: s.display, Timeout: s.o.Timeout, GiveUp: cancel}
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
	s.window.size = initialWindow
	open, done := true, false
	for !done && ctx.Err() == nil {
		if err := s.post(ctx); err != nil {
			cancel(err)
			break
		}
		var next <-chan entry
		if open && len(s.queue) == 0 && len(s.inFlight) < s.window.size {
			next = lines
		}
		var oldest <-chan struct{}
		var again <-chan time.Time
		switch {
		case len(s.inFlight) > 0:
			oldest = s.inFlight[0].receipt.Done()
		case len(s.queue) > 0: // it is refused for now
			again = time.After(time.Until(s.refusing.retryAt))
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
			if err := s.awaitOldest(late); err != nil {
				cancel(err)
			}
		case <-again:
		case <-ctx.Done():
		}
	}
	why := context.Cause(ctx)
	for len(s.inFlight) > 0 {
		s.awaitOldest(late) // why is known
	}
	s.display.Clear()
	if !open {
		if err := <-read; why == nil {
			why = err
		}
	}
	return s.result(why)
}

// post sends what waits, as much as may be under way.
func (s *sender) post(ctx context.Context) error {
	for len(s.queue) > 0 && s.canPost() {
		e := s.queue[0]
		if e.err != nil && s.o.Long == "fail" {
			return fmt.Errorf("line %d: not sent: %w", e.number, e.err)
		}
		var receipt *client.Receipt
		if e.err == nil {
			var err error
			receipt, err = s.room.Post(ctx, e.text)
			if err != nil && !errors.Is(err, client.ErrBlank) {
				return remote.CleanError(err)
			}
		} else {
			s.recordUnsent(e.number, e.err)
		}
		s.queue, s.requeued = s.queue[1:], 0
		if receipt != nil {
			s.inFlight = append(s.inFlight, inFlightLine{e, receipt, time.Now()})
		}
	}
	return nil
}

// canPost reports whether another line may go out. While the room takes none, one is
// tried at a time: what was refused comes first.
func (s *sender) canPost() bool {
	if m := s.refusing; !m.since.IsZero() && !m.expired {
		return len(s.inFlight) == 0 && !time.Now().Before(m.retryAt)
	}
	return len(s.inFlight) < s.window.size
}

// awaitOldest waits for the line that went out first and accounts for it. The error
// is why no other can follow.
func (s *sender) awaitOldest(ctx context.Context) error {
	l := s.inFlight[0]
	s.inFlight = s.inFlight[1:]
	_, err := l.receipt.Wait(ctx)
	switch {
	case err == nil:
		s.stored++
		if l.truncated {
			s.truncated.add(l.number)
		}
		s.refusing = refusal{}
		s.window.observe(time.Since(l.since))
		s.display.Update(func() string { return s.progressText(l.offset) })
		return nil
	case errors.Is(err, client.ErrOutcomeUnknown):
		s.uncertain.add(l.number)
		return remote.CleanError(err)
	case s.room.Err() != nil || ctx.Err() != nil:
		s.unsent.add(l.number, "")
		return remote.CleanError(err)
	case !temporary(err):
		s.recordUnsent(l.number, err)
		return nil
	}
	now := time.Now()
	m := &s.refusing
	if m.since.IsZero() {
		*m = refusal{since: now, pause: minRetry}
		s.display.Println("line %d: %s; trying again", l.number, causeText(err))
	} else if s.o.Timeout > 0 && now.Sub(m.since) > s.o.Timeout {
		m.expired = true
	}
	if m.expired {
		s.recordUnsent(l.number, err)
		return nil
	}
	if m.retryAt.Before(now) {
		m.retryAt = now.Add(m.pause)
		m.pause = min(2*m.pause, maxRetry)
	}
	s.queue = slices.Insert(s.queue, s.requeued, l.entry)
	s.requeued++
	return nil
}

// temporary reports whether the server may take a line later that it has refused.
func temporary(err error) bool {
	var refusal *client.Error
	return errors.Is(err, client.ErrRefused) || client.IsTemporary(err) || errors.As(err, &refusal) && refusal.Code == client.Denied // muted, read-only
}
