package chat

import (
	"hash/fnv"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"roomd/admin/term"
	"roomd/cmd/roomd/remote"
	"roomd/netsvc/client"
	"roomd/netsvc/wire"
)

// style is the appearance of the output.
type style struct {
	bell       bool // the output is a terminal, which has a bell
	highlights bool // the terminal can highlight a mention
	colours    bool // the terminal has colours, and NO_COLOR (no-color.org) is not set
}

func newStyle(out io.Writer) style {
	there := term.IsTerminal(out)
	marks := there && !term.IsDumb()
	return style{bell: there, highlights: marks, colours: marks && os.Getenv("NO_COLOR") == ""}
}

// SGR codes (ECMA-48).
const (
	bold    = "1"
	dim     = "2"
	reverse = "7"
	magenta = "35"
)

// nickColours are easy to tell apart, and readable on dark and light backgrounds.
var nickColours = []string{"31", "32", "33", "34", "36", "38;5;130", "38;5;166", "38;5;98", "38;5;30", "38;5;162", "38;5;64", "38;5;68"}

func (l style) colour(code, text string) string {
	if !l.colours || text == "" {
		return text
	}
	return sgr(code, text)
}

// highlight formats a mention. NO_COLOR does not turn it off: it is about colours.
func (l style) highlight(text string) string {
	if !l.highlights || text == "" {
		return text
	}
	return sgr(reverse, text)
}

func sgr(code, text string) string { return "\x1b[" + code + "m" + text + "\x1b[0m" }

// notice formats a message of the chat itself.
func (l style) notice(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = l.colour(dim, "-- "+lines[i])
	}
	return strings.Join(lines, "\n")
}

// nick formats a nick in its colour, which depends only on the nick.
func (l style) nick(nick string) string {
	h := fnv.New32a()
	io.WriteString(h, wire.Fold(nick))
	return l.colour(nickColours[h.Sum32()%uint32(len(nickColours))], wire.CleanString(nick))
}

// event formats an event for the member me, with all text from the network cleaned. loud says
// that the event is a private message to me, or mentions me.
func (l style) event(ev client.Event, me string) (line string, loud bool) {
	w := remote.CleanEvent(ev)
	loud = !ev.Own && (ev.Type == client.Private || ev.Stored() && mentions(ev.Text, me))
	if loud {
		w.Text = l.highlight(w.Text)
	}
	switch ev.Type {
	case client.Message:
		w.From = l.nick(ev.From)
		line = w.Line()
	case client.Action:
		// Not as the server writes it, where only people's lines may begin with "<": here
		// nobody can forge a line of the server, and this is how chat programs show it.
		line = "* " + l.nick(ev.From) + " " + w.Text
	case client.Private:
		text := w.Text
		w.Text = ""
		line = l.colour(magenta, w.Line()) + text
	case client.Join, client.Leave, client.Nick:
		line = l.colour(dim, w.Line())
	default:
		line = l.colour(bold, w.Line())
	}
	return line, loud
}

// withTime puts the time of day before a line.
func (l style) withTime(t time.Time, line string) string {
	return l.colour(dim, t.Local().Format("15:04")) + " " + line
}

// mentions reports whether a text contains a nick as a word.
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
		if !isWordRune(before) && !isWordRune(after) {
			return true
		}
		at = i + len(nick)
	}
}

func isWordRune(r rune) bool {
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '_' || r == '-')
}
