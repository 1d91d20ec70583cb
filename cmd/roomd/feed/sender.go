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
	// Nick of the sender. Empty: that of remote.NickVar, then a unique one.
	Nick string
	// Timeout bounds the time in which the server is unreachable or takes no line. 0: no bound.
	Timeout time.Duration
	// Long is one of LongPolicies, for lines that are too long.
	Long string
	// Display shows outages, refusals and progress.
	Display *progress.Display
}

// Send sends all lines of an input to a room, and returns when they are stored: by default on
// disk. The error says which lines are not in the room and why; it is safe for a terminal.
// After ctx is done, Send waits one more second for the lines in flight.
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
		err = join(remote.UniqueNick(usual)) // the person is chatting under that nick
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

// sender sends lines and counts them. The goroutine of Send owns it.
type sender struct {
	o       Options
	display *progress.Display
	room    *client.Room
	size    int64 // of the input in bytes; 0: not known

	stored    int         // number of lines in the room
	uncertain lineRanges  // lines that may be in the room
	truncated lineRanges  // lines in the room without their end
	unsent    unsentLines // lines that were not sent

	queue    []entry // lines of the input that are not sent yet
	requeued int     // number of refused lines at the front of queue
	inFlight []inFlightLine
	window   window
	refusing refusal
}

// inFlightLine is a line that is sent and has no receipt yet.
type inFlightLine struct {
	entry
	receipt *client.Receipt
	since   time.Time
}

const (
	minRetry     = 100 * time.Millisecond // after a refused line
	maxRetry     = time.Second            // between attempts, at most
	drainTimeout = time.Second            // for the lines in flight at the end
)

// run sends all lines of in. It waits while lines are refused for now, and skips lines that
// cannot be sent.
func (s *sender) run(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// drained is done drainTimeout after ctx, for the lines in flight.
	drained, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drainTimeout, giveUp) })
	defer stop()
	var watching sync.WaitGroup
	defer watching.Wait()
	watch, stopWatch := context.WithCancel(ctx)
	defer stopWatch()
	outage := remote.Outage{Display: s.display, Timeout: s.o.Timeout, GiveUp: cancel}
	watching.Go(func() { outage.Watch(watch, s.room) })

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
		case len(s.queue) > 0: // the room refuses lines
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
			if err := s.awaitOldest(drained); err != nil {
				cancel(err)
			}
		case <-again:
		case <-ctx.Done():
		}
	}
	cause := context.Cause(ctx)
	for len(s.inFlight) > 0 {
		s.awaitOldest(drained) // cause is known
	}
	s.display.Clear()
	if !open {
		if err := <-read; cause == nil {
			cause = err
		}
	}
	return s.result(cause)
}

// post sends queued lines until the window is full.
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

// canPost reports whether another line may be sent. While the room refuses lines, one line is
// tried at a time, the first refused one.
func (s *sender) canPost() bool {
	if m := s.refusing; !m.since.IsZero() && !m.expired {
		return len(s.inFlight) == 0 && !time.Now().Before(m.retryAt)
	}
	return len(s.inFlight) < s.window.size
}

// awaitOldest waits for the receipt of the oldest line in flight, and counts the line. After an
// error no further line can be sent.
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

// temporary reports whether the server may accept a refused line later.
func temporary(err error) bool {
	var refusal *client.Error
	return errors.Is(err, client.ErrRefused) || client.IsTemporary(err) || errors.As(err, &refusal) && refusal.Code == client.Denied // muted, read-only
}
