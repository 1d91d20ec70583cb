package netsvc

import (
	"context"
	"time"

	"roomd/netsvc/wire"
)

// What a command asks for may be worth many lines. Its price is about what it
// costs in CPU time, in lines: a page of the history, or of a list of members, is
// one.
const (
	pageLines   = 256 // of the history; most take 60 bytes
	pageMembers = 64
)

// costs is what a command costs beyond being a line.
func (m *Member) costs(line []byte) float64 {
	c, err := wire.ParseCommand(string(line))
	if err != nil {
		return 0
	}
	r := m.room
	switch c.Do {
	case wire.Who:
		r.mu.Lock()
		defer r.mu.Unlock()
		return float64(len(r.members)) / pageMembers
	case wire.History, wire.Since:
		kept, err := r.svc.store.Stat(r.id)
		if err != nil {
			return 0
		}
		lines := kept.Lines
		switch end := r.log.End().Seq; {
		case c.Do == wire.Since && c.Seq < end:
			lines = min(lines, end-c.Seq)
		case c.Do == wire.Since:
			lines = 0
		case c.N < 0:
			lines = min(lines, uint64(r.replay()))
		default:
			lines = min(lines, uint64(c.N))
		}
		return float64(lines) / pageLines
	}
	return 0
}

// addressMayGoOn waits until the member's address may ask for so much work: of
// all its members together byAddress times what one of them may. False says that
// the member has ended, or that the server is to stand still.
func (m *Member) addressMayGoOn(work float64) bool {
	svc := m.room.svc
	o := svc.opts()
	if work <= 0 || !o.slows() || o.unhurried(m.remote.Addr()) {
		return true
	}
	rate, burst := o.LinesPerSecond*byAddress, float64(o.Burst*byAddress)
	for {
		wait := svc.work.take(time.Now(), m.remote.Addr(), min(work, burst), rate, burst, 0)
		if wait == 0 {
			return true
		}
		if m.hasEnded() || svc.still.frozen.Load() {
			return false
		}
		m.slowed.Store(true)
		m.pause(wait)
		m.slowed.Store(false)
	}
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
