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

// Event is something that happens in a room, or an answer to a member. Fields that do not
// belong to its type are empty. Its texts are clean, and so have no line end.
type Event struct {
	Seq     uint64    // in the history, or of a pong
	Time    time.Time // sent in UTC with microseconds
	Type    Type
	Notice  bool // of a message or a private line: no program must answer it
	From    string
	To      string    // of private
	Nick    string    // the new one, or the member's
	Since   time.Time // when the member joined
	Members int       // in the room after a join or a leave
	Command string    // the command that an ok or an error answers
	Code    string    // of an error; of a notice: why the connection ends
	ID      string    // of an ok or an error of a line with an ID; Seq is the line's number
	Again   bool      // of an ok: the line was stored before
	Count   *int      // of an ok: how many lines follow; nil: not said
	Newest  uint64    // the newest sequence number; 0: not said
	Oldest  uint64    // the oldest sequence number that is kept, if older ones were asked for
	// RoomID and Epoch identify the room's history, LineBytes is the longest line that the
	// room takes (in JSON with id_bytes, MaxIDBytes); of an ok that begins a stream. "", 0: not said.
	RoomID    string
	Epoch     string
	LineBytes int
	Text      string
	// How a member left: by a kick of the operator, or from this room alone while its session is
	// in others; and its words. Of a join Reason is a real name. IRC shows them, text and JSON do not.
	Kicked, Parted bool
	// TopicSet says that a notice is about a topic of the operator, which is Reason. IRC shows that one.
	TopicSet bool
	Reason   string
}

// format is how an event of a type is rendered.
type format struct {
	of Type
	// text is for people: a line of a member begins with "<", one of the server with "* ". A
	// letter behind % stands for a field: f From, o To, n Nick, s Since, m Members, q Seq,
	// t Text.
	text string
	// hasText says that the JSON object has a text even if it is empty.
	hasText bool
}

var formats = [...]format{
	{TypeMessage, "<%f> %t", true},
	{TypeAction, "<%f> * %t", true},
	{TypeTopic, "* %f set the topic: %t", true}, // without a text: topicRemoved
	{TypeJoin, "* %f joined (%m here)", false},
	{TypeLeave, "* %f left (%m here)", false},
	{TypeNick, "* %f is now %n", false},
	{TypeNotice, "* %t", true},
	{TypePrivate, "<%f -> %o> %t", true},
	{TypeDeleted, "* %t", true},
	{TypePong, "* pong %q", false},
	{TypeMember, "* %n, here since %s", false},
	{TypeOK, "* %t", false},   // without a text: nothing
	{TypeError, "* %t", true}, // the last format is also that of an unknown type
}

const topicRemoved = "* %f removed the topic"

func formatOf(t Type) *format {
	i := 0
	for i < len(formats)-1 && formats[i].of != t {
		i++
	}
	return &formats[i]
}

// AppendText appends the event for people: one line, or nothing for an ok without a text.
func (e *Event) AppendText(b []byte) []byte {
	text := formatOf(e.Type).text
	switch {
	case e.ID != "":
		return e.appendID(b)
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

// appendID appends the answer to a line with an ID: "* id ID" and the number of the line, with "again"
// if it was stored before, or the reason why it was not stored.
func (e *Event) appendID(b []byte) []byte {
	b = append(append(b, "* id "...), e.ID...)
	b = append(b, ' ')
	if e.Type == TypeError {
		b = append(b, e.Text...)
	} else {
		b = strconv.AppendUint(b, e.Seq, 10)
	}
	if e.Again {
		b = append(b, " again"...)
	}
	return append(b, '\n')
}

// Line is the event as AppendText appends it, without the line end.
func (e *Event) Line() string { return strings.TrimSuffix(string(e.AppendText(nil)), "\n") }

// ClockFormat is the form of a time in UTC for people.
const ClockFormat = "2006-01-02 15:04:05 UTC"

// timeFormat is the form of a time in JSON: always with six digits of a second.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// AppendJSON appends the event as one JSON object and a line end, the fields in the order of
// Event. Empty fields are left out, but for the seq of a pong, the members of a join or a
// leave, and the text of a type that has one.
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
	if e.Notice {
		b = append(b, `,"notice":true`...)
	}
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
	b = appendField(b, `,"id":`, e.ID)
	if e.Again {
		b = append(b, `,"again":true`...)
	}
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
		b = append(b, `,"id_bytes":`+idBytes...) // there is /id
	}
	if e.Text != "" || formatOf(e.Type).hasText {
		b = appendString(append(b, `,"text":`...), e.Text)
	}
	return append(b, "}\n"...)
}

// idBytes is MaxIDBytes.
const idBytes = "64"

// appendField appends a field unless it is empty.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value)
}

const hex = "0123456789abcdef"

// appendString appends a JSON string (RFC 8259, section 7), as encoding/json does without its
// escapes for HTML.
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
