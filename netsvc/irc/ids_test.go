package irc

import (
	"strings"
	"testing"

	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// A line with the tag +roomd/id is stored once. A client that says it again gets the echo of the first
// line, and the others get nothing.
func TestLineIDs(t *testing.T) {
	s := newServer(t, nil)
	id := func(seq uint64) string { return MsgID(1, seq) }
	nc := netsvctest.Join(t, s.port("lobby"))
	nc.Send("/nick bob")
	nc.Until("* guest-1 is now bob")
	c := labelClient{s.login("ann", "message-tags", "server-time", "batch", "labeled-response", "echo-message")}
	c.send("JOIN #lobby")
	c.until(" 366 ")
	c.expect("@+roomd/id=a1 PRIVMSG #lobby :one", "@time=T;msgid="+id(1)+" :ann!u@irc.test PRIVMSG #lobby :one")
	c.expect("PRIVMSG #lobby :two", "@time=T;msgid="+id(2)+" :ann!u@irc.test PRIVMSG #lobby :two")
	c.expect("@+roomd/id=a1 PRIVMSG #lobby :one", "@time=T;msgid="+id(1)+" :ann!u@irc.test PRIVMSG #lobby :one")
	c.expect("@label=x;+roomd/id=a1 PRIVMSG #lobby :one", "@label=x;time=T;msgid="+id(1)+" :ann!u@irc.test PRIVMSG #lobby :one")
	c.expect("@label=y;+roomd/id=a2 PRIVMSG #lobby :\x01ACTION waves\x01", "@label=y;time=T;msgid="+id(3)+" :ann!u@irc.test PRIVMSG #lobby :\x01ACTION waves\x01")
	c.expect("@+roomd/id=a3 NOTICE #lobby :green", "@time=T;msgid="+id(4)+" :ann!u@irc.test NOTICE #lobby :green")
	c.expect("@+roomd/id=a3 NOTICE #lobby :green", "@time=T;msgid="+id(4)+" :ann!u@irc.test NOTICE #lobby :green")
	c.expect("@+roomd/id=a/1 PRIVMSG #lobby :one", ":irc.test 404 ann #lobby :An ID has up to 64 letters, digits and . _ : -")
	c.expect("@+roomd/id=a/1 NOTICE #lobby :one")

	// The same ID in two rooms is two lines.
	c.send("JOIN #dev")
	c.until(" 366 ")
	c.send("@+roomd/id=a4 PRIVMSG #lobby,#dev :both")
	c.sync()

	d := s.login("carol")
	d.send("JOIN #lobby")
	d.until("both")
	d.expect("@+roomd/id=a1 PRIVMSG #lobby :of another nick")
	d.expect("@+roomd/id=a1 PRIVMSG #lobby :again") // without echo-message nothing is said
	nc.Send("/ping")
	var said []string
	for l := ""; !strings.HasPrefix(l, "* pong"); l = nc.Line() {
		if strings.HasPrefix(l, "<") {
			said = append(said, l)
		}
	}
	if got := strings.Join(said, "\n"); got != "<ann> one\n<ann> two\n<ann> * waves\n<ann> green\n<ann> both\n<carol> of another nick" {
		t.Errorf("the room has\n%s", got)
	}
}

// A room that is read-only tells a client that its line is there.
func TestLineIDsReadOnly(t *testing.T) {
	s := newServer(t, nil)
	c := labelClient{s.login("ann", "message-tags", "server-time", "batch", "labeled-response", "echo-message")}
	c.send("JOIN #lobby")
	c.until(" 366 ")
	one := "@time=T;msgid=" + MsgID(1, 1) + " :ann!u@irc.test PRIVMSG #lobby :one"
	c.expect("@+roomd/id=a1 PRIVMSG #lobby :one", one)
	if _, err := s.Service.Set("lobby", func(o *store.Settings) { o.ReadOnly = true }); err != nil {
		t.Fatal(err)
	}
	c.until("read-only")
	c.expect("@+roomd/id=a1 PRIVMSG #lobby :one", one)
	c.expect("@+roomd/id=a2 PRIVMSG #lobby :two", ":irc.test 404 ann #lobby :not sent: the room is read-only")
}
