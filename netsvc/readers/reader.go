package readers

import (
	"math"
	"slices"
	"sync"

	"roomd/store"
)

// Output is the conn of a session: see transport.Conn.
type Output interface {
	OnWire(written uint32) uint32
	Unacked() (n uint32, ok bool)
}

// Reader is the client of a session as a reader of rooms. Any goroutine may call its methods, unless it
// is said otherwise.
type Reader struct {
	// Set by New, then read-only.
	key string
	all *Registry
	out Output

	company *company // guarded by Registry.mu; nil: none, as most have it

	mu     sync.Mutex // guards what follows
	places []place
	marks  *marks // nil: everything that was written is acknowledged
	wrote  uint32 // bytes, as of the newest call of Wrote
	turn   uint16 // the place that was written for last
	over   bool   // the conn is not the reader's any more
}

// company is what a reader has to do with others. Registry.mu guards it.
type company struct {
	next  *Reader       // an older one with the same key
	ended chan struct{} // closed by End; nil: Ending was not called
	alias string        // a key under which its places are saved, too; empty: none
}

// alone is no company. It is never written to.
var alone company

// others returns the company of a reader, to read it. Registry.mu is held.
func (r *Reader) others() *company {
	if r.company == nil {
		return &alone
	}
	return r.company
}

// join returns the company of a reader, to change it. Registry.mu is held.
func (r *Reader) join() *company {
	if r.company == nil {
		r.company = new(company)
	}
	return r.company
}

// place is how far a reader has got in a room: sequence numbers of lines.
type place struct {
	room   uint64
	acked  uint64 // the client has the lines up to here
	marked uint64 // they are written, or have a mark
	saved  uint64
	begins bool // what it gets first is not written yet: the end of the log is no place of it
	taken  bool // a newer session goes on from here, and nothing was acknowledged since
}

// none is no sequence number: nothing is saved.
const none = math.MaxUint64

// Key is what the reader is known by.
func (r *Reader) Key() string { return r.key }

// find returns the place in a room, or nil. mu is held.
func (r *Reader) find(room uint64) *place {
	n := len(r.places)
	for i := range n {
		if i += int(r.turn); i >= n {
			i -= n
		}
		if r.places[i].room == room {
			r.turn = uint16(i)
			return &r.places[i]
		}
	}
	return nil
}

// Enter begins a place: the client has the lines up to acked, and gets at first those after it, or what
// is left of them, until Begin. If the reader has a place in the room already it goes on from there.
func (r *Reader) Enter(room, acked uint64) {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	r.mu.Lock()
	if p := r.find(room); p != nil {
		p.begins = true
	} else {
		if r.places == nil {
			r.places = make([]place, 0, 1)
		}
		r.places = append(r.places, place{room: room, acked: acked, marked: acked, saved: none, begins: true})
	}
	r.mu.Unlock()
	r.all.saveLocked(r)
}

// Begin says that everything is written, or waits to be, that the client gets first in a room.
func (r *Reader) Begin(room uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.find(room); p != nil {
		p.begins = false
	}
}

// Wrote says what was written so far: bytes, modulo 1 << 32, and that those and unsent ones more hold
// the lines of a room up to seq, or will hold them. With old the lines are of a replay, and seq is the
// last one of it so far. The caller has the write lock of the conn.
func (r *Reader) Wrote(room, seq uint64, old bool, bytes uint32, unsent int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrote = bytes
	k := r.marks
	if k != nil && k.due.room != 0 {
		r.promote()
	}
	p := r.find(room)
	if p == nil || seq <= p.marked || p.begins && !old {
		return
	}
	if unsent > 0 && k != nil && k.due.room != 0 {
		return // its bytes end where those of the due mark do, or behind it: the next write has a mark for it
	}
	if k == nil {
		k = &marks{}
		r.marks = k
		r.all.wake()
	}
	p.marked = seq
	if unsent > 0 {
		k.due = mark{bytes + uint32(unsent), room, seq}
		return
	}
	k.add(mark{r.out.OnWire(bytes), room, seq}, r.most(), r.trim)
}

func (r *Reader) most() int { return max(mostMarks, 4*len(r.places)) }

