package irc

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// The bounds of a line from a client, in bytes. Tags have a bound of their own
// (https://ircv3.net/specs/extensions/message-tags, section "Size limit").
const (
	MaxTagBytes = 4096 // of the tags, with the @ and the space behind them
	MaxLine     = 512  // of the rest, with CR LF
	maxInside   = MaxLine - len("\r\n")
	maxTagData  = MaxTagBytes - len("@ ")
	maxParams   = 15
)

// Message is one line. Its strings are unescaped, and may have any bytes but NUL, CR and LF.
type Message struct {
	Tags    []Tag  // in their order; of several with one key the last counts
	Source  string // without the colon; a server does not believe what a client writes here
	Command string // its ASCII letters in upper case
	Params  []string
}

// Tag is a tag of a message. The key of one that is meant for other clients begins with a +. A
// tag with an empty value is the same as one without a value.
type Tag struct{ Key, Value string }

// Tag returns the value of the tag, and whether the message has it.
func (m *Message) Tag(key string) (value string, ok bool) {
	for i := len(m.Tags) - 1; i >= 0; i-- {
		if m.Tags[i].Key == key {
			return m.Tags[i].Value, true
		}
	}
	return "", false
}

// Param returns the parameter with that index, or "".
func (m *Message) Param(i int) string {
	if i < len(m.Params) {
		return m.Params[i]
	}
	return ""
}

// IsUTF8 reports whether the message is UTF-8, apart from its tags. One that is not is refused:
// https://ircv3.net/specs/extensions/utf8-only
func (m *Message) IsUTF8() bool {
	for _, p := range m.Params {
		if !utf8.ValidString(p) {
			return false
		}
	}
	return utf8.ValidString(m.Command) && utf8.ValidString(m.Source)
}

// ParseError says why a line is no message.
type ParseError struct {
	Numeric Numeric // the answer; 0: none, the line is blank
	Text    string
}

// Error returns the sentence.
func (e *ParseError) Error() string { return e.Text }

var (
	errBlank     = &ParseError{0, "blank line"}
	errTooLong   = &ParseError{errInputTooLong, errInputTooLong.Text()}
	errBadByte   = &ParseError{errUnknownError, "a line has no NUL, CR or LF"}
	errNoCommand = &ParseError{errUnknownError, "the line has no command"}
)

// ParseMessage parses a line without its ending. It is lenient: spaces before and between the
// parts are skipped, a fifteenth parameter takes the rest of the line, and a command may be any
// word that does not begin like a source or tags. The error is a *ParseError: the line is blank,
// longer than MaxTagBytes and MaxLine allow, has a byte that no line has, or has no command.
func ParseMessage(line []byte) (Message, error) {
	switch {
	case len(line) > maxInside+MaxTagBytes:
		return Message{}, errTooLong
	case bytes.IndexByte(line, 0) >= 0, bytes.IndexByte(line, '\r') >= 0, bytes.IndexByte(line, '\n') >= 0:
		return Message{}, errBadByte
	}
	var m Message
	rest := string(line)
	if trimmed := trimSpaces(rest); strings.HasPrefix(trimmed, "@") {
		var tags string
		tags, rest, _ = strings.Cut(trimmed[1:], " ")
		if len(tags) > maxTagData {
			return Message{}, errTooLong
		}
		m.Tags = parseTags(tags)
	}
	if len(rest) > maxInside {
		return Message{}, errTooLong
	}
	if rest = trimSpaces(rest); strings.HasPrefix(rest, ":") {
		m.Source, rest, _ = strings.Cut(rest[1:], " ")
		rest = trimSpaces(rest)
	}
	command, rest, _ := strings.Cut(rest, " ")
	switch {
	case command == "" && m.Source == "" && m.Tags == nil:
		return Message{}, errBlank
	case command == "", command[0] == ':', command[0] == '@':
		return Message{}, errNoCommand
	}
	m.Command = upper(command)
	for rest = trimSpaces(rest); rest != ""; rest = trimSpaces(rest) {
		var p string
		if last := rest[0] == ':'; last || len(m.Params) == maxParams-1 {
			if last {
				rest = rest[1:]
			}
			p, rest = rest, ""
		} else {
			p, rest, _ = strings.Cut(rest, " ")
		}
		if m.Params == nil {
			m.Params = make([]string, 0, 4) // more are rare
		}
		m.Params = append(m.Params, p)
	}
	return m, nil
}

