package netsvc

import (
	"fmt"
	"net/netip"
	"time"

	"roomd/netsvc/wire"
	"roomd/store"
)

// loadBans takes the bans of the store into memory, where every join looks.
func (s *Service) loadBans() error {
	bans, err := s.store.Bans(time.Now())
	if err != nil {
		return fmt.Errorf("read the bans: %w", err)
	}
	s.bans.Store(&bans)
	return nil
}

// banned finds the ban, or the mute, that holds for somebody in a room. An
// empty nick is not looked at.
func (s *Service) banned(mute bool, room uint64, addr netip.Addr, nick string) *store.Ban {
	all := s.bans.Load()
	if all == nil || len(*all) == 0 {
		return nil
	}
	now := time.Now()
	for i := range *all {
		b := &(*all)[i]
		switch {
		case b.Mute != mute, b.Room != 0 && b.Room != room, !b.Until.IsZero() && now.After(b.Until):
		case b.Addr != "" && !covers(b.Addr, addr), b.Nick != "" && b.Nick != nick:
		default:
			return b
		}
	}
	return nil
}

// covers reports whether an address is the one of a ban, or in its prefix.
func covers(ban string, a netip.Addr) bool {
	if p, err := netip.ParsePrefix(ban); err == nil {
		return p.Contains(a.Unmap())
	}
	b, err := netip.ParseAddr(ban)
	return err == nil && b.Unmap() == a.Unmap().WithZone("")
}

// banText is what who is banned is told.
func banText(b *store.Ban) string {
	text := "you are banned"
	if !b.Until.IsZero() {
		text += " until " + b.Until.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if b.Why != "" {
		text += ": " + wire.CleanString(b.Why)
	}
	return text
}

// Ban keeps a ban or a mute, on disk before it returns. Members that a ban
// holds for are ended; their number is returned.
func (s *Service) Ban(b store.Ban) (store.Ban, int, error) {
	defer s.alter()()
	if b.Addr == "" && b.Nick == "" {
		return b, 0, wire.Errorf(wire.CodeBadRequest, "a ban is of an address, a prefix or a nick")
	}
	b, err := s.store.AddBan(b)
	if err != nil {
		return b, 0, storeError(fmt.Errorf("keep the ban: %w", err))
	}
	if err := s.loadBans(); err != nil {
		return b, 0, err
	}
	kind := "ban"
	if b.Mute {
		kind = "mute"
	}
	s.hub.publish(Happening{Type: kind, Room: s.RoomName(b.Room), Remote: b.Addr, Member: b.Nick, Text: b.Why})
	n := 0
	for _, r := range s.all() {
		for _, m := range r.present() {
			hit := s.banned(b.Mute, r.id, m.remote.Addr(), m.key())
			switch {
			case hit == nil || hit.ID != b.ID:
			case b.Mute:
				m.mutedBy.Store(&b)
				n++
			default:
				m.kick(banText(&b))
				n++
			}
		}
	}
	return b, n, nil
}

// Unban lifts a ban or a mute.
func (s *Service) Unban(id uint64) error {
	defer s.alter()()
	if err := s.store.RemoveBan(id); err != nil {
		return err
	}
	for _, r := range s.all() {
		for _, m := range r.present() {
			if b := m.mutedBy.Load(); b != nil && b.ID == id {
				m.mutedBy.Store(nil)
			}
		}
	}
	s.hub.publish(Happening{Type: "unban", Text: fmt.Sprint(id)})
	return s.loadBans()
}

// Bans are those that hold now.
func (s *Service) Bans() []store.Ban {
	now := time.Now()
	var bans []store.Ban
	for _, b := range *s.bans.Load() {
		if b.Until.IsZero() || now.Before(b.Until) {
			bans = append(bans, b)
		}
	}
	return bans
}

// silenced is the mute that holds for the member now, or nil.
func (m *Member) silenced() *store.Ban {
	b := m.mutedBy.Load()
	if b != nil && !b.Until.IsZero() && time.Now().After(b.Until) {
		m.mutedBy.Store(nil)
		return nil
	}
	return b
}
