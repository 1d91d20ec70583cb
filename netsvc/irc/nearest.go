package irc

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"roomd/netsvc/wire"
)

// NearestNick returns the nick that roomd allows and that is most like the one that a client asks
// for: the same if it is allowed. ok is false if there is none. Brackets and the like become _,
// other characters that no name has are left out; so is the end of a long nick.
func NearestNick(s string) (nick string, ok bool) {
	return nearest(s, func(s string) bool { _, err := wire.ParseNick(s); return err == nil })
}

// NearestRoom is NearestNick for the name of a room, with its # or without. The result is without.
func NearestRoom(s string) (name string, ok bool) {
	return nearest(strings.TrimLeft(s, string(chanType)), isName)
}

func isName(s string) bool { _, err := wire.ParseName(s); return err == nil }

// maxNearest bounds the characters of a name that are looked at.
const maxNearest = 2 * wire.MaxName

func nearest(s string, allowed func(string) bool) (name string, ok bool) {
	if allowed(s) {
		return s, true
	}
	lead := ""    // a _ in front, which needs a letter or a digit behind it
	lost := false // something else in front
	n := 0
	for _, r := range s {
		if n++; n > maxNearest {
			break
		}
		if strings.ContainsRune("[]{}\\|^`~", r) {
			r = '_'
		}
		switch {
		case r == utf8.RuneError:
		case name == "" && r == '_':
			lead = "_"
		case isName(lead + name + string(r)):
			name += string(r)
		case name == "" && isName(string(r)): // written from right to left
			lead, name = "", string(r)
		case name == "" && !unicode.IsSpace(r):
			lost = true
		}
	}
	if name == "" {
		return "", false
	}
	name = lead + name
	// Characters that are lost in front distinguish the nick from one that is in use.
	if lost && lastRune(name) != "_" && allowed(name+"_") {
		return name + "_", true
	}
	for _, try := range []string{name, name + "_", "x" + name, "x" + strings.TrimSuffix(name, lastRune(name))} {
		if allowed(try) {
			return try, true
		}
	}
	return "", false
}

func lastRune(s string) string {
	_, n := utf8.DecodeLastRuneInString(s)
	return s[len(s)-n:]
}
