package chat

import (
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"roomd/admin/term"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// look is how things look.
type look struct {
	bell    bool // a person hears it
	marks   bool // the terminal can show that a line is for the person
	colours bool // it has colours, and NO_COLOR (no-color.org) is not set
}

func newLook(out io.Writer) look {
	there := term.IsTerminal(out)
	marks := there && !term.Dumb()
	return look{bell: there, marks: marks, colours: marks && os.Getenv("NO_COLOR") == ""}
}

// SGR codes (ECMA-48).
const (
	bold    = "1"
	dim     = "2"
	reverse = "7"
	magenta = "35"
)

// nickColours are readable on dark and on light, and far from each other.
var nickColours = []string{"31", "32", "33", "34", "36", "38;5;130", "38;5;166", "38;5;98", "38;5;30", "38;5;162", "38;5;64", "38;5;68"}

func (l look) in(code, text string) string {
	if !l.colours || text == "" {
		return text
	}
	return sgr(code, text)
}

// marked is a text that is for the person: NO_COLOR is about colours alone.
func (l look) marked(text string) string {
	if !l.marks || text == "" {
		return text
	}
	return sgr(reverse, text)
}

func sgr(code, text string) string { return "\x1b[" + code + "m" + text + "\x1b[0m" }

// ours is a line of the chat's own.
func (l look) ours(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = l.in(dim, "-- "+lines[i])
	}
	return strings.Join(lines, "\n")
}

// nick is a nick in its colour, the same everywhere and always.
func (l look) nick(nick string) string {
	h := fnv.New32a()
	io.WriteString(h, wire.Fold(nick))
	return l.in(nickColours[h.Sum32()%uint32(len(nickColours))], wire.CleanString(nick))
}

// event is an event as it is shown to the one called me. Nothing in it that came
// from the network gets to the terminal as it is. loud says that it is for me.
func (l look) event(ev client.Event, me string) (line string, loud bool) {
	text, from := wire.CleanString(ev.Text), wire.CleanString(ev.From)
	loud = !ev.Own && (ev.Type == client.Private || ev.Stored() && mentions(ev.Text, me))
	if loud {
		text = l.marked(text)
	}
	switch ev.Type {
	case client.Message:
		line = "<" + l.nick(ev.From) + "> " + text
	case client.Action:
		line = "* " + l.nick(ev.From) + " " + text
	case client.Private:
		line = l.in(magenta, "<"+from+" -> "+wire.CleanString(ev.To)+"> ") + text
	case client.Topic:
		if line = l.in(bold, "* "+from+" set the topic: "+text); text == "" {
			line = l.in(bold, "* "+from+" removed the topic")
		}
	case client.Join:
		line = l.in(dim, fmt.Sprintf("* %s joined (%d here)", from, ev.Members))
	case client.Leave:
		line = l.in(dim, fmt.Sprintf("* %s left (%d here)", from, ev.Members))
	case client.Nick:
		line = l.in(dim, "* "+from+" is now "+wire.CleanString(ev.Nick))
	default:
		line = l.in(bold, "* "+text)
	}
	return line, loud
}

// at puts the time of day before a line.
func (l look) at(t time.Time, line string) string {
	return l.in(dim, t.Local().Format("15:04")) + " " + line
}

// mentions reports whether a nick stands in a text as a word.
func mentions(text, nick string) bool {
	if nick == "" {
		return false
	}
	text, nick = wire.Fold(text), wire.Fold(nick)
	for at := 0; ; {
		i := strings.Index(text[at:], nick)
		if i < 0 {
			return false
		}
		i += at
		before, _ := utf8.DecodeLastRuneInString(text[:i])
		after, _ := utf8.DecodeRuneInString(text[i+len(nick):])
		if !inWord(before) && !inWord(after) {
			return true
		}
		at = i + len(nick)
	}
}

func inWord(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '_' || r == '-')
}
