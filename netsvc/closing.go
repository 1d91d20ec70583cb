package netsvc

import (
	"time"

	"roomd/netsvc/wire"
)

// ending tells why the room is closing, if it is.
func (r *Room) ending() (c Cause, closed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause, r.state == closing
}

// farewell is what the members are told when a room closes.
func (r *Room) farewell(c Cause) wire.Event {
	if c == deleted {
		return wire.Event{Time: time.Now(), Type: wire.TypeDeleted, Text: r.name() + ": chat room being deleted"}
	}
	return wire.Event{Time: time.Now(), Type: wire.TypeNotice, Text: r.name() + ": the server is stopping"}
}

// begin marks the room as closing, once: nobody is admitted any more. It
// reports false if it was closing already.
func (r *Room) begin(c Cause) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == closing {
		return false
	}
	r.state, r.cause = closing, c
	return true
}

// shut ends a room after begin: clients in the backlog are told, the listeners
// are closed, the farewell is appended, and every member gets what is pending
// before its socket closes. It returns how many members there were.
func (r *Room) shut(c Cause) int {
	close(r.quit)
	r.svc.gate.hurryAll(r)
	r.mu.Lock()
	ln := r.ln
	r.mu.Unlock()
	if ln != nil {
		ln.End()
	}
	n := r.endAll(c)
	r.readers.Wait()
	return n
}

// endAll says farewell and ends every member.
func (r *Room) endAll(c Cause) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log.Append(r.reads.render(r.farewell(c), false))
	n := len(r.members)
	for n := len(r.members); n > 0; n-- {
		r.members[n-1].endLocked(c)
	}
	return n
}
