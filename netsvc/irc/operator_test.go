package irc

import (
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// states are the connections of a server, as the operator sees them.
func (s *testServer) states() (all []string) {
	for _, c := range s.Service.Conns("") {
		all = append(all, c.State+" "+c.Nick+" "+c.Room)
	}
	slices.Sort(all)
	return all
}

// The operator sees by which door somebody is here, and each connection once.
func TestOperatorSeesDoors(t *testing.T) {
	s := newServer(t, nil)
	w := s.Service.Watch(func(*netsvc.Event) bool { return true })
	defer w.Close()
	nc := netsvctest.Join(t, s.port("lobby"))
	nc.Send("/nick bob", "/json")
	nc.Until(`{"type":"ok","command":"json"`)
	ann, _ := s.login("ann"), s.dial()
	ann.send("JOIN #lobby,#dev")
	ann.until(" 366 ann #dev")
	netsvctest.Eventually(t, "the connections", func() bool {
		return slices.Equal(s.states(), []string{"irc  ", "irc ann lobby dev", "member bob lobby"})
	})
	all, err := s.Service.Members("")
	if err != nil {
		t.Fatal(err)
	}
	var doors []string
	for _, m := range all {
		doors = append(doors, m.Nick+" "+m.Door)
	}
	if want := []string{"bob ", "ann irc", "ann irc"}; !slices.Equal(doors, want) {
		t.Error(doors)
	}
	if d := s.Service.Doors()[0]; d.Sessions != 2 || d.Members != 2 {
		t.Error(d)
	}
	nc.Send("/who")
	var listed struct{ Nick, Door string }
	for listed.Nick != "ann" {
		if err := json.Unmarshal([]byte(nc.Until(`{"type":"member"`)), &listed); err != nil {
			t.Fatal(err)
		}
		if (listed.Nick == "ann") != (listed.Door == "irc") {
			t.Error(listed)
		}
	}
	ann.send("PART #dev")
	ann.sync()
	for left := false; !left; {
		e := <-w.C
		left = e.Type == "leave"
		if (e.Type == "join" || left) && (e.Door == "irc") != (e.Member == "ann") {
			t.Errorf("%+v", e)
		}
	}
}

// What the operator does to a member of IRC is told in the words of IRC, and the session goes on.
func TestOperatorActs(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann")
	ann.send("JOIN #lobby,#dev")
	ann.until(" 366 ann #dev")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Service.Say("", "soon")
	must(err)
	ann.expect("", ":irc.test NOTICE #dev :operator: soon")
	must(s.Service.SetTopic("lobby", "cats"))
	if got := ann.sync(); len(got) != 1 || !strings.HasSuffix(got[0], " TOPIC #lobby cats") && !strings.HasSuffix(got[0], " TOPIC #lobby :cats") {
		t.Errorf("%q", got)
	}
	// A mute: what is said is refused with a sentence, and so is a topic.
	of := s.Service.FindMembers("ann")
	lobby, err := s.Service.RoomID("lobby")
	must(err)
	mutes, _, err := s.Service.Ban(store.Ban{Mute: true, Nick: "ann", Room: lobby})
	must(err)
	ann.numeric("PRIVMSG #lobby :hello", " 404 ann #lobby :")
	ann.numeric("TOPIC #lobby :dogs", " 482 ann #lobby :")
	must(s.Service.Unban(mutes[0].ID))
	_, err = s.Service.Set("lobby", func(o *store.Settings) { o.ReadOnly = true })
	must(err)
	ann.sync()
	ann.numeric("PRIVMSG #lobby :hello", " 404 ann #lobby :")
	_, err = s.Service.Set("lobby", func(o *store.Settings) { o.ReadOnly = false })
	must(err)
	ann.sync()
	// A kick is from one room.
	ids := []uint64{}
	for _, m := range of {
		if m.Room == "lobby" {
			ids = append(ids, m.ID)
		}
	}
	if n, err := s.Service.Kick(ids, "go away"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	ann.until(" KICK #lobby ann ")
	ann.expect("PRIVMSG #dev :still here")
	// A deletion, too.
	must(s.Service.Delete("dev", ""))
	ann.until(" KICK #dev ann :chat room being deleted")
	// The connection itself is ended by its address, also in no room.
	remote := ann.LocalAddr().String()
	if n, err := s.Service.Disconnect([]string{remote}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	ann.end()
	netsvctest.Eventually(t, "no connection", func() bool { return s.Service.Connections() == 0 })
	// A ban of an address ends it with a word.
	bob := s.login("bob")
	_, _, err = s.Service.Ban(store.Ban{Addr: "127.0.0.1"})
	must(err)
	bob.until("ERROR ")
	bob.end()
	carl := s.dial()
	carl.until("ERROR ")
	carl.end()
}

// numeric sends a line, and waits for a numeric that contains a text.
func (c *ircClient) numeric(send, want string) {
	c.t.Helper()
	c.send(send)
	c.until(want)
}

// end reads up to the end of the connection.
func (c *ircClient) end() {
	c.t.Helper()
	for {
		if _, err := c.in.ReadString('\n'); err != nil {
			if os.IsTimeout(err) {
				c.t.Fatal("the connection is still open")
			}
			return
		}
	}
}

// A stop is told once, behind what was said before it.
func TestStopTells(t *testing.T) {
	s := newServer(t, nil)
	ann, idle, silent := s.login("ann"), s.login("idle"), s.dial()
	ann.send("JOIN #lobby,#dev")
	ann.until(" 366 ann #dev")
	ann.send("PRIVMSG #lobby :last words")
	began := time.Now()
	s.Stop()
	for _, c := range []*ircClient{ann, idle, silent} {
		all := c.until("ERROR ")
		if joined := strings.Join(all, "\n"); strings.Contains(joined, " PART ") || strings.Contains(joined, " KICK ") {
			t.Errorf("a client that is told that it has left does not come back: %q", all)
		}
		if got := all[len(all)-1]; got != "ERROR :the server is stopping" {
			t.Error(got)
		}
		c.end()
	}
	if took := time.Since(began); took > netsvctest.Patience {
		t.Error("the stop took", took)
	}
}

// Behind a proxy the operator sees the client that its header names, and bans hold for that one.
// Nobody comes in without a header, and no other protocol gets further than its first line.
func TestFirstBytes(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) {
		o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	ann := s.dial()
	ann.send("PROXY TCP4 192.0.2.7 127.0.0.1 5000 6667", "NICK ann", "USER a 0 * :a", "JOIN #lobby")
	ann.until(" 366 ")
	if all := s.Service.FindMembers("192.0.2.7"); len(all) != 1 || all[0].Remote != "192.0.2.7:5000" {
		t.Errorf("%+v", all)
	}
	if _, _, err := s.Service.Ban(store.Ban{Addr: "192.0.2.7"}); err != nil {
		t.Fatal(err)
	}
	ann.until("ERROR ")
	ann.end()
	for _, first := range []string{"PROXY TCP4 192.0.2.7 127.0.0.1 5001 6667", "USER bob 0 * :bob", "GET / HTTP/1.1"} {
		c := s.dial()
		c.send(first)
		c.end()
	}
	direct := newServer(t, nil)
	for _, first := range []string{"GET / HTTP/1.1", "POST / HTTP/1.1", "\x16\x03\x01\x02\x00\x01\x00", "SSH-2.0-OpenSSH_9.2"} {
		c := direct.dial()
		c.send(first, "NICK bob", "USER b 0 * :b")
		c.end()
	}
	if all := direct.irc.count(); all != 0 {
		t.Error(all, "sessions have a nick")
	}
}

// The operator sees by which door a client came that was refused, by the server or by a room.
func TestRefusalsNameTheDoor(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.MaxMembers = 1 })
	w := s.Service.Watch(func(e *netsvc.Event) bool { return e.Type == "refuse" })
	defer w.Close()
	next := func(room, door string) {
		t.Helper()
		select {
		case e := <-w.C:
			if e.Room != room || e.Door != door {
				t.Errorf("%+v", e)
			}
		case <-time.After(netsvctest.Patience):
			t.Fatal("there is no event")
		}
	}
	ann := s.login("ann")
	netsvctest.Join(t, s.port("lobby"))
	ann.send("JOIN #lobby")
	ann.until(" 471 ")
	next("lobby", "irc")
	netsvctest.Dial(t, s.port("lobby"))
	next("lobby", "")
	if _, _, err := s.Service.Ban(store.Ban{Addr: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	s.dial().end()
	next("", "irc")
}
