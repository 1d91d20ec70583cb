package client

import (
	"fmt"
	"strings"
)

// What a port says before JSON, where there are no codes: the words of the protocol
// (docs/protocol.md) by which a client tells a room, its password and TLS apart. The
// greeting has youAre in it, and before that the room's name. All that follows is
// decided by types and codes.
const (
	youAre        = " here, you are "
	askPassword   = "this room has a password"
	wrongPassword = "that is not the password"
	speaksTLS     = "this port speaks TLS"
)

// handleGreeting reads a line of text, of those before JSON. Nothing is said to a port
// before it has named the room that was asked for: what is behind a port may be
// another server's. A room with a password asks for it first, and answers what
// it does not take for it.
func (s *session) handleGreeting(line string) error {
	text, ours := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "* ")
	if s.lastNotice = text; !s.greeted && !ours {
		return fmt.Errorf("%s does not speak as a room: %q", s.addr, text[:min(len(text), 80)])
	}
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	rest, nick, welcome := strings.Cut(text, youAre)
	switch {
	case s.greeted: // more of what newcomers are shown
	case welcome:
		if name, _, named := strings.Cut(rest, ": "); !named || name != r.name {
			return &Error{Code: WrongRoom, Text: fmt.Sprintf("%s is the port of the room %s, and not of %s: is it another server's?", s.addr, name, r.name)}
		}
		nick, _, _ = strings.Cut(nick, " ")
		r.guestNick, s.nick = nick, nick
		s.greeted, s.passwordAsked = true, false
	case s.passwordAsked: // the password was answered, and not with a welcome
		return &Error{Denied, s.lastNotice, strings.HasPrefix(s.lastNotice, wrongPassword)}
	case strings.HasPrefix(s.lastNotice, askPassword):
		if s.passwordAsked = true; r.options.Password == "" {
			return &Error{Denied, askPassword, true}
		}
	}
	r.wake(r.writeReady)
	return nil
}

// notMaster is the error for a port that speaks first, or as a room does.
func (c *Client) notMaster(text string) error {
	room, _, member := strings.Cut(text, ": ")
	switch {
	case member && strings.Contains(text, youAre):
		text = "the port of the room " + room
	case strings.HasPrefix(text, askPassword):
		text = "the port of a room"
	case strings.HasPrefix(text, speaksTLS):
		return &Error{Code: NeedsTLS, Text: c.addr + " speaks TLS, and this connection does not", final: true}
	default:
		return closedByServer(text)
	}
	return &Error{Code: NotMaster, Text: fmt.Sprintf("%s is %s; name the server's master port instead", c.addr, text), final: true}
}
