package netsvc

import (
	"context"
	"strings"
	"time"

	"roomd/netsvc/wire"
	"roomd/store"
)

// Lines reads a room's history: the newest n lines with after < Seq. Damaged
// blocks are left out and counted. ctx ends it.
func (s *Service) Lines(ctx context.Context, name string, after uint64, n int) (all []store.Line, damaged int, err error) {
	r, err := s.room(name)
	if err != nil {
		return nil, 0, err
	}
	upto := r.log.End().Seq
	first, count, err := s.newest(func(read func()) error { return s.fromDisk(ctx, read) }, r.id, upto, n)
	if err != nil {
		return nil, 0, err
	}
	if count < n { // there are no more, but perhaps damaged ones
		first = 0
	}
	damaged, err = s.eachLine(ctx, r, max(first, after), upto, func(l store.Line) { all = append(all, l) })
	return all, damaged, err
}

// eachLine calls fn with the lines of a room with after < Seq <= upto, the oldest
// first. Damaged blocks are left out and counted. ctx ends it.
func (s *Service) eachLine(ctx context.Context, r *Room, after, upto uint64, fn func(store.Line)) (damaged int, err error) {
	for more := after < upto; more && err == nil; {
		if ended := s.fromDisk(ctx, func() {
			var lines []store.Line
			left := 0
			lines, left, err = s.store.LinesDamaged(r.id, after, upto, pageBytes)
			damaged += left
			for _, l := range lines {
				fn(l)
				after = l.Seq
			}
			more = len(lines) > 0 && after < upto
		}); ended != nil {
			return damaged, ended
		}
	}
	return damaged, err
}

// Found is what a search finds in a room.
type Found struct {
	Lines   []store.Line // the newest of them, the oldest of those first
	Count   int          // of all
	Damaged int          // blocks that could not be read
}

// Search finds the lines of a room's history that hold the text, whatever its
// case, and returns the newest n of them. What has been found is returned with an
// error, too. ctx ends it.
func (s *Service) Search(ctx context.Context, name, text string, since time.Time, n int) (f Found, err error) {
	r, err := s.room(name)
	if err != nil {
		return f, err
	}
	text = wire.Fold(text)
	f.Damaged, err = s.eachLine(ctx, r, 0, r.log.End().Seq, func(l store.Line) {
		if l.Time.Before(since) || !strings.Contains(wire.Fold(l.Text), text) && !strings.Contains(wire.Fold(l.From), text) {
			return
		}
		f.Count++
		if f.Lines = append(f.Lines, l); len(f.Lines) >= 2*n { // no more are kept than twice as many
			f.Lines = append(f.Lines[:0], f.Lines[len(f.Lines)-n:]...)
		}
	})
	f.Lines = f.Lines[max(0, len(f.Lines)-n):]
	return f, err
}

// fromDisk reads a piece of the history: a page of lines, or as many blocks as the
// store counts at a time. A few goroutines do so at once, each of them a piece, in
// turn: nobody waits behind a member or an operator that asks for much, and the
// database can reuse its pages in between. Once ctx is done nothing is read.
func (s *Service) fromDisk(ctx context.Context, read func()) error {
	select {
	case s.readers <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.readers }()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.counters.pages.Add(1)
	read()
	return nil
}

// newest is the store's Newest in as many pieces as it takes, each in its turn.
func (s *Service) newest(turn func(read func()) error, room, upto uint64, n int) (after uint64, count int, err error) {
	after = upto
	for more := true; more && err == nil; {
		found := 0
		if err := turn(func() { after, found, more, err = s.store.Newest(room, after, n-count) }); err != nil {
			return 0, 0, err
		}
		count += found
	}
	return after, count, err
}

// UntilStop is a context that ends with ctx, and when the server begins to stop:
// what takes long is not to hold up the stop. end releases it.
func (s *Service) UntilStop(ctx context.Context) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.stop, func() {
		cancel(wire.Errorf(wire.CodeShuttingDown, "the server is stopping"))
	})
	return ctx, func() { stop(); cancel(nil) }
}
