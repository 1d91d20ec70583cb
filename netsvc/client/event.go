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
	Offline Type = "offline" // it broke, Text says why; it is tried again and again
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
	Text    string    `json:"text"`
	Own     bool      `json:"-"` // this member's, by its nick
}

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
	Code    string    `json:"code"`
	Count   int       `json:"count"`
	Newest  uint64    `json:"newest"`
	Oldest  uint64    `json:"oldest"`
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
	kind byte // 0: now; 'n': newest; 'a': after
	n    uint64
}

// After begins with the first line whose sequence number is greater than seq;
// After(0) with the oldest line that is kept.
func After(seq uint64) From { return From{'a', seq} }

// Newest begins with the newest n lines, and what comes then.
func Newest(n int) From {
	if n <= 0 {
		return From{}
	}
	return From{'n', uint64(n)}
}
