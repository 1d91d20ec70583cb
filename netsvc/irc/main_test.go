package irc

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var nextPort = netsvctest.NewPorts(8500, 9499)

// testServer is a service with the door of IRC.
type testServer struct {
	*netsvctest.Server
	irc *Server
}

// newServer starts a server with the rooms lobby and dev.
func newServer(t testing.TB, change func(*netsvc.Options, *Options)) *testServer {
	first := int(nextPort.Take(20)) - 20
	o := netsvctest.Options(first+1, 19)
	o.FirstRooms = []string{"lobby", "dev"}
	o.RateExempt = nil
	io := Options{Name: "irc.test", Network: "roomd", Resume: time.Hour, Replay: 1000, Version: "test"}
	if change != nil {
		change(&o, &io)
	}
	s := &testServer{irc: New(io)}
	o.Doors = []netsvc.DoorOptions{{Door: s.irc, Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}}}
	s.Server = netsvctest.New(t, o)
	s.Start()
	t.Cleanup(func() {
		if s.Service != nil {
			if found := s.Service.Inconsistencies(); found != nil {
				t.Error(found)
			}
		}
	})
	return s
}

// port returns the port of a room.
func (s *testServer) port(room string) int {
	s.T.Helper()
	r, err := s.Service.Room(room)
	if err != nil {
		s.T.Fatal(err)
	}
	return r.Port
}

// ircClient is a client that sends and reads lines of IRC.
type ircClient struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

// dial connects without a word.
func (s *testServer) dial() *ircClient {
	s.T.Helper()
	c, err := net.Dial("tcp", s.Service.Doors()[0].Listening[0].String())
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * netsvctest.Patience))
	return &ircClient{c, s.T, bufio.NewReader(c)}
}

// login registers a client with capabilities, and reads up to the end of the MOTD.
func (s *testServer) login(nick string, caps ...string) *ircClient {
	s.T.Helper()
	c := s.dial()
	if len(caps) > 0 {
		c.send("CAP LS 302", "CAP REQ :"+strings.Join(caps, " "), "CAP END")
	}
	return c.registers(nick, nick)
}

// registers sends a nick and a user name, and reads up to the end of the MOTD.
func (c *ircClient) registers(nick, user string) *ircClient {
	c.t.Helper()
	c.send("NICK "+nick, "USER "+user+" 0 * :"+user)
	c.until(" 376 ")
	return c
}

func (c *ircClient) send(lines ...string) {
	c.t.Helper()
	if _, err := fmt.Fprint(c, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
}

// line reads the next line, without its ending.
func (c *ircClient) line() string {
	c.t.Helper()
	l, err := c.in.ReadString('\n')
	if err != nil {
		c.t.Fatalf("%v, after %q", err, l)
	}
	if !strings.HasSuffix(l, "\r\n") {
		c.t.Fatalf("a line ends without CR LF: %q", l)
	}
	return strings.TrimSuffix(l, "\r\n")
}

// until reads lines until one contains a text, and returns all of them.
func (c *ircClient) until(text string) (all []string) {
	c.t.Helper()
	for {
		l := c.line()
		if all = append(all, l); strings.Contains(l, text) {
			return all
		}
	}
}

// sync returns the lines that come before the answer to a PING.
func (c *ircClient) sync() []string {
	c.t.Helper()
	c.send("PING sync")
	all := c.until("PONG irc.test sync")
	return all[:len(all)-1]
}

// tags are what differs from run to run.
var tags = regexp.MustCompile(`\btime=[^ ;]+`)

// expect sends a line, and compares what comes up to the answer to a PING. Times are shown as time=T.
func (c *ircClient) expect(send string, want ...string) {
	c.t.Helper()
	if send != "" {
		c.send(send)
	}
	got := c.sync()
	for i := range got {
		got[i] = tags.ReplaceAllString(got[i], "time=T")
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("after %q\ngot  %q\nwant %q", send, got, want)
	}
}
