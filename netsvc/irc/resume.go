package irc

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/limit"
	"roomd/netsvc/wire"
)

// maxDevice is the longest device word.
const maxDevice = 32

// isDevice reports whether a word may name a client of somebody: 1 to maxDevice letters, digits and -, _
// and dots, in ASCII.
func isDevice(s string) bool {
	if s == "" || len(s) > maxDevice {
		return false
	}
	for _, c := range []byte(s) {
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !letter && !('0' <= c && c <= '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}

// splitPass reads the text of a PASS: the server's password, a device word, or both with a colon in
// between. ok is false if the server has a password, and that is not it. A device word that is none is
// ignored.
func splitPass(text, password string) (device string, ok bool) {
	same := func(s string) bool { return subtle.ConstantTimeCompare([]byte(s), []byte(password)) == 1 }
	if i := strings.LastIndexByte(text, ':'); i >= 0 && isDevice(text[i+1:]) {
		if password == "" || same(text[:i]) {
			return text[i+1:], true
		}
	} else if password == "" && isDevice(text) {
		return text, true
	}
	return "", password == "" || same(text)
}

// readerKey is what a client is known by when it comes back: a folded nick that it asks for, its user
// name, and the device word or, without one, the address: for IPv6 the /64. Nobody is shown the user
// name. As the nick that it has got does not count, a client whose old connection the server believes
// to be alive still, so that it is called ann_ now, is the same reader.
func (c *client) readerKey(nick string) string {
	kind, from := "device", c.device()
	if from == "" {
		kind, from = "address", limit.Prefix(c.Remote().Addr()).String()
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{"irc", kind, from, nick, c.user}, "\x00")))
	return string(sum[:16])
}

// resumes is for how long the client finds its place in a room again: one that asks for history itself
// has no place, so that it never moves that of another client of the same person.
func (c *client) resumes() time.Duration {
	if c.has(capChatHistory) {
		return 0
	}
	return c.server.opts().Resume
}

// missed is the part of the history that the client gets when it enters a room: everything after the
// last line that it has, or the newest lines if it was never there. One that can ask for history gets
// nothing, as draft/chathistory says.
func (c *client) missed(w netsvc.Welcome) (parts []netsvc.Part) {
	if c.has(capChatHistory) || w.Lines == 0 {
		return nil
	}
	if !w.Known {
		if w.Replay == 0 {
			return nil
		}
		return []netsvc.Part{{Replay: c.replay(w.Name, netsvc.Replay{Newest: w.Replay})}}
	}
	notice := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		parts = append(parts, netsvc.Part{Bytes: appendLine(nil, c.server.host(), "NOTICE", string(chanType)+w.Name, text)})
	}
	after := w.After
	if w.Removed > after {
		notice("%d of the lines since %s are not kept any more", w.Removed-after, w.Since.UTC().Format(wire.ClockFormat))
		after = w.Removed
	}
	if most := uint64(max(0, c.server.opts().Replay)); w.Newest > after && w.Newest-after > most {
		first := w.Newest - most + 1
		notice("%d more lines have come since %s: /before %d at the port of the room (nc) shows them, and so does CHATHISTORY",
			w.Newest-most-after, w.Since.UTC().Format(wire.ClockFormat), first)
		after = w.Newest - most
	}
	if w.Newest > after {
		parts = append(parts, netsvc.Part{Replay: c.replay(w.Name, netsvc.Replay{After: after, Upto: w.Newest})})
	}
	return parts
}
