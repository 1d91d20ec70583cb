package readers

import (
	"sync"
	"sync/atomic"
	"time"

	"roomd/store"
)

const (
	// SaveEvery is the time between two looks at readers that move.
	SaveEvery = 10 * time.Second
	// renewEvery is the time between two saves of readers that do not move: they must not get too old.
	renewEvery = 12 * time.Hour
)

// Registry has the readers of a server. Any goroutine may call its methods.
type Registry struct {
	store   *store.Store
	awake   atomic.Bool // a look follows within SaveEvery
	stopped atomic.Bool

	mu      sync.Mutex // guards what follows
	readers map[string]*Reader
	held    map[heldPlace]uint64 // of readers that have ended while others with their key went on
	timer   *time.Timer          // set before the first reader is there, and then read-only
	renewed time.Time            // when all readers were saved
}

type heldPlace struct {
	key  string
	room uint64
}

// NewRegistry returns a registry that saves places in a store.
func NewRegistry(st *store.Store) *Registry {
	return &Registry{store: st, readers: make(map[string]*Reader), held: make(map[heldPlace]uint64)}
}

// New returns a reader that writes to an output. The key has 1 to store.MaxReaderBytes bytes.
func (g *Registry) New(key string, out Output) *Reader {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.add(&Reader{key: key, all: g, out: out})
}

func (g *Registry) add(r *Reader) *Reader {
	if next := g.readers[r.key]; next != nil {
		r.join().next = next
	}
	g.readers[r.key] = r
	if g.timer == nil {
		g.renewed = time.Now()
		g.timer = time.AfterFunc(renewEvery, g.tick)
	}
	return r
}