// upper returns s with its ASCII letters in upper case. Other bytes stay, so that a dotless i
// makes no PING.
func upper(s string) string {
	isLower := func(r rune) bool { return r >= 'a' && r <= 'z' }
	if !strings.ContainsFunc(s, isLower) {
		return s
	}
	b := []byte(s)
	for i, c := range b {
		if isLower(rune(c)) {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func trimSpaces(s string) string { return strings.TrimLeft(s, " ") }

// parseTags parses what is between the @ and the space. A value that is not UTF-8 is dropped, as
// the specification allows.
func parseTags(s string) []Tag {
	tags := make([]Tag, 0, strings.Count(s, ";")+1)
	for tag := range strings.SplitSeq(s, ";") {
		key, value, _ := strings.Cut(tag, "=")
		if value = unescapeTag(value); !utf8.ValidString(value) {
			value = ""
		}
		if key != "" && utf8.ValidString(key) {
			tags = append(tags, Tag{key, value})
		}
	}
	return tags
}

// unescapeTag returns the value that is escaped in s. The backslash of an escape that is not
// known is dropped.
func unescapeTag(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			if i++; i == len(s) {
				break
			}
			switch c = s[i]; c {
			case ':':
				c = ';'
			case 's':
				c = ' '
			case 'r':
				c = '\r'
			case 'n':
				c = '\n'
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// AppendTagValue appends a value with its escapes. A NUL, which has none, becomes a space.
func AppendTagValue(b []byte, value string) []byte {
	for i := range len(value) {
		switch c := value[i]; c {
		case ';':
			b = append(b, `\:`...)
		case ' ', 0:
			b = append(b, `\s`...)
		case '\\':
			b = append(b, `\\`...)
		case '\r':
			b = append(b, `\r`...)
		case '\n':
			b = append(b, `\n`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendTag appends a tag of the next line. b has whole lines, and after them the tags of that
// line so far; appendLine, or another appendTag, goes on from there. The key is a constant of
// ours: only the value is escaped.
func appendTag(b []byte, key, value string) []byte {
	if b = append(openTag(b), key...); value != "" {
		b = AppendTagValue(append(b, '='), value)
	}
	return b
}

// openTag appends what is before the key of a tag.
func openTag(b []byte) []byte {
	if atLineStart(b) {
		return append(b, '@')
	}
	return append(b, ';')
}

// closeTags ends the tags of the line, if there are any.
func closeTags(b []byte) []byte {
	if atLineStart(b) {
		return b
	}
	return append(b, ' ')
}

func atLineStart(b []byte) bool { return len(b) == 0 || b[len(b)-1] == '\n' }

// appendLine appends a line with its ending, behind the tags that appendTag has begun. source may
// be "". The last parameter may be any text. Another one that cannot stand there, because it is
// empty, has a space or begins with a colon, becomes a *. CR, LF and NUL become spaces, and
// the end of a line of more than MaxLine bytes is left out, at a character.
func appendLine(b []byte, source, command string, params ...string) []byte {
	b = closeTags(b)
	start := len(b)
	if source != "" {
		b = append(append(append(b, ':'), source...), ' ')
	}
	return appendParams(append(b, command...), start, params...)
}

// appendParams appends the parameters of appendLine, and ends the line that begins at start.
func appendParams(b []byte, start int, params ...string) []byte {
	for i, p := range params {
		b = append(b, ' ')
		switch last := i == len(params)-1; {
		case !isMiddle(p) && last:
			b = append(append(b, ':'), p...)
		case !isMiddle(p):
			b = append(b, '*')
		default:
			b = append(b, p...)
		}
	}
	return endLine(b, start)
}

// endLine ends the line that begins at start, and makes it safe.
func endLine(b []byte, start int) []byte {
	if len(b)-start > maxInside {
		b = b[:start+cutAt(b[start:], maxInside)]
	}
	for i, c := range b[start:] {
		if c == 0 || c == '\r' || c == '\n' {
			b[start+i] = ' '
		}
	}
	return append(b, "\r\n"...)
}

// cutAt returns the greatest n up to limit at which a character of b begins. Bytes that are not
// UTF-8 are characters of one byte.
func cutAt(b []byte, limit int) int {
	if len(b) <= limit {
		return len(b)
	}
	for n := limit; n > 0 && n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(b[n]) {
			return n
		}
	}
	return limit
}

// isMiddle reports whether a parameter can stand before others.
func isMiddle(p string) bool {
	return p != "" && p[0] != ':' && strings.IndexByte(p, ' ') < 0 && strings.IndexByte(p, 0) < 0 &&
		strings.IndexByte(p, '\r') < 0 && strings.IndexByte(p, '\n') < 0
}
