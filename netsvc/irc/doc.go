// Package irc lets clients of IRC into the rooms: RFC 1459 and 2812 as https://modern.ircdocs.horse
// describes them, with the IRCv3 capabilities of capability.go (https://ircv3.net/irc).
//
// # Sessions
//
// A [Server] is the door: it has the nicks of all sessions, and the formats of the rooms' logs. A
// client is the Protocol of a netsvc.RoomsSession, which calls it with the read lock of the conn;
// there is no goroutine and no queue here. Server.mu guards the nicks and what others see of a
// client, and comes after all locks of netsvc. A command that has to wait returns false and is
// called again, so it keeps in the client what it has done.
//
// CHATHISTORY (chathistory.go) finds a range of numbers, reading from the disk in turns, and leaves
// the lines to a replay in the stream of the member: they are rendered as they are written.
//
// A client that comes back is the same reader (resume.go), whose places netsvc/readers keeps.
//
// # Pure files
//
// These know bytes and no session; their functions may be called by any number of goroutines:
//
//   - message.go: a line as a Message; the lines that go out
//   - numeric.go, failure.go: the numerics and standard replies, with their English
//   - text.go, split.go: formatting codes and CTCP; a long text in several lines
//   - capability.go, isupport.go: CAP; the tokens of 005
//   - history.go: requests of CHATHISTORY, msgids, times
//   - format.go: the log of a room as IRC
//   - nearest.go: the names that roomd has beside those that clients ask for
//
// A line out never has a CR, LF or NUL but in its ending, and without its tags at most 512
// bytes: the append functions see to it, whatever they are given.
//
// # Names
//
// The room Lobby is #Lobby. Its members have their nicks, with one user name and one host for
// all: ann!u@irc.example.org. Names are those of wire.ParseName: 1 to 32 characters, which may
// be 128 bytes, letters of one script, digits, "-", "_" and ".", a letter, a digit or "_" first.
// None has a space, a comma, a colon, or one of ! @ # & : * ?, and each can stand as a middle
// parameter, in a list with commas, and in a prefix. Four things differ from most networks:
//
//   - A nick may begin with a digit. wire.ParseNick refuses only numbers and addresses.
//   - A nick may have a dot, as the names of servers do. A prefix of ours always has ! and @.
//   - A nick may have letters of any script. UTF8MAPPING=rfc8265 says how they are compared;
//     CASEMAPPING=ascii is for clients that know only that.
//   - Nicks have none of [ ] \ ` ^ { | }. NearestNick replaces them.
package irc
