package client

import "time"

// Type is what an event is.
type Type string

// What is stored, and has a Seq.
const (
	Message Type = "message"
	Action  Type = "action" // From does Text
	Topic   Type = "topic"  // From set it to Text; empty: removed it
)

// What is not stored.
const (
	Join    Type = "join"    // From came, Members are here
	Leave   Type = "leave"   // From went, Members are here
	Nick    Type = "nick"    // From is called Nick from now on
	Notice  Type = "notice"  // from the server or the operator
	Private Type = "private" // Text is for To alone
	Deleted Type = "deleted" // the room is; the last event
)

// What this package says about the connection.
const (
	Offline Type = "offline" // it broke, Text says why; it is tried until it succeeds
	Online  Type = "online"  // it is back; what was said meanwhile follows
	Live    Type = "live"    // all that had been said has come: Count stored lines
	Gap     Type = "gap"     // lines may be missing here, Text says why
)

// Event is something that happens in a room. Fields that do not belong to its
// type are empty.
type Event struct {
	Seq     uint64    `json:"seq"` // grows; not by one
	Time    time.Time `json:"time"`
	Type    Type      `json:"type"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Nick    string    `json:"nick"`
	Members int       `json:"members"`
	Count   int       `json:"-"`
	Code    string    `json:"code"` // Kicked, of the notice that ends a connection and of Offline
	Text    string    `json:"text"`
	Own     bool      `json:"-"` // this member's, by its nick

	history *history // that it is of; nil: the server does not say
}

// Cursor is the place behind the event in the room's history, for a program that
// remembers how far it is. Of an event that is not stored only RoomID and Epoch
// are of use.
func (e *Event) Cursor() Cursor {
	c := Cursor{Seq: e.Seq}
	if e.history != nil {
		c.RoomID, c.Epoch = e.history.roomID, e.history.epoch
	}
	return c
}

// Cursor is a place in a history: behind the line Seq. Which history it is the
// other two say, words of the server without a meaning; a server that is too old
// does not say it, and then they are empty.
type Cursor struct {
	Seq    uint64 `json:"seq"`
	RoomID string `json:"room_id"` // the room, whatever its name
	Epoch  string `json:"epoch"`   // another one since the history may have gone back
}

// history is a history that numbers belong to.
type history struct{ roomID, epoch string }

// matches reports whether a history may be that of another moment.
func (l *history) matches(o *history) bool { return l == nil || o == nil || *l == *o }

// Stored reports whether the event is in the room's history.
func (e *Event) Stored() bool { return e.Type == Message || e.Type == Action || e.Type == Topic }

// Member is somebody in a room.
type Member struct {
	Nick  string
	Since time.Time
}

// frame is a line from the server: an event, or the answer to a command.
type frame struct {
	Event
	Since   time.Time `json:"since"`
	Command string    `json:"command"`
	Count   int       `json:"count"`
	Newest  uint64    `json:"newest"`
	Oldest  uint64    `json:"oldest"`

	RoomID    string `json:"room_id"`
	Epoch     string `json:"epoch"`
	LineBytes int    `json:"line_bytes"`
}

const (
	typeOK     Type = "ok"
	typeError  Type = "error"
	typePong   Type = "pong"
	typeMember Type = "member"
)

// From is where a room's stream begins. The zero value begins with what is said
// after joining.
type From struct {
	kind    byte // 0: now; 'n': newest; 'a': after
	n       uint64
	history *history // that n is of; nil: not known
	strict  bool
}

// After begins with the first line whose sequence number is greater than seq;
// After(0) with the oldest line that is kept.
func After(seq uint64) From { return From{kind: 'a', n: seq} }

// Newest begins with the newest n lines, and what comes then.
func Newest(n int) From {
	if n <= 0 {
		return From{}
	}
	return From{kind: 'n', n: uint64(n)}
}

// AfterCursor begins with the first line behind a cursor, and is Strict. A cursor
// without RoomID and Epoch is compared by its Seq alone.
func AfterCursor(c Cursor) From {
	f := From{kind: 'a', n: c.Seq, strict: true}
	if c.RoomID != "" {
		f.history = &history{c.RoomID, c.Epoch}
	}
	return f
}

// Strict is the same place for a program to which a Gap would be lost work: if
// the history is not the one it was, or has not come as far, Join fails with an
// *Error of the code WrongHistory, and so does a room when it comes back. Lines
// that are no longer kept are a Gap also then.
func (f From) Strict() From {
	f.strict = true
	return f
}
