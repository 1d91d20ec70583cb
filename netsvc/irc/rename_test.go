package irc

import (
	"net"
	"strings"
	"testing"

	"roomd/netsvc/netsvctest"
)

// The operator renames a room: its clients are told at that place of its log, by RENAME if they
// know it.
func TestRename(t *testing.T) {
	s := newServer(t, nil)
	nc := netsvctest.Join(t, s.port("lobby"))
	ann, bob := s.login("ann"), s.login("bob", "draft/channel-rename", "extended-join")
	ann.send("JOIN #lobby", "TOPIC #lobby :the topic")
	ann.sync()
	bob.send("JOIN #lobby")
	bob.sync()
	ann.sync()
	nc.Send("before")
	nc.Until("<guest-1> before")
	if _, err := s.Service.Rename("lobby", "Hall"); err != nil {
		t.Fatal(err)
	}
	nc.Send("after")
	nc.Until("<guest-1> after")
	const notice = ":irc.test NOTICE #Hall :the operator renamed this room: lobby is Hall now"
	ann.expect("",
		":guest-1!u@irc.test PRIVMSG #lobby :before",
		":ann!u@irc.test PART #lobby :the operator has renamed the room",
		":ann!u@irc.test JOIN #Hall",
		":irc.test 332 ann #Hall :the topic",
		":irc.test 353 ann = #Hall :guest-1 ann bob",
		":irc.test 366 ann #Hall :End of NAMES",
		notice,
		":guest-1!u@irc.test PRIVMSG #Hall :after")
	bob.expect("",
		":guest-1!u@irc.test PRIVMSG #lobby :before",
		":irc.test RENAME #lobby #Hall :the operator has renamed the room",
		notice,
		":guest-1!u@irc.test PRIVMSG #Hall :after")
	ann.expect("PRIVMSG #hall :hi")
	bob.expect("", ":ann!u@irc.test PRIVMSG #Hall :hi")
	ann.expect("PART #lobby", ":irc.test 403 ann #lobby :No room has that name")
	if _, err := s.Service.Move("Hall", s.port("Hall")+5); err != nil {
		t.Fatal(err)
	}
	if got := ann.sync(); len(got) != 1 || !strings.HasPrefix(got[0], ":irc.test NOTICE #Hall :") {
		t.Errorf("%q", got)
	}
}

// A client that is so far behind that its lines come from the disk learns the new name at its place,
// too.
func TestRenameBehind(t *testing.T) {
	s := newServer(t, nil)
	nc := netsvctest.Join(t, s.port("lobby"))
	nc.Send("/echo off")
	for _, caps := range []string{"", "draft/channel-rename"} {
		ann := s.login("ann"+caps[:min(len(caps), 1)], strings.Fields(caps)...)
		ann.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		ann.send("JOIN #lobby")
		ann.until(" 366 ")
		const lines = 1000
		said := make([]string, lines)
		for i := range said {
			said[i] = strings.Repeat("x", 4000)
		}
		before, _ := s.Service.Room("lobby")
		nc.Send(said...)
		eventually(t, "lines are missing", func() bool {
			now, _ := s.Service.Room("lobby")
			return now.Newest >= before.Newest+lines
		})
		if _, err := s.Service.Rename("lobby", "hall"); err != nil {
			t.Fatal(err)
		}
		nc.Send("after")
		room, n := "#lobby", 0
		for l := ""; !strings.HasSuffix(l, " :after"); {
			l = ann.line()
			f := strings.Fields(l)
			switch f[1] {
			case "JOIN", "RENAME":
				room = "#hall"
			case "PRIVMSG":
				if f[2] != room {
					t.Fatalf("%.80q while the room is %s", l, room)
				}
				n++
			}
		}
		if room != "#hall" || n < lines {
			t.Errorf("%d lines, the room is %s", n, room)
		}
		ann.send("QUIT")
		ann.until("ERROR")
		if _, err := s.Service.Rename("hall", "lobby"); err != nil {
			t.Fatal(err)
		}
	}
}

// A notice of the operator for all rooms comes once.
func TestSayToAll(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann")
	ann.send("JOIN #lobby,#dev,#new")
	ann.sync()
	if n, err := s.Service.Say("", "a word"); err != nil || n != 3 {
		t.Error(n, err)
	}
	if got := ann.sync(); len(got) != 1 || !strings.HasSuffix(got[0], " :operator: a word") {
		t.Errorf("%q", got)
	}
	if _, err := s.Service.Say("dev", "another"); err != nil {
		t.Error(err)
	}
	ann.expect("", ":irc.test NOTICE #dev :operator: another")
	if err := s.Service.SetTopic("dev", "new"); err != nil {
		t.Error(err)
	}
	ann.expect("", ":irc.test TOPIC #dev new")
	if err := s.Service.Delete("dev", "bye"); err != nil {
		t.Error(err)
	}
	ann.expect("", ":irc.test NOTICE #dev :operator: bye", ":irc.test KICK #dev ann :chat room being deleted")
	if _, err := s.Service.Restore("dev"); err != nil {
		t.Error(err)
	}
	ann.send("JOIN #dev")
	ann.until(" 366 ann #dev")
}
