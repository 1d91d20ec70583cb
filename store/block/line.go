package block

import (
	"encoding/binary"
	"slices"
	"time"
)

// Kind is the kind of a line.
type Kind uint8

const (
	Message Kind = 1 + iota
	Action
	Topic  // Text is the room's new topic
	Notice // a message that no program must answer
)

// kinds are the names of the kinds. A notice is a message with a mark.
var kinds = [...]string{Message: "message", Action: "action", Topic: "topic", Notice: "message"}

// String returns the name of a kind: message, also for a notice, action or topic; empty for
// any other.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return ""
}

// ParseKind returns the kind with a name, of a message Message; 0: none.
func ParseKind(word string) Kind { return Kind(max(0, slices.Index(kinds[:], word))) }

// Line is one line of a room's history. Seq grows within a room, never
// repeats, survives restarts, and need not be consecutive. Time is UTC with
// the precision of a microsecond; it never decreases within a room, also when the wall
// clock is set back.
type Line struct {
	Seq  uint64
	Time time.Time
	Kind Kind
	From string // the nick, at most 255 bytes
	Text string
}

// lineWeight is the weight of a line without its nick and text.
const lineWeight = 18

// Weight returns the weight of a line in the bytes of a room, by the lengths of its
// nick and its text.
func Weight(from, text int) uint64 { return uint64(lineWeight + from + text) }

// AppendLine appends a line: the difference of its number to that of the line before,
// the difference of the times in microseconds, kind, length of the nick, nick, length of
// the text, text. A notice has the kind of a message, and a byte 0 more at the end of the
// length of its text: an older roomd reads it as a message.
func AppendLine(b []byte, seq uint64, micros int64, kind Kind, from, text string) []byte {
	written := kind
	if kind == Notice {
		written = Message
	}
	b = binary.AppendUvarint(b, seq)
	b = binary.AppendVarint(b, micros)
	b = append(b, byte(written), byte(len(from)))
	b = append(b, from...)
	b = binary.AppendUvarint(b, uint64(len(text)))
	if kind == Notice {
		b[len(b)-1] |= 0x80 // another byte follows
		b = append(b, 0)
	}
	return append(b, text...)
}
