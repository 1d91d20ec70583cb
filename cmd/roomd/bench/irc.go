package bench

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// dialogue is a wire whose members answer the server until they are in, and are told of
// each other: joins are told to all who are in the room already.
type dialogue interface {
	// answer returns the reply to a line that comes before a member has joined, and
	// what it means.
	answer(line []byte, room string) (reply string, means step, err error)
	// barrier is a request. Its answer comes behind all that the server has told before.
	barrier() string
}

// step is what a line means to a member that joins.
type step int

const (
	nothing step = iota
	entered      // the room tells it of others from now on
	passed       // the barrier is answered
)

// entrant is the dialogue of a connection until it has joined.
type entrant struct {
	partial []byte // a line
	entered bool
}

// take answers the lines in data. passed is true at the answer to the barrier; rest is
// what comes behind that.
func (e *entrant) take(d dialogue, c *conn, room string, data []byte) (rest []byte, passedBarrier bool, err error) {
	e.partial = append(e.partial, data...)
	for {
		n := bytes.IndexByte(e.partial, '\n') + 1
		if n == 0 {
			return nil, false, nil
		}
		reply, means, err := d.answer(e.partial[:n], room)
		if err != nil {
			return nil, false, err
		}
		c.out = append(c.out, reply...)
		e.partial = e.partial[n:]
		switch means {
		case entered:
			e.entered = true
		case passed:
			rest, e.partial = e.partial, nil
			return rest, true, nil
		}
	}
}

// passBarrier lets all members wait until they have been told of all others.
func (t *load) passBarrier(d dialogue) error {
	for _, m := range t.members {
		m.out = append(m.out, d.barrier()...)
		if err := t.loop.flush(&m.conn); err != nil {
			return err
		}
	}
	return nil
}

// ircWire is IRC (RFC 2812) without capabilities: a room is a channel. A server does
// not send a line to its sender.
type ircWire struct{}

// ircNicks counts the nicks that were given: each is used once.
var ircNicks atomic.Uint64

func (ircWire) hello(string, bool) string {
	nick := "n" + strconv.FormatUint(ircNicks.Add(1), 36) // some servers take 9 characters
	return fmt.Sprintf("NICK %s\r\nUSER %[1]s 0 * :%[1]s\r\n", nick)
}

// answer joins when the server has registered the client: some refuse a JOIN before that.
func (ircWire) answer(line []byte, room string) (string, step, error) {
	words := strings.Fields(string(line))
	if len(words) < 2 {
		return "", nothing, unexpected(line)
	}
	if words[0] == "PING" {
		return "PONG " + words[1] + "\r\n", nothing, nil
	}
	switch number, _ := strconv.Atoi(words[1]); {
	case words[0] == "ERROR", number >= 400 && number != 422: // 422: there is no message of the day
		return "", nothing, unexpected(line)
	case number == 1:
		return "JOIN #" + room + "\r\n", nothing, nil
	case number == 366:
		return "", entered, nil
	case words[1] == "PONG":
		return "", passed, nil
	}
	return "", nothing, nil
}

func (ircWire) barrier() string { return "PING :in\r\n" }

func (ircWire) joined([]byte, string, bool) (int, error) {
	return 0, fmt.Errorf("a visitor does not speak IRC")
}

func (ircWire) frame(b []byte) ([]byte, int, error) {
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		return nil, 0, nil
	}
	_, rest, _ := bytes.Cut(b[:n], []byte(" "))
	head, payload, ok := bytes.Cut(rest, []byte(" :"))
	if !ok || !bytes.HasPrefix(head, []byte("PRIVMSG ")) {
		return nil, 0, fmt.Errorf("no message: %.120q", b[:n])
	}
	return bytes.TrimSuffix(payload[:len(payload)-1], []byte("\r")), n, nil
}

func (ircWire) isControl(b byte) bool { return b != ':' }

func (ircWire) control(line []byte) (string, error) {
	if after, ok := bytes.CutPrefix(line, []byte("PING ")); ok {
		return "PONG " + string(after), nil
	}
	return "", unexpected(line)
}

func (ircWire) publish(b []byte, room string, payload []byte) []byte {
	return fmt.Appendf(b, "PRIVMSG #%s :%s\r\n", room, payload)
}

// ircdPing is how long the servers wait before they ask an idle client whether it is
// there: longer than a run.
const ircdPing = time.Hour

// inspircdConfig is InspIRCd's configuration for a port: its core modules, no limits of
// floods, joins and queues that the load could reach.
func inspircdConfig(port int, folder string) string {
	return fmt.Sprintf(`<server name="irc.bench" description="bench" network="bench">
<admin name="bench" nick="bench" email="bench@localhost">
<bind address="127.0.0.1" port="%d" type="clients">
<connect allow="*" timeout="600" pingfreq="%d" threshold="1000000000" commandrate="1000000000" fakelag="no" recvq="100M" softsendq="1G" hardsendq="2G"
  localmax="1000000" globalmax="1000000" limit="1000000" maxchans="100" resolvehostnames="no" useident="no" useconnectban="no">
<performance somaxconn="1024" softlimit="1000000">
<pid file="%s/pid">
`, port, int(ircdPing.Seconds()), folder)
}

// ngircdConfig is the same for ngIRCd.
func ngircdConfig(port int) string {
	return fmt.Sprintf(`[Global]
Name = irc.bench
Info = bench
AdminInfo1 = bench
Listen = 127.0.0.1
Ports = %d
MotdPhrase = bench
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxPenaltyTime = 0
PingTimeout = %d
PongTimeout = %[2]d
[Options]
DNS = no
Ident = no
PAM = no
`, port, int(ircdPing.Seconds()))
}