// promote makes a mark of the due one, if its bytes are written. mu is held.
func (r *Reader) promote() {
	k := r.marks
	if passed(r.wrote, k.due.at) {
		k.add(mark{r.out.OnWire(k.due.at), k.due.room, k.due.seq}, r.most(), r.trim)
		k.due = mark{}
	}
}

// trim moves the places to what is acknowledged. mu is held.
func (r *Reader) trim() {
	on := r.out.OnWire(r.wrote) // before: see transport.Conn.Unacked
	if n, ok := r.out.Unacked(); ok {
		r.acknowledge(on - n)
	}
}

func (r *Reader) acknowledge(count uint32) {
	r.marks.acknowledge(count, func(n mark) {
		if p := r.find(n.room); p != nil && n.seq > p.acked {
			p.acked, p.taken = n.seq, false
		}
	})
}

// look asks what is acknowledged. mu is held.
func (r *Reader) look() {
	if r.marks == nil || r.over {
		return
	}
	if r.marks.due.room != 0 {
		r.promote()
	}
	if r.trim(); len(r.marks.list) == 0 && r.marks.due.room == 0 {
		r.marks = nil
	}
}

// IsAcked reports whether the client has all that was written.
func (r *Reader) IsAcked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look()
	return r.marks == nil
}

// SetAlias says under which other key the client may come back; empty: none. All its places are saved
// under it from then on, unless another reader has the key.
func (r *Reader) SetAlias(key string) {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	if key != r.others().alias {
		r.join().alias = key
	}
	if key == "" || r.all.readers[key] != nil {
		return
	}
	all := make(store.Positions)
	r.mu.Lock()
	r.look()
	for _, p := range r.places {
		if !p.taken {
			all[p.room] = p.acked
		}
	}
	r.mu.Unlock()
	r.all.store.SavePositions(store.ReaderPositions{Reader: key, Positions: all})
}

// Leave ends a place for good: a client that comes back is a stranger in the room.
func (r *Reader) Leave(room uint64) {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	r.mu.Lock()
	i := slices.IndexFunc(r.places, func(p place) bool { return p.room == room })
	if i >= 0 {
		r.places = slices.Delete(r.places, i, i+1)
		r.turn = 0
	}
	if r.marks != nil {
		r.marks.forget(room)
	}
	r.mu.Unlock()
	if i >= 0 {
		delete(r.all.held, heldPlace{r.key, room})
		r.all.store.SavePositions(r.all.records(r, store.Positions{room: store.NoPosition})...)
	}
}

// State is a Reader for another process.
type State struct {
	Key    string       `json:"key"`
	Alias  string       `json:"alias,omitempty"`
	Places []PlaceState `json:"places,omitempty"`
	Marks  []MarkState  `json:"marks,omitempty"`
	Due    *MarkState   `json:"due,omitempty"`
}

// PlaceState is a place of a State.
type PlaceState struct {
	Room   uint64 `json:"room"`
	Acked  uint64 `json:"acked"`
	Marked uint64 `json:"marked"`
	Begins bool   `json:"begins,omitempty"`
	Taken  bool   `json:"taken,omitempty"`
}

// MarkState is a mark of a State. After counts from what was written so far.
type MarkState struct {
	After int32  `json:"after"`
	Room  uint64 `json:"room"`
	Seq   uint64 `json:"seq"`
}

// State returns what Registry.Restore needs in another process, for a conn without TLS. The caller has
// the write lock.
func (r *Reader) State() *State {
	r.all.mu.Lock()
	st := &State{Key: r.key, Alias: r.others().alias}
	r.all.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.look()
	for _, p := range r.places {
		st.Places = append(st.Places, PlaceState{p.room, p.acked, p.marked, p.begins, p.taken})
	}
	if k := r.marks; k != nil {
		for _, m := range k.list {
			st.Marks = append(st.Marks, MarkState{int32(m.at - r.wrote), m.room, m.seq})
		}
		if k.due.room != 0 {
			st.Due = &MarkState{int32(k.due.at - r.wrote), k.due.room, k.due.seq}
		}
	}
	return st
}

func (m MarkState) mark() mark { return mark{uint32(m.After), m.Room, m.Seq} }