// Restore returns the reader of another process, on a conn that was not written to in this one.
func (g *Registry) Restore(st *State, out Output) *Reader {
	r := &Reader{key: st.Key, all: g, out: out}
	if st.Alias != "" {
		r.company = &company{alias: st.Alias}
	}
	for _, p := range st.Places {
		r.places = append(r.places, place{room: p.Room, acked: p.Acked, marked: p.Marked, saved: none, begins: p.Begins, taken: p.Taken})
	}
	if len(st.Marks) > 0 || st.Due != nil {
		r.marks = &marks{}
		for _, m := range st.Marks {
			r.marks.list = append(r.marks.list, m.mark())
		}
		if st.Due != nil {
			r.marks.due = st.Due.mark()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.add(r)
}

// Last returns how far the readers with a key have got in a room: the lines after seq are to come. known
// is false if nothing is known that is as young as the time within, or at is when it was last saved. It
// reads the store.
func (g *Registry) Last(r *Reader, room uint64, within time.Duration) (seq uint64, at time.Time, known bool) {
	if seq, ok := g.inMemory(r, room); ok {
		return seq, time.Now(), true
	}
	all, at, err := g.store.Positions(r.key)
	if seq, known = all[room]; err != nil || !known || time.Since(at) > within {
		return 0, time.Time{}, false
	}
	return seq, at, true
}

// inMemory returns the place of a reader before r that is not saved, or that is newer.
func (g *Registry) inMemory(r *Reader, room uint64) (seq uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.mu.Lock()
	if p := r.find(room); p != nil {
		seq, ok = p.marked, true
	}
	r.mu.Unlock()
	if ok {
		return seq, true
	}
	if seq, ok = g.held[heldPlace{r.key, room}]; ok {
		delete(g.held, heldPlace{r.key, room})
		return seq, true
	}
	for o := g.readers[r.key]; o != nil && !ok; o = o.others().next {
		if o == r {
			continue
		}
		o.mu.Lock()
		if p := o.find(room); p != nil {
			o.look()
			p.taken = true // until more is acknowledged
			seq, ok = p.acked, true
		}
		o.mu.Unlock()
	}
	return seq, ok
}

// End ends a reader: its places are saved, unless they are another process's. The conn is not closed
// yet. With all everything that was written counts as acknowledged.
func (r *Reader) End(all bool) {
	g := r.all
	g.mu.Lock()
	defer g.mu.Unlock()
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	r.look()
	if k := r.marks; k != nil && all {
		if k.due.room != 0 {
			r.promote()
		}
		r.acknowledge(r.out.OnWire(r.wrote))
	}
	r.over = true
	r.mu.Unlock()
	g.saveLocked(r)
	g.remove(r)
	if ended := r.others().ended; ended != nil {
		close(ended)
	}
}

// Ending says that End follows soon, with places that may be newer.
func (r *Reader) Ending() {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	if r.others().ended == nil {
		r.join().ended = make(chan struct{})
	}
}

// endingTime bounds the wait for a session that ends: its client may still read, and slowly.
const endingTime = 2 * time.Second

// AwaitEnding waits until older readers with the same key that are ending have ended, within bounds. It
// returns false if stop is closed before.
func (r *Reader) AwaitEnding(stop <-chan struct{}) bool {
	var all []chan struct{}
	r.all.mu.Lock()
	for o := r.all.readers[r.key]; o != nil; o = o.others().next {
		if ended := o.others().ended; o != r && ended != nil {
			all = append(all, ended)
		}
	}
	r.all.mu.Unlock()
	var late <-chan time.Time
	if len(all) > 0 {
		late = time.After(endingTime)
	}
	for _, ended := range all {
		select {
		case <-ended:
		case <-late:
			return true
		case <-stop:
			return false
		}
	}
	return true
}

// Drop ends a reader whose conn and places are another process's.
func (r *Reader) Drop() {
	r.all.mu.Lock()
	defer r.all.mu.Unlock()
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.all.remove(r)
}

// remove removes a reader. While others with its key go on its places are held, unless one of them has
// taken them. mu is held.
func (g *Registry) remove(r *Reader) {
	first := g.readers[r.key]
	if first == r {
		first = r.others().next
	} else {
		for o := first; o != nil; o = o.others().next {
			if o.others().next == r {
				o.join().next = r.others().next
				break
			}
		}
	}
	if first == nil {
		delete(g.readers, r.key)
		for h := range g.held {
			if h.key == r.key {
				delete(g.held, h) // they are saved
			}
		}
		return
	}
	g.readers[r.key] = first
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.places {
		h := heldPlace{r.key, p.room}
		if old, ok := g.held[h]; !p.taken && (!ok || p.acked < old) {
			g.held[h] = p.acked
		}
	}
}

// moved returns the places of a reader that are to be saved. mu is held.
func (g *Registry) moved(r *Reader) store.Positions {
	var all store.Positions
	alone := g.readers[r.key] == r && r.others().next == nil && len(g.held) == 0
	r.mu.Lock()
	r.look()
	for i := range r.places {
		p := &r.places[i]
		if p.taken || p.acked == p.saved {
			continue
		}
		if all == nil {
			all = make(store.Positions)
		}
		p.saved = p.acked
		all[p.room] = p.acked
	}
	r.mu.Unlock()
	if alone {
		return all
	}
	for room := range all {
		if held, ok := g.held[heldPlace{r.key, room}]; ok {
			all[room] = min(all[room], held)
		}
		for o := g.readers[r.key]; o != nil; o = o.others().next {
			if o == r {
				continue
			}
			o.mu.Lock()
			if p := o.find(room); p != nil && !p.taken {
				o.look()
				all[room] = min(all[room], p.acked)
			}
			o.mu.Unlock()
		}
	}
	return all
}

// saveLocked saves the places of a reader that have moved. mu is held.
func (g *Registry) saveLocked(r *Reader) {
	if moved := g.moved(r); moved != nil {
		g.store.SavePositions(g.records(r, moved)...)
	}
}

// records returns places of a reader under its keys. mu is held.
func (g *Registry) records(r *Reader, places store.Positions) []store.ReaderPositions {
	all := []store.ReaderPositions{{Reader: r.key, Positions: places}}
	if alias := r.others().alias; alias != "" && g.readers[alias] == nil {
		all = append(all, store.ReaderPositions{Reader: alias, Positions: places})
	}
	return all
}

// Save saves the places of all readers that have moved. It reports whether some client has not
// acknowledged everything.
func (g *Registry) Save() (waiting bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	renew := time.Since(g.renewed) > renewEvery/2
	if renew {
		g.renewed = time.Now()
	}
	var all []store.ReaderPositions
	for _, first := range g.readers {
		for r := first; r != nil; r = r.others().next {
			moved := g.moved(r)
			if moved != nil || renew {
				all = append(all, g.records(r, moved)...)
			}
			r.mu.Lock()
			waiting = waiting || r.marks != nil
			r.mu.Unlock()
		}
	}
	g.store.SavePositions(all...)
	return waiting
}

// wake has the readers looked at within SaveEvery. The caller may hold Reader.mu.
func (g *Registry) wake() {
	if !g.awake.Load() && !g.awake.Swap(true) {
		g.timer.Reset(SaveEvery)
	}
}

// tick saves, as long as there is movement every SaveEvery.
func (g *Registry) tick() {
	if g.stopped.Load() {
		return
	}
	g.awake.Store(false) // before: a mark from here on is seen now, or wakes
	if g.Save() {
		g.wake()
		return
	}
	if g.timer.Reset(renewEvery); g.awake.Load() {
		g.timer.Reset(SaveEvery)
	}
}

// Stop saves a last time. Readers that end later are saved when they do.
func (g *Registry) Stop() {
	g.stopped.Store(true)
	g.mu.Lock()
	if g.timer != nil {
		g.timer.Stop()
	}
	g.mu.Unlock()
	g.Save()
}
