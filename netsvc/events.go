package netsvc

import (
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Happening is something that an operator may want to watch.
type Happening struct {
	Time   time.Time `json:"time"`
	Type   string    `json:"type"` // message, action, topic, notice, nick, join, leave, create, delete, restore, purge, rename, move, set, refuse, ban, mute, unban, reload, command
	Room   string    `json:"room,omitempty"`
	Member string    `json:"member,omitempty"` // the nick
	Remote string    `json:"remote,omitempty"`
	By     string    `json:"by,omitempty"`   // the operator
	Door   string    `json:"door,omitempty"` // the way that a command came in
	Cause  string    `json:"cause,omitempty"`
	Seq    uint64    `json:"seq,omitempty"`
	Text   string    `json:"text,omitempty"`
}

// Publish shows something that was done from outside this package to watchers.
func (s *Service) Publish(h Happening) { s.hub.publish(h) }

// watchBuffer bounds what a watcher may be behind; then it misses something,
// and is told how much.
const watchBuffer = 1024

// Watcher gets happenings until it is closed.
type Watcher struct {
	C <-chan Happening

	hub    *hub
	c      chan Happening
	want   func(*Happening) bool
	missed atomic.Uint64
}

// Missed is how many happenings the watcher was too slow for, since the last
// call.
func (w *Watcher) Missed() uint64 { return w.missed.Swap(0) }

// Close ends the watch. C is not closed.
func (w *Watcher) Close() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.all, w)
	w.hub.count.Store(int32(len(w.hub.all)))
}

// refusal publishes that somebody was not let in; room is empty for the master
// port.
func (s *Service) refusal(room string, addr netip.AddrPort, text string) {
	if s.hub.watched() {
		s.hub.publish(Happening{Type: "refuse", Room: room, Remote: addr.String(), Text: strings.TrimSpace(text)})
	}
}

// hub hands happenings to watchers. Nobody waits for a watcher.
type hub struct {
	count atomic.Int32 // of watchers, to be looked at before anything is built
	mu    sync.Mutex
	all   map[*Watcher]bool
}

// Watch begins to watch what want lets through. want is called with locks held:
// it must be quick and call nothing.
func (s *Service) Watch(want func(*Happening) bool) *Watcher {
	h := &s.hub
	c := make(chan Happening, watchBuffer)
	w := &Watcher{C: c, c: c, hub: h, want: want}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all == nil {
		h.all = make(map[*Watcher]bool)
	}
	h.all[w] = true
	h.count.Store(int32(len(h.all)))
	return w
}

// watched reports whether it is worth building a happening.
func (h *hub) watched() bool { return h.count.Load() > 0 }

func (h *hub) publish(e Happening) {
	if !h.watched() {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.all {
		if !w.want(&e) {
			continue
		}
		select {
		case w.c <- e:
		default:
			w.missed.Add(1)
		}
	}
}
