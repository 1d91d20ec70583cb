package irc

import "strings"

// The formatting codes of https://modern.ircdocs.horse/formatting
const (
	codeBold          = 0x02
	codeColour        = 0x03
	codeHexColour     = 0x04
	codeReset         = 0x0f
	codeMonospace     = 0x11
	codeReverse       = 0x16
	codeItalic        = 0x1d
	codeStrikethrough = 0x1e
	codeUnderline     = 0x1f
)

const (
	ctcp   = '\x01' // around a CTCP message
	action = "ACTION"
)

// formatting has the formatting codes.
var formatting = [32]bool{
	codeBold: true, codeColour: true, codeHexColour: true, codeReset: true, codeMonospace: true, codeReverse: true,
	codeItalic: true, codeStrikethrough: true, codeUnderline: true,
}

func isFormatting(c byte) bool { return c < ' ' && formatting[c] }

// StripFormatting removes the formatting codes of a text, with the digits of colours.
func StripFormatting(s string) string {
	start := 0
	for start < len(s) && !isFormatting(s[start]) {
		start++
	}
	if start == len(s) {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:start]...)
	for i := start; i < len(s); {
		c := s[i]
		i++
		switch {
		case c == codeColour:
			i += lenColour(s[i:], 1, 2, isDigit)
		case c == codeHexColour:
			i += lenColour(s[i:], 6, 6, isHexDigit)
		case !isFormatting(c):
			b = append(b, c)
		}
	}
	return string(b)
}

// lenColour returns the length of the one or two colours, with a comma between them, that s begins
// with. A comma without a colour behind it is text.
func lenColour(s string, least, most int, isDigit func(byte) bool) int {
	n := lenDigits(s, least, most, isDigit)
	if n == 0 || n == len(s) || s[n] != ',' {
		return n
	}
	if background := lenDigits(s[n+1:], least, most, isDigit); background > 0 {
		n += 1 + background
	}
	return n
}

// lenDigits returns how many digits, up to most, s begins with; 0 if they are fewer than least.
func lenDigits(s string, least, most int, isDigit func(byte) bool) int {
	n := 0
	for n < len(s) && n < most && isDigit(s[n]) {
		n++
	}
	if n < least {
		return 0
	}
	return n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHexDigit(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

// ParseCTCP takes a CTCP message apart (https://modern.ircdocs.horse/ctcp). ok is false if the text
// is none. The command is in upper case, and may be "". The delimiter at the end may be missing;
// text behind it is dropped.
func ParseCTCP(text string) (command, args string, ok bool) {
	if text == "" || text[0] != ctcp {
		return "", "", false
	}
	text, _, _ = strings.Cut(text[1:], string(ctcp))
	command, args, _ = strings.Cut(text, " ")
	return upper(command), args, true
}
