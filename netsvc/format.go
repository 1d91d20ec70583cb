package netsvc

import (
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
)

// format is how events are written for those who read it. What is in the log of a room
// is rendered once for all members that read a format, and only while there is one.
type format interface {
	// render appends an event to b, or nothing if its readers are not shown it.
	render(b []byte, ev wire.Event) []byte
	// people reports whether it is read as it is: then it has less of what a program
	// needs to keep count, and a word where a stream of old lines ends.
	people() bool
}

// formats are all there are. A further one is a constant of roomlog, a row here, and a
// command that asks for it.
var formats = [roomlog.Formats]format{roomlog.Text: asText{}, roomlog.JSON: asJSON{}}

type asText struct{}

func (asText) render(b []byte, ev wire.Event) []byte { return ev.AppendText(b) }
func (asText) people() bool                          { return true }

type asJSON struct{}

func (asJSON) render(b []byte, ev wire.Event) []byte { return ev.AppendJSON(b) }
func (asJSON) people() bool                          { return false }

// readership is who reads the log of a room, and how. Guarded by Room.mu.
type readership struct {
	of      [roomlog.Formats]int // members that read each format
	scratch roomlog.Rendered     // of the event rendered last
}

// render renders an event in the formats that somebody reads, but if it is quiet not in
// those for people. The bytes are good until the next call.
func (r *readership) render(ev wire.Event, quiet bool) roomlog.Event {
	e := roomlog.Event{Seq: ev.Seq}
	for f, n := range r.of {
		if n > 0 && !(quiet && formats[f].people()) {
			r.scratch[f] = formats[f].render(r.scratch[f][:0], ev)
			e.Rendered[f] = r.scratch[f]
		}
	}
	return e
}
