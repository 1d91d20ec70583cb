package client

import (
	"fmt"
	"strings"
)

// Words of the protocol (docs/protocol.md) that a port says before JSON, where there are no
// codes: a client distinguishes a room, its password and TLS by them. A greeting has the
// room's name before youAre.
const (
	youAre        = " here, you are "
	askPassword   = "this room has a password"
	wrongPassword = "that is not the password"
	speaksTLS     = "this port speaks TLS"
)

// handleGreeting handles a line of text before JSON. Nothing is sent to a port before it has
// greeted as the right room: the port may be another server's. A room with a password asks
// for it first.
func (s *session) handleGreeting(line string) error {
	text, ours := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "* ")
	if s.lastNotice = text; !s.greeted && !ours {
		return &Error{Code: NotRoomd, Text: fmt.Sprintf("%s does not speak as a room: %q", s.addr, text[:min(len(text), 80)])}
	}
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	rest, nick, welcome := strings.Cut(text, youAre)
	switch {
	case s.greeted: // more lines for new members
	case welcome:
		if name, _, named := strings.Cut(rest, ": "); !named || name != r.name {
			return &Error{Code: WrongRoom, Text: fmt.Sprintf("%s is the port of the room %s, and not of %s: is it another server's?", s.addr, name, r.name)}
		}
		nick, _, _ = strings.Cut(nick, " ")
		r.guestNick, s.nick = nick, nick
		s.greeted, s.passwordAsked = true, false
	case s.passwordAsked: // the answer to the password is no greeting
		return &Error{Denied, s.lastNotice, strings.HasPrefix(s.lastNotice, wrongPassword)}
	case strings.HasPrefix(s.lastNotice, askPassword):
		if s.passwordAsked = true; r.options.Password == "" {
			return &Error{Denied, askPassword, true}
		}
	}
	r.wake(r.writeReady)
	return nil
}

// notMaster is the error for a port that answers a request like a room, or not at all.
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
