package irc

import (
	"bufio"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
)

// dialFrom is dial from another address of this machine.
func (s *testServer) dialFrom(ip string) *ircClient {
	s.T.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", s.Service.Doors()[0].Listening[0].String())
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(3 * netsvctest.Patience))
	return &ircClient{c, s.T, bufio.NewReader(c)}
}

// register registers a client with lines of its own, and reads up to the end of the MOTD.
func (c *ircClient) register(lines ...string) *ircClient {
	c.t.Helper()
	c.send(lines...)
	c.until(" 376 ")
	return c
}

// said finds the number that a line of somebody ends with.
var said = regexp.MustCompile(`^(?:@\S+ )?:(\S+?)!\S+ PRIVMSG #(\S+) :.*\bn=(\d+)$`)

// saidIn returns the numbers that lines in a room end with.
func saidIn(lines []string, room string) (all []string) {
	for _, l := range lines {
		if m := said.FindStringSubmatch(l); m != nil && m[2] == room {
			all = append(all, m[3])
		}
	}
	return all
}

// enter joins rooms, and returns the lines that come first.
func (c *ircClient) enter(rooms string) []string {
	c.t.Helper()
	c.send("JOIN " + rooms)
	return c.sync()
}

func (c *ircClient) quit() {
	c.t.Helper()
	c.send("QUIT")
	c.until("ERROR ")
}

// Who comes back gets exactly what it missed; a stranger gets the newest lines.
func TestMissed(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, io *Options) { o.Replay, io.Replay = 3, 50 })
	bob := s.login("bob")
	bob.enter("#lobby,#dev")
	n := 0
	say := func(count int) (all []string) {
		for range count {
			n++
			bob.send(fmt.Sprintf("PRIVMSG #lobby :n=%d", n))
			all = append(all, fmt.Sprint(n))
		}
		bob.sync()
		return all
	}
	check := func(what string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", what, got, want)
		}
	}
	say(10)
	newest := func() []string { return []string{fmt.Sprint(n - 2), fmt.Sprint(n - 1), fmt.Sprint(n)} }
	ann := s.login("ann")
	check("a stranger", saidIn(ann.enter("#lobby"), "lobby"), newest())
	say(5)
	ann.sync()
	ann.quit()
	missed := say(7)
	ann = s.login("ann")
	check("after QUIT", saidIn(ann.enter("#lobby"), "lobby"), missed)
	for _, back := range []string{"anna", "ann"} { // some clients ask for the nick that they had last
		ann.send("NICK anna")
		ann.sync()
		ann.quit()
		missed = say(7)
		ann = s.dial().registers(back, "ann")
		check("after another nick, as "+back, saidIn(ann.enter("#lobby"), "lobby"), missed)
		if back != "ann" {
			ann.send("NICK ann")
			ann.sync()
			ann.quit()
			missed = say(7)
			ann = s.dial().registers("ann", "ann")
			check("as ann again", saidIn(ann.enter("#lobby"), "lobby"), missed)
		}
	}
	check("a room where it never was", saidIn(ann.enter("#dev"), "dev"), nil)

	ann.quit()
	missed = say(60)
	ann = s.login("ann")
	lines := ann.enter("#lobby")
	check("more than irc.replay", saidIn(lines, "lobby"), missed[10:])
	if !slices.ContainsFunc(lines, func(l string) bool {
		return strings.HasPrefix(l, ":irc.test NOTICE #lobby :10 more lines ") && strings.Contains(l, fmt.Sprintf("/before %d ", n-49))
	}) {
		t.Errorf("no notice in %q", lines[:5])
	}

	// An own line counts as seen, where all before it has come.
	ann.send("PRIVMSG #lobby :mine n=1000")
	ann.sync()
	n++
	ann.quit()
	missed = say(2)
	ann = s.login("ann")
	check("after an own line", saidIn(ann.enter("#lobby"), "lobby"), missed)

	ann.send("PART #lobby")
	ann.sync()
	say(5)
	check("after PART", saidIn(ann.enter("#lobby"), "lobby"), newest())
	ann.quit()
	say(5)

	// Somebody else with that nick neither sees nor changes the place.
	other := s.dial().register("NICK ann", "USER else 0 * :x")
	check("another user name", saidIn(other.enter("#lobby"), "lobby"), newest())
	other.quit()
	other = s.dialFrom("127.0.0.2").register("NICK ann", "USER ann 0 * :x")
	check("another address", saidIn(other.enter("#lobby"), "lobby"), newest())
	other.quit()
	other = s.dial().register("PASS my-phone", "NICK ann", "USER ann 0 * :x")
	check("a device that is new", saidIn(other.enter("#lobby"), "lobby"), newest())
	other.quit()
	missed = say(4)
	other = s.dialFrom("127.0.0.2").register("PASS my-phone", "NICK ann", "USER ann 0 * :x")
	check("a device from another address", saidIn(other.enter("#lobby"), "lobby"), missed)
	other.quit()
	other = s.dial().register("CAP REQ :draft/chathistory batch server-time message-tags", "NICK ann", "USER ann 0 * :x", "CAP END")
	check("with draft/chathistory", saidIn(other.enter("#lobby"), "lobby"), nil)
	other.quit()
	ann = s.login("ann")
	check("the place of all that time", len9(saidIn(ann.enter("#lobby"), "lobby")), []string{"9"})

	// A connection that the server believes to be alive: the next one has another nick, and is the same
	// reader.
	say(3)
	ann.sync()
	again := s.dial().register("NICK ann", "NICK ann_", "USER ann 0 * :x")
	check("all has come on the old connection", saidIn(again.enter("#lobby"), "lobby"), nil)
	again.quit()

	o := *s.irc.opts()
	o.Resume = time.Nanosecond
	s.irc.SetOptions(o)
	ann.quit()
	say(9)
	s.Stop()
	s.Start()
	ann = s.login("ann")
	check("too late", saidIn(ann.enter("#lobby"), "lobby"), newest())
}

func len9(all []string) []string { return []string{fmt.Sprint(len(all))} }

func TestSplitPass(t *testing.T) {
	for _, c := range []struct {
		text, password, device string
		ok                     bool
	}{
		{"", "", "", true},
		{"my-phone", "", "my-phone", true},
		{"no phone", "", "", true},
		{"x:my_phone.2", "", "my_phone.2", true},
		{"secret", "secret", "", true},
		{"secret:p", "secret", "p", true},
		{"a:b", "a:b", "", true},
		{"a:b:p", "a:b", "p", true},
		{"my-phone", "secret", "", false},
		{"wrong:p", "secret", "", false},
		{"secret:", "secret", "", false},
		{"secret:no phone", "secret", "", false},
		{strings.Repeat("x", maxDevice+1), "", "", true},
	} {
		if device, ok := splitPass(c.text, c.password); device != c.device || ok != c.ok {
			t.Errorf("%q with %q: %q, %v", c.text, c.password, device, ok)
		}
	}
}
