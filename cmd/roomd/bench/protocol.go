package bench

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// protocol is the protocol of a server, and the way it orders lines and has rooms.
type protocol struct {
	wire
	ordered        bool // all members of a room get the same order of lines; else only those of each publisher are in order
	publisherConns bool // a publisher needs a connection beside its member's
	joining        int  // so many may join at the same time; 0: maxJoining
	masterPort     bool // rooms are created at a master port, and have ports of their own
}

var protocols = map[string]protocol{
	"roomd": {wire: roomdWire{}, ordered: true, masterPort: true},
	"redis": {wire: redisWire{}, ordered: true, publisherConns: true},
	"nats":  {wire: natsWire{}},

	"irc":      ircProtocol,
	"inspircd": ircProtocol,
	"ngircd":   {wire: ircWire{}, ordered: true, publisherConns: true, joining: 8},
}

var ircProtocol = protocol{wire: ircWire{}, ordered: true, publisherConns: true}

// wire is the bytes that a server's members read and write.
type wire interface {
	// hello is the first request of a member of a room. A brief member only waits until
	// it is in.
	hello(room string, brief bool) string
	// joined looks for the end of the greeting, or for a brief member for its beginning,
	// and returns its length; 0: it is incomplete. The error quotes a refusal, or the
	// greeting of another room, to which nothing must be sent.
	joined(b []byte, room string, brief bool) (int, error)
	// frame parses the message at the beginning of b and returns its payload and its
	// length; 0: it is incomplete.
	frame(b []byte) (payload []byte, n int, err error)
	// isControl reports whether a byte begins a control line: it is no message and may
	// differ from member to member.
	isControl(b byte) bool
	// control returns the reply to a control line. The error is for a line that a correct
	// server does not send.
	control(line []byte) (string, error)
	// publish appends a message to a room.
	publish(b []byte, room string, payload []byte) []byte
}

func unexpected(line []byte) error { return fmt.Errorf("the server says %.120q", line) }

// roomdWire is docs/protocol.md, the text form.
type roomdWire struct{}

// The answer to a ping comes after the greeting and the replay.
func (roomdWire) hello(_ string, brief bool) string {
	if brief {
		return ""
	}
	return "/ping\n"
}

func (roomdWire) joined(b []byte, room string, brief bool) (int, error) {
	for at := 0; ; {
		n := bytes.IndexByte(b[at:], '\n') + 1
		if n == 0 {
			return 0, nil
		}
		line := b[at : at+n]
		if at == 0 && !isGreeting(line, room) {
			return 0, fmt.Errorf("refused: %.120q", line)
		}
		at += n
		if brief || bytes.HasPrefix(line, []byte("* pong ")) {
			return at, nil
		}
	}
}

// isGreeting reports whether a line is the greeting of a room, and of no other one.
func isGreeting(line []byte, room string) bool {
	return bytes.HasPrefix(line, []byte("* "+room+": ")) && bytes.Contains(line, []byte(", you are "))
}

func (roomdWire) frame(b []byte) ([]byte, int, error) {
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		return nil, 0, nil
	}
	i := bytes.Index(b[:n], []byte("> "))
	if i < 0 || b[0] != '<' {
		return nil, 0, fmt.Errorf("no line of a member: %.120q", b[:n])
	}
	return b[i+2 : n-1], n, nil
}

func (roomdWire) isControl(b byte) bool { return b == '*' }

// control accepts joins and leaves. Any other line of the server is a refusal or a
// warning.
func (roomdWire) control(line []byte) (string, error) {
	if bytes.HasSuffix(line, []byte(" here)\n")) || bytes.HasPrefix(line, []byte("* pong ")) {
		return "", nil
	}
	return "", unexpected(line)
}

func (roomdWire) publish(b []byte, _ string, payload []byte) []byte {
	return append(append(b, payload...), '\n')
}

