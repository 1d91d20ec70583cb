package irc

import (
	"cmp"
	"strings"
	"time"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

// userName is the user name of everybody: what a client says of itself here proves nothing, and a
// replayed line has to look like the live one.
const userName = "u"

// chanType is before the names of rooms.
const chanType = '#'

// tagLevel says which tags of the server a client gets.
type tagLevel uint8

const (
	noTags    tagLevel = iota
	timeTag            // server-time
	allTags            // message-tags: time and msgid
	tagLevels = iota
)

// Format renders the events of a room for clients of IRC that have the same capabilities.
type Format struct {
	Host     func() string // the server's name, in every prefix; at most MaxHost bytes
	Level    tagLevel
	Extended bool // JOIN has an account and a real name, which is the event's Reason, or else the nick (extended-join)
}

// MaxHost is the greatest length of the server's name in bytes. Beside the longest nick and room
// it leaves more than 150 bytes of a line for the text.
const MaxHost = 63

// Place is a room as its readers see it.
type Place struct {
	Name string
	ID   uint64
	To   string // the nick of the only reader; "": all members
}

// Render appends the lines for an event in the log of a room, if its readers see any. A text that
// is too long for one line becomes several: the first one alone has the msgid, and the tags that
// appendTag has begun in b, as that of a label.
//
// Of the answers to commands of a room's port there is only the text of an error. The end of a
// room is for each member a KICK of its own, which is not here.
func (f *Format) Render(b []byte, room Place, ev wire.Event) []byte {
	return f.append(b, room, &ev, Playback{})
}

// Playback is how the lines of a replay differ from live ones.
type Playback struct {
	Batch  string // the reference of the batch that they are in; "": none
	Clock  bool   // a text begins with its time in UTC, [12:03], and its day, unless that is today
	Topics bool   // topics are shown: a client that has not asked for them would take them for new ones
}

// The flags of a Playback in a label, before its batch.
const (
	flagClock  = "c"
	flagTopics = "t"
	flagsEnd   = ":"
)

// label returns the label of a netsvc.Replay, which playbackOf parses.
func (p Playback) label() string {
	flags := ""
	if p.Clock {
		flags += flagClock
	}
	if p.Topics {
		flags += flagTopics
	}
	return flags + flagsEnd + p.Batch
}

func playbackOf(label string) Playback {
	flags, batch, _ := strings.Cut(label, flagsEnd)
	return Playback{batch, strings.Contains(flags, flagClock), strings.Contains(flags, flagTopics)}
}

// Replay is Render for a line of a replay. But for the batch it is the live line.
func (f *Format) Replay(b []byte, room Place, ev wire.Event, p Playback) []byte {
	if ev.Type == wire.TypeTopic && !p.Topics {
		return b
	}
	return f.append(b, room, &ev, p)
}

func (f *Format) append(b []byte, room Place, ev *wire.Event, r Playback) []byte {
	l := lines{f, f.Host(), room, ev, r}
	switch ev.Type {
	case wire.TypeMessage, wire.TypeAction, wire.TypePrivate:
		return l.say(b)
	case wire.TypeNotice:
		if ev.TopicSet {
			return l.event(b, "", "TOPIC", true, ev.Reason)
		}
		return l.notice(b)
	case wire.TypeError:
		return l.refusal(b)
	case wire.TypeTopic:
		return l.event(b, ev.From, "TOPIC", true, ev.Text)
	case wire.TypeJoin:
		if f.Extended {
			return l.event(b, ev.From, "JOIN", true, "*", cmp.Or(ev.Reason, ev.From))
		}
		return l.event(b, ev.From, "JOIN", true)
	case wire.TypeNick:
		return l.event(b, ev.From, "NICK", false, ev.Nick)
	case wire.TypeLeave:
		switch {
		case ev.Kicked:
			return l.event(b, "", "KICK", true, ev.From, ev.Reason)
		case ev.Parted && ev.Reason == "":
			return l.event(b, ev.From, "PART", true)
		case ev.Parted:
			return l.event(b, ev.From, "PART", true, ev.Reason)
		}
		return l.event(b, ev.From, "QUIT", false, ev.Reason)
	}
	return b
}

// lines are the lines of one event.
type lines struct {
	*Format
	host string
	room Place
	ev   *wire.Event
	Playback
}

// tags appends the tags of a line.
func (l *lines) tags(b []byte, first bool) []byte {
	if l.Batch != "" {
		b = appendTag(b, "batch", l.Batch)
	}
	if l.Level >= timeTag && !l.ev.Time.IsZero() {
		b = appendServerTime(append(openTag(b), "time="...), l.ev.Time)
	}
	if l.Level >= allTags && l.ev.Seq > 0 && first {
		b = appendMsgID(append(openTag(b), "msgid="...), l.room.ID, l.ev.Seq)
	}
	return closeTags(b)
}

// begin appends a line as far as its command. from is a nick, or "" for the server.
func (l *lines) begin(b []byte, from, command string) []byte {
	b = append(b, ':')
	if isMiddle(from) {
		b = append(append(b, from...), "!"+userName+"@"...)
	}
	b = append(append(b, l.host...), ' ')
	return append(b, command...)
}

func (l *lines) appendRoom(b []byte) []byte {
	return append(append(b, ' ', chanType), l.room.Name...)
}

// event appends a line that is not split, with the room as its first parameter if inRoom.
func (l *lines) event(b []byte, from, command string, inRoom bool, params ...string) []byte {
	b = l.tags(b, true)
	start := len(b)
	if b = l.begin(b, from, command); inRoom {
		b = l.appendRoom(b)
	}
	return appendParams(b, start, params...)
}

// say appends what somebody says.
func (l *lines) say(b []byte) []byte {
	command := "PRIVMSG"
	if l.ev.Notice {
		command = "NOTICE"
	}
	text, to, isAction := l.ev.Text, "", l.ev.Type == wire.TypeAction
	if l.ev.Type == wire.TypePrivate { // its text may be a CTCP message
		to = l.ev.To
		if name, args, _ := ParseCTCP(text); name == action {
			text, isAction = args, true
		}
	} else {
		text = withoutCTCP(text)
	}
	if isAction {
		return l.split(b, l.ev.From, command, to, "\x01"+action+" ", "", text, "\x01")
	}
	return l.split(b, l.ev.From, command, to, "", "", text, "")
}

// notice appends a notice of the server. One for a single reader names the room in its text, as
// other servers do.
func (l *lines) notice(b []byte) []byte {
	text := withoutCTCP(l.ev.Text)
	if l.room.To == "" {
		return l.split(b, "", "NOTICE", "", "", "", text, "")
	}
	return l.split(b, "", "NOTICE", l.room.To, "", l.room.Name, text, "")
}

// refusal appends why something that the only reader said is not in the room. Clients show a numeric
// where the room is.
func (l *lines) refusal(b []byte) []byte {
	n := errCannotSend
	switch {
	case l.room.To == "" || l.ev.Command == "":
		return l.notice(b)
	case l.ev.Command == "notice": // no program answers one
		return b
	case l.ev.Command == "topic":
		n = errChanOpPrivs
	}
	return l.event(b, "", n.String(), false, l.room.To, string(chanType)+l.room.Name, withoutCTCP(l.ev.Text))
}

// split appends a text in as many lines as it needs: to the nick to, or to the room. Each part is
// between open and end. about is the room that the first one names, or "".
func (l *lines) split(b []byte, from, command, to, open, about, text, end string) []byte {
	for first := true; first || text != ""; first = false {
		b = l.tags(b, first)
		start := len(b)
		if b = l.begin(b, from, command); to != "" {
			b = append(append(b, ' '), to...)
		} else {
			b = l.appendRoom(b)
		}
		b = append(append(b, " :"...), open...)
		if first && about != "" {
			b = append(append(append(b, '[', chanType), about...), "] "...)
		}
		if first && l.Clock && !l.ev.Time.IsZero() {
			b = appendClock(b, l.ev.Time.UTC(), time.Now().UTC())
		}
		var part string
		part, text = cutText(text, maxInside-len(end)-(len(b)-start))
		b = append(append(b, part...), end...)
		b = endLine(b, start)
	}
	return b
}

// appendClock appends a time for people, both in UTC.
func appendClock(b []byte, t, now time.Time) []byte {
	if t.YearDay() != now.YearDay() || t.Year() != now.Year() {
		return t.AppendFormat(b, "[2006-01-02 15:04] ")
	}
	return t.AppendFormat(b, "[15:04] ")
}

// withoutCTCP returns a text that no client takes for a CTCP message. Texts of a room are clean, and
// have no such byte.
func withoutCTCP(text string) string {
	if strings.IndexByte(text, ctcp) < 0 {
		return text
	}
	return strings.ReplaceAll(text, "\x01", string(utf8.RuneError))
}
