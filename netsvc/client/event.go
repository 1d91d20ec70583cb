package client

import "time"

// Type is what an event is.
type Type string

// Types of stored events, which have a Seq.
const (
	Message Type = "message"
	Action  Type = "action" // From does Text
	Topic   Type = "topic"  // From set the topic to Text; empty: removed it
)

// Types of events that are not stored.
const (
	Join    Type = "join"    // From joined; the room has Members members
	Leave   Type = "leave"   // From left; the room has Members members
	Nick    Type = "nick"    // From has the nick Nick from now on
	Notice  Type = "notice"  // from the server or the operator
	Private Type = "private" // Text is for To alone
	Deleted Type = "deleted" // the room was deleted: the last event
)

// Types of events of this package about the connection.
const (
	Offline Type = "offline" // the connection broke, Text says why; the client tries to join the room again
	Online  Type = "online"  // the connection is back; the lines that were sent meanwhile follow
	Live    Type = "live"    // all lines sent before have come: Count of them
	Gap     Type = "gap"     // lines may be missing here, Text says why
)

// Event is something that happens in a room. Fields that do not belong to its type are empty.
type Event struct {
	Seq     uint64    `json:"seq"` // grows, not always by one
	Time    time.Time `json:"time"`
	Type    Type      `json:"type"`
	Notice  bool      `json:"notice"` // of a Message or a Private: no program must answer it
	From    string    `json:"from"`
	To      string    `json:"to"`
	Nick    string    `json:"nick"`
	Members int       `json:"members"`
	Count   int       `json:"-"`
	Code    string    `json:"code"` // Kicked, of the notice that ends a connection and of Offline
	Text    string    `json:"text"`
	Own     bool      `json:"-"` // of this member, by its nick

	history *history // that it is of; nil: the server does not say
}

// Cursor is the place behind the event in the room's history, for a program that saves how
// far it has come. The Cursor of an event that is not stored has no Seq.
func (e *Event) Cursor() Cursor {
	c := Cursor{Seq: e.Seq}
	if e.history != nil {
		c.RoomID, c.Epoch = e.history.roomID, e.history.epoch
	}
	return c
}

// Cursor is a place in a history: behind the line Seq. RoomID and Epoch identify the history;
// a program only compares them. An old server does not say them: then they are empty.
type Cursor struct {
	Seq    uint64 `json:"seq"`
	RoomID string `json:"room_id"` // the room, whatever its name
	Epoch  string `json:"epoch"`   // changes whenever the history may have lost lines
}

// history identifies the history that sequence numbers belong to.
type history struct{ roomID, epoch string }

// matches reports whether two histories may be the same; nil matches each.
func (l *history) matches(o *history) bool { return l == nil || o == nil || *l == *o }

// Stored reports whether the event is in the room's history.
func (e *Event) Stored() bool { return e.Type == Message || e.Type == Action || e.Type == Topic }

// Member is a member of a room.
type Member struct {
	Nick  string
	Since time.Time
	Door  string // by which the member is here, like "irc"; empty: the port of the room
}

// frame is a JSON line of the server: an event, or the answer to a command.
type frame struct {
	Event
	Since   time.Time `json:"since"`
	Door    string    `json:"door"`
	Command string    `json:"command"`
	Count   int       `json:"count"`
	Newest  uint64    `json:"newest"`
	Oldest  uint64    `json:"oldest"`

	RoomID    string `json:"room_id"`
	Epoch     string `json:"epoch"`
	LineBytes int    `json:"line_bytes"`
	IDBytes   int    `json:"id_bytes"` // 0: the server has no /id
	ID        string `json:"id"`       // of a line
}

const (
	typeOK     Type = "ok"
	typeError  Type = "error"
	typePong   Type = "pong"
	typeMember Type = "member"
)

// From is where a room's stream begins. The zero value begins with the lines after joining.
type From struct {
	kind    byte // 0: now; 'n': newest; 'a': after
	n       uint64
	history *history // that n is of; nil: not known
	strict  bool
}

// After begins with the first line whose sequence number is greater than seq;
// After(0) with the oldest line that is kept.
func After(seq uint64) From { return From{kind: 'a', n: seq} }

// Newest begins with the newest n lines.
func Newest(n int) From {
	if n <= 0 {
		return From{}
	}
	return From{kind: 'n', n: uint64(n)}
}

// AfterCursor begins with the first line behind a cursor, and is Strict. A cursor without
// RoomID and Epoch fits any history that has come as far.
func AfterCursor(c Cursor) From {
	f := From{kind: 'a', n: c.Seq, strict: true}
	if c.RoomID != "" {
		f.history = &history{c.RoomID, c.Epoch}
	}
	return f
}

// Strict is the same place for a program that must not go on with another history: if the
// history is another one, or has not come as far, Join fails with an *Error of the code
// WrongHistory, and a room that comes back ends with it. Lines that are no longer kept are a
// Gap also then.
func (f From) Strict() From {
	f.strict = true
	return f
}