// joinedAfter is joined for a server that confirms a subscription with known bytes, and
// refuses it with a line that begins with "-".
func joinedAfter(confirmation string, b []byte) (int, error) {
	if len(b) > 0 && b[0] == '-' {
		return 0, fmt.Errorf("refused: %.120q", b)
	}
	if i := bytes.Index(b, []byte(confirmation)); i >= 0 {
		return i + len(confirmation), nil
	}
	return 0, nil
}

var errLength = errors.New("a malformed length")

// sized returns the payload after a header of some bytes that gives its length, and the
// length of both with the line end after it; 0: they are incomplete.
func sized(b []byte, header int, length []byte) (payload []byte, n int, err error) {
	size, err := strconv.Atoi(string(length))
	if err != nil || size < 0 || size > 1<<24 {
		return nil, 0, errLength
	}
	end := header + size + len("\r\n")
	if len(b) < end {
		return nil, 0, nil
	}
	return b[header : end-2], end, nil
}

// redisWire is RESP2 with SUBSCRIBE and PUBLISH; a room is a channel.
type redisWire struct{}

func (redisWire) hello(room string, _ bool) string {
	return fmt.Sprintf("*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", len(room), room)
}

func (redisWire) joined(b []byte, _ string, _ bool) (int, error) { return joinedAfter("\r\n:1\r\n", b) }

func (redisWire) frame(b []byte) (payload []byte, at int, err error) {
	const message = "*3\r\n$7\r\nmessage\r\n"
	if len(b) < len(message) {
		return nil, 0, nil
	}
	if string(b[:len(message)]) != message {
		return nil, 0, fmt.Errorf("no message: %.120q", b)
	}
	at = len(message)
	for range 2 { // the channel, the payload
		var n int
		if payload, n, err = bulkString(b[at:]); n == 0 {
			return nil, 0, err
		}
		at += n
	}
	return payload, at, nil
}

// bulkString parses "$5\r\nhello\r\n".
func bulkString(b []byte) ([]byte, int, error) {
	i := bytes.IndexByte(b, '\n')
	switch {
	case i < 0:
		return nil, 0, nil
	case i < 3 || b[0] != '$':
		return nil, 0, errLength
	}
	return sized(b, i+1, b[1:i-1])
}

func (redisWire) isControl(byte) bool { return false }

func (redisWire) control(line []byte) (string, error) { return "", unexpected(line) }

func (redisWire) publish(b []byte, room string, payload []byte) []byte {
	return fmt.Appendf(b, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(room), room, len(payload), payload)
}

// natsWire is the core NATS protocol; a room is a subject.
type natsWire struct{}

func (natsWire) hello(room string, _ bool) string {
	return `CONNECT {"verbose":false,"pedantic":false,"lang":"go","version":"1","protocol":1}` + "\r\nSUB " + room + " 1\r\nPING\r\n"
}

func (natsWire) joined(b []byte, _ string, _ bool) (int, error) {
	return joinedAfter("\r\nPONG\r\n", b)
}

func (natsWire) frame(b []byte) ([]byte, int, error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, 0, nil
	}
	last := bytes.LastIndexByte(b[:i], ' ')
	if i < 6 || last < 0 || string(b[:4]) != "MSG " {
		return nil, 0, fmt.Errorf("no message: %.120q", b[:i+1])
	}
	return sized(b, i+1, b[last+1:i-1])
}

func (natsWire) isControl(b byte) bool { return b != 'M' }

func (natsWire) control(line []byte) (string, error) {
	switch {
	case string(line) == "PING\r\n":
		return "PONG\r\n", nil
	case string(line) == "PONG\r\n" || bytes.HasPrefix(line, []byte("INFO ")):
		return "", nil
	}
	return "", unexpected(line)
}

func (natsWire) publish(b []byte, room string, payload []byte) []byte {
	return fmt.Appendf(b, "PUB %s %d\r\n%s\r\n", room, len(payload), payload)
}
