package transport

import (
	"net/netip"
	"slices"
)

// Rebinding is a change of the addresses that an endpoint listens on. Commit or Revert ends it. Its
// methods may be called by one goroutine at a time.
type Rebinding struct {
	engine     *Engine
	port       int
	keep       []*Listener
	added      []*Listener // are bound, and do not accept yet
	removed    []*Listener // are closed by CloseRemoved
	unlistened bool        // the removed ones do not listen: they conflict with the added ones
}

// Rebind begins to change the addresses of an endpoint, and its port, which may stay the same. It
// returns nil if there is nothing to change. lacking are the addresses that the endpoint does not
// listen on: Listen binds one. If one of them conflicts with an address that is removed, the port
// is closed for a moment: the backlog is admitted first, as by DrainAndClose.
func (e *Engine) Rebind(p *Endpoint, addrs []netip.Addr, port int) (b *Rebinding, lacking []netip.Addr) {
	b = &Rebinding{engine: e, port: port}
	for _, a := range addrs {
		i := slices.IndexFunc(p.Listeners, func(l *Listener) bool { return l.Addr == netip.AddrPortFrom(a, uint16(port)) })
		if i < 0 {
			lacking = append(lacking, a)
			continue
		}
		b.keep = append(b.keep, p.Listeners[i])
	}
	for _, l := range p.Listeners {
		if !slices.Contains(b.keep, l) {
			b.removed = append(b.removed, l)
		}
	}
	if len(lacking)+len(b.removed) == 0 {
		return nil, nil
	}
	if slices.ContainsFunc(b.removed, func(l *Listener) bool { return conflicts(l.Addr, lacking, port) }) {
		b.unlistened = true
		for _, l := range b.removed {
			l.unlisten()
		}
	}
	return b, lacking
}

// conflicts reports whether a listener's address and one of the others exclude each other, on a port.
func conflicts(l netip.AddrPort, addrs []netip.Addr, port int) bool {
	return int(l.Port()) == port && slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return a.Is4() == l.Addr().Is4() && (a.IsUnspecified() || l.Addr().IsUnspecified())
	})
}

// Listen binds an address. The error is as that of Engine.Listen.
func (b *Rebinding) Listen(a netip.Addr) error {
	l, err := b.engine.Listen(a, b.port)
	if err == nil {
		b.added = append(b.added, l)
	}
	return err
}

// Commit has open begin to accept on the new listeners, and returns all that the endpoint has now.
// CloseRemoved must follow.
func (b *Rebinding) Commit(open func(*Listener)) []*Listener {
	for _, l := range b.added {
		open(l)
	}
	return append(b.keep, b.added...)
}

// CloseRemoved closes the listeners that Commit has left out, as DrainAndClose does.
func (b *Rebinding) CloseRemoved() {
	for _, l := range b.removed {
		if b.unlistened {
			l.release()
		} else {
			l.DrainAndClose()
		}
	}
}

// Revert closes the new listeners. If the port was closed for them, the old ones listen again: then
// changed is true, open begins to accept on them, and now are all that the endpoint has, without
// those that cannot listen again, which failed gets.
func (b *Rebinding) Revert(open func(*Listener), failed func(*Listener, error)) (now []*Listener, changed bool) {
	for _, l := range b.added {
		l.Close()
	}
	if !b.unlistened {
		return nil, false
	}
	for _, l := range b.removed {
		again, err := l.relisten()
		if err != nil {
			failed(l, err)
			continue
		}
		b.keep = append(b.keep, again)
		open(again)
	}
	return b.keep, true
}
