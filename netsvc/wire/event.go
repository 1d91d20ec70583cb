package wire

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Type is what an event is.
type Type string

const (
	TypeMessage Type = "message"
	TypeAction  Type = "action"
	TypeTopic   Type = "topic" // Text is the new topic, "" if it was removed
	TypeJoin    Type = "join"
	TypeLeave   Type = "leave"
	TypeNick    Type = "nick"
	TypeNotice  Type = "notice" // from the server or the operator
	TypePrivate Type = "private"
	TypeDeleted Type = "deleted"
	TypePong    Type = "pong"
	TypeMember  Type = "member" // one line of /who
	TypeOK      Type = "ok"
	TypeError   Type = "error"
)

// Event is something that happens in a room, or an answer to a member. Fields
// that do not belong to its type are empty. Its texts are clean, and so hold no
// line end.
type Event struct {
	Seq     uint64    // in the history, or of a pong
	Time    time.Time // sent in UTC with microseconds
	Type    Type
	From    string
	To      string    // of private
	Nick    string    // the new one, or the member's
	Since   time.Time // when the member came
	Members int       // how many are here after a join or a leave
	Command string    // that an ok or an error answers
	Code    string    // of an error; why the connection ends, of a notice
	Count   *int      // how many lines follow an ok; nil: it does not say
	Newest  uint64    // the newest sequence number; 0: it does not say
	Oldest  uint64    // the oldest that is kept, if what was asked for is older
	// RoomID and Epoch are the identity of the room's history, LineBytes the
	// longest line that is taken; of an ok that begins a stream. 0, "": it does not say.
	RoomID    string
	Epoch     string
	LineBytes int
	Text      string
}

// AppendText appends the event as people read it: one line, or nothing for an
// ok that needs no word. The line of a person begins with "<", the server's
// with "* ".
func (e *Event) AppendText(b []byte) []byte {
	switch e.Type {
	case TypeMessage:
		b = append(append(append(b, '<'), e.From...), "> "...)
		b = append(b, e.Text...)
	case TypeAction:
		b = append(append(append(b, '<'), e.From...), "> * "...)
		b = append(b, e.Text...)
	case TypePrivate:
		b = append(append(append(b, '<'), e.From...), " -> "...)
		b = append(append(append(b, e.To...), "> "...), e.Text...)
	case TypeTopic:
		if e.Text == "" {
			b = append(append(append(b, "* "...), e.From...), " removed the topic"...)
			break
		}
		b = append(append(append(b, "* "...), e.From...), " set the topic: "...)
		b = append(b, e.Text...)
	case TypeJoin:
		b = append(append(append(b, "* "...), e.From...), " joined ("...)
		b = append(strconv.AppendInt(b, int64(e.Members), 10), " here)"...)
	case TypeLeave:
		b = append(append(append(b, "* "...), e.From...), " left ("...)
		b = append(strconv.AppendInt(b, int64(e.Members), 10), " here)"...)
	case TypeNick:
		b = append(append(append(b, "* "...), e.From...), " is now "...)
		b = append(b, e.Nick...)
	case TypePong:
		b = strconv.AppendUint(append(b, "* pong "...), e.Seq, 10)
	case TypeMember:
		b = append(append(append(b, "* "...), e.Nick...), ", here since "...)
		b = e.Since.UTC().AppendFormat(b, "2006-01-02 15:04:05 UTC")
	default:
		if e.Type == TypeOK && e.Text == "" {
			return b
		}
		b = append(append(b, "* "...), e.Text...)
	}
	return append(b, '\n')
}

// timeFormat has six digits of a second, always.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// AppendJSON appends the event as one JSON object and a line end, the fields in
// the order of Event. What is empty is left out, but for the seq of a pong, the
// members of a join or a leave, and the text of every type that has one of its
// own: all but join, leave, nick, pong, member and ok.
func (e *Event) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	if e.Seq > 0 || e.Type == TypePong {
		b = strconv.AppendUint(append(b, `"seq":`...), e.Seq, 10)
		b = append(b, ',')
	}
	if !e.Time.IsZero() {
		b = append(b, `"time":"`...)
		b = append(e.Time.UTC().AppendFormat(b, timeFormat), `",`...)
	}
	b = append(append(append(b, `"type":"`...), e.Type...), '"')
	b = appendField(b, `,"from":`, e.From)
	b = appendField(b, `,"to":`, e.To)
	b = appendField(b, `,"nick":`, e.Nick)
	if !e.Since.IsZero() {
		b = append(b, `,"since":"`...)
		b = append(e.Since.UTC().AppendFormat(b, timeFormat), '"')
	}
	if e.Type == TypeJoin || e.Type == TypeLeave {
		b = strconv.AppendInt(append(b, `,"members":`...), int64(e.Members), 10)
	}
	b = appendField(b, `,"command":`, e.Command)
	b = appendField(b, `,"code":`, e.Code)
	if e.Count != nil {
		b = strconv.AppendInt(append(b, `,"count":`...), int64(*e.Count), 10)
	}
	if e.Newest > 0 {
		b = strconv.AppendUint(append(b, `,"newest":`...), e.Newest, 10)
	}
	if e.Oldest > 0 {
		b = strconv.AppendUint(append(b, `,"oldest":`...), e.Oldest, 10)
	}
	b = appendField(b, `,"room_id":`, e.RoomID)
	b = appendField(b, `,"epoch":`, e.Epoch)
	if e.LineBytes > 0 {
		b = strconv.AppendInt(append(b, `,"line_bytes":`...), int64(e.LineBytes), 10)
	}
	switch e.Type {
	case TypeOK, TypeJoin, TypeLeave, TypeNick, TypePong, TypeMember:
		b = appendField(b, `,"text":`, e.Text)
	default:
		b = appendString(append(b, `,"text":`...), e.Text)
	}
	return append(b, "}\n"...)
}

// appendField appends a field that is left out when it is empty.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value)
}

const hex = "0123456789abcdef"

// appendString appends a JSON string (RFC 8259, section 7), the same as
// encoding/json without its escapes for HTML.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if (r != utf8.RuneError || n > 1) && r != '\u2028' && r != '\u2029' {
				i += n
				continue
			}
			b = append(b, s[start:i]...)
			switch r {
			case '\u2028':
				b = append(b, `\u2028`...)
			case '\u2029':
				b = append(b, `\u2029`...)
			default:
				b = append(b, `\ufffd`...)
			}
			i += n
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}
