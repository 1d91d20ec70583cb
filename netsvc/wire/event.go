package wire

import (
	"strconv"
	"strings"
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

// format is a row of the table of events.
type format struct {
	of Type
	// text is what people read. A letter behind % stands for a field: f From, o To,
	// n Nick, s Since, m Members, q Seq, t Text. Whoever prints events for people uses
	// it: the line of a person begins with "<", the server's with "* ".
	text string
	// hasText says that JSON has the text also if it is empty.
	hasText bool
}

var formats = [...]format{
	{TypeMessage, "<%f> %t", true},
	{TypeAction, "<%f> * %t", true},
	{TypeTopic, "* %f set the topic: %t", true}, // see topicRemoved
	{TypeJoin, "* %f joined (%m here)", false},
	{TypeLeave, "* %f left (%m here)", false},
	{TypeNick, "* %f is now %n", false},
	{TypeNotice, "* %t", true},
	{TypePrivate, "<%f -> %o> %t", true},
	{TypeDeleted, "* %t", true},
	{TypePong, "* pong %q", false},
	{TypeMember, "* %n, here since %s", false},
	{TypeOK, "* %t", false},   // nothing without a text
	{TypeError, "* %t", true}, // the last is also every type that is not known
}

const topicRemoved = "* %f removed the topic"

func formatOf(t Type) *format {
	i := 0
	for i < len(formats)-1 && formats[i].of != t {
		i++
	}
	return &formats[i]
}

// AppendText appends the event as people read it: one line, or nothing for an
// ok that needs no word.
func (e *Event) AppendText(b []byte) []byte {
	text := formatOf(e.Type).text
	switch {
	case e.Text != "":
	case e.Type == TypeTopic:
		text = topicRemoved
	case e.Type == TypeOK:
		return b
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b = append(b, text[i])
			continue
		}
		i++
		switch text[i] {
		case 'f':
			b = append(b, e.From...)
		case 'o':
			b = append(b, e.To...)
		case 'n':
			b = append(b, e.Nick...)
		case 's':
			b = e.Since.UTC().AppendFormat(b, ClockFormat)
		case 'm':
			b = strconv.AppendInt(b, int64(e.Members), 10)
		case 'q':
			b = strconv.AppendUint(b, e.Seq, 10)
		case 't':
			b = append(b, e.Text...)
		}
	}
	return append(b, '\n')
}

// Line is what AppendText appends, without the line end.
func (e *Event) Line() string { return strings.TrimSuffix(string(e.AppendText(nil)), "\n") }

// ClockFormat is how a time, which is in UTC, is written for people.
const ClockFormat = "2006-01-02 15:04:05 UTC"

// timeFormat has six digits of a second, always.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// AppendJSON appends the event as one JSON object and a line end, the fields in
// the order of Event. What is empty is left out, but for the seq of a pong, the
// members of a join or a leave, and the text of a type that has one of its own.
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
	if e.Text != "" || formatOf(e.Type).hasText {
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
