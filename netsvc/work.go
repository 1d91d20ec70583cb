package netsvc

import (
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

// fromDisk reads what a member is to be shown. A few do at a time, each a page,
// in turn: the others' lines do not wait behind them.
func (s *Service) fromDisk(read func()) {
	s.readers <- struct{}{}
	defer func() { <-s.readers }()
	read()
}
