package bench

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// protocol is a server's, and how it does its work.
type protocol struct {
	wire
	ordered        bool // all members of a room get the same order of lines; else only those of each publisher are in order
	publisherConns bool // a publisher needs a connection beside its member's
	masterPort     bool // rooms are made, and have ports of their own
}

// wire is what a server's members read and write.
type wire interface {
	// hello is what a member of a room sends first; a brief one has nothing to
	// wait for but being in.
	hello(room string, brief bool) string
	// joined looks for the end of the welcome, or for a brief member for its
	// beginning, and returns its length; 0: it is not all there. The error quotes
	// a refusal, or the welcome of another room, into which nothing must be said.
	joined(b []byte, room string, brief bool) (int, error)
	// frame parses a whole message at the beginning of b and returns its
	// payload and its length; 0: it is not all there.
	frame(b []byte) (payload []byte, n int, err error)
	// isControl reports whether a byte begins a line that is no message and need
	// not be the same for all members.
	isControl(b byte) bool
	// control says what to reply to such a line, or what is wrong with it.
	control(line []byte) (string, error)
	// publish appends a message to a room.
	publish(b []byte, room string, payload []byte) []byte
}

// protocols by name.
func protocolOf(name string) (protocol, error) {
	switch name {
	case "roomd":
		return protocol{wire: roomdWire{}, ordered: true, masterPort: true}, nil
	case "redis":
		return protocol{wire: redisWire{}, ordered: true, publisherConns: true}, nil
	case "nats":
		return protocol{wire: natsWire{}}, nil
	}
	return protocol{}, fmt.Errorf("%q is no protocol: write roomd, redis or nats", name)
}

func quote(b []byte) string {
	const most = 120
	if len(b) > most {
		return strconv.Quote(string(b[:most])) + "..."
	}
	return strconv.Quote(string(b))
}

// roomdWire is docs/protocol.md, the text form.
type roomdWire struct{}

// The answer to a ping comes behind the welcome and the replay.
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
			return 0, fmt.Errorf("refused: %s", quote(line))
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
		return nil, 0, fmt.Errorf("no line of a member: %s", quote(b[:n]))
	}
	return b[i+2 : n-1], n, nil
}

func (roomdWire) isControl(b byte) bool { return b == '*' }

// control lets pass who comes and goes; everything else that the server says
// means that something is not as it should be.
func (roomdWire) control(line []byte) (string, error) {
	if bytes.HasSuffix(line, []byte(" here)\n")) || bytes.HasPrefix(line, []byte("* pong ")) {
		return "", nil
	}
	return "", fmt.Errorf("the server says %s", quote(line))
}

func (roomdWire) publish(b []byte, _ string, payload []byte) []byte {
	return append(append(b, payload...), '\n')
}

// redisWire is RESP2 with SUBSCRIBE and PUBLISH; a room is a channel.
type redisWire struct{}

func (redisWire) hello(room string, _ bool) string {
	return fmt.Sprintf("*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", len(room), room)
}

func (redisWire) joined(b []byte, _ string, _ bool) (int, error) {
	if len(b) > 0 && b[0] != '*' {
		return 0, fmt.Errorf("refused: %s", quote(b))
	}
	i := bytes.Index(b, []byte("\r\n:1\r\n"))
	if i < 0 {
		return 0, nil
	}
	return i + 6, nil
}

const redisMessage = "*3\r\n$7\r\nmessage\r\n"

func (redisWire) frame(b []byte) ([]byte, int, error) {
	if len(b) < len(redisMessage) {
		return nil, 0, nil
	}
	if string(b[:len(redisMessage)]) != redisMessage {
		return nil, 0, fmt.Errorf("no message: %s", quote(b))
	}
	at := len(redisMessage)
	_, n, err := bulk(b[at:])
	if n == 0 {
		return nil, 0, err
	}
	at += n
	payload, n, err := bulk(b[at:])
	if n == 0 {
		return nil, 0, err
	}
	return payload, at + n, nil
}

var errBulk = errors.New("a malformed bulk string")

// bulk parses "$5\r\nhello\r\n".
func bulk(b []byte) ([]byte, int, error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, 0, nil
	}
	if i < 3 || b[0] != '$' {
		return nil, 0, errBulk
	}
	size := 0
	for _, c := range b[1 : i-1] {
		if c < '0' || c > '9' || size > 1<<24 {
			return nil, 0, errBulk
		}
		size = size*10 + int(c-'0')
	}
	end := i + 1 + size + 2
	if len(b) < end {
		return nil, 0, nil
	}
	return b[i+1 : end-2], end, nil
}

func (redisWire) isControl(byte) bool { return false }

func (redisWire) control(line []byte) (string, error) {
	return "", fmt.Errorf("the server says %s", quote(line))
}

func (redisWire) publish(b []byte, room string, payload []byte) []byte {
	b = append(b, "*3\r\n$7\r\nPUBLISH\r\n$"...)
	b = append(strconv.AppendInt(b, int64(len(room)), 10), "\r\n"...)
	b = append(append(b, room...), "\r\n$"...)
	b = append(strconv.AppendInt(b, int64(len(payload)), 10), "\r\n"...)
	return append(append(b, payload...), "\r\n"...)
}

// natsWire is the core NATS protocol; a room is a subject.
type natsWire struct{}

func (natsWire) hello(room string, _ bool) string {
	return `CONNECT {"verbose":false,"pedantic":false,"lang":"go","version":"1","protocol":1}` + "\r\nSUB " + room + " 1\r\nPING\r\n"
}

func (natsWire) joined(b []byte, _ string, _ bool) (int, error) {
	if len(b) > 0 && b[0] == '-' {
		return 0, fmt.Errorf("refused: %s", quote(b))
	}
	i := bytes.Index(b, []byte("\r\nPONG\r\n"))
	if i < 0 {
		return 0, nil
	}
	return i + 8, nil
}

func (natsWire) frame(b []byte) ([]byte, int, error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, 0, nil
	}
	last := bytes.LastIndexByte(b[:i], ' ')
	if i < 6 || last < 0 || string(b[:4]) != "MSG " {
		return nil, 0, fmt.Errorf("no message: %s", quote(b[:i+1]))
	}
	size, err := strconv.Atoi(string(b[last+1 : i-1]))
	if err != nil || size < 0 || size > 1<<24 {
		return nil, 0, fmt.Errorf("no message: %s", quote(b[:i+1]))
	}
	end := i + 1 + size + 2
	if len(b) < end {
		return nil, 0, nil
	}
	return b[i+1 : end-2], end, nil
}

func (natsWire) isControl(b byte) bool { return b != 'M' }

func (natsWire) control(line []byte) (string, error) {
	switch {
	case string(line) == "PING\r\n":
		return "PONG\r\n", nil
	case string(line) == "PONG\r\n" || bytes.HasPrefix(line, []byte("INFO ")):
		return "", nil
	}
	return "", fmt.Errorf("the server says %s", quote(line))
}

func (natsWire) publish(b []byte, room string, payload []byte) []byte {
	b = append(append(append(b, "PUB "...), room...), ' ')
	b = append(strconv.AppendInt(b, int64(len(payload)), 10), "\r\n"...)
	return append(append(b, payload...), "\r\n"...)
}
