package irc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"roomd/netsvc/netsvctest"
)

// A member of IRC and one of the room's port are in one room.
func TestSameRoom(t *testing.T) {
	s := newServer(t, nil)
	nc := netsvctest.Join(t, s.port("lobby"))
	nc.Send("/nick bob")
	nc.Until("* guest-1 is now bob")
	ann := s.login("ann")
	ann.expect("JOIN #lobby",
		":ann!u@irc.test JOIN #lobby",
		":irc.test 353 ann = #lobby :bob ann",
		":irc.test 366 ann #lobby :End of NAMES")
	nc.Until("* ann joined")
	ann.expect("PRIVMSG #lobby :hello there")
	nc.Until("<ann> hello there")
	nc.Send("hello ann")
	nc.Until("<bob> hello ann")
	ann.expect("", ":bob!u@irc.test PRIVMSG #lobby :hello ann")
	ann.expect("PRIVMSG #lobby :\x01ACTION waves\x01")
	nc.Until("<ann> * waves")
	ann.expect("TOPIC #lobby :new topic", ":ann!u@irc.test TOPIC #lobby :new topic")
	nc.Until("* ann set the topic: new topic")
	ann.expect("NICK anna", ":ann!u@irc.test NICK anna")
	nc.Until("* ann is now anna")
	ann.expect("PART #lobby", ":anna!u@irc.test PART #lobby")
	nc.Until("* anna left")
	ann.send("QUIT")
	ann.until("ERROR ")
}

// Two sessions in two rooms see each other once.
func TestSeveralRooms(t *testing.T) {
	s := newServer(t, nil)
	ann, bob := s.login("ann"), s.login("bob")
	ann.send("JOIN #lobby,#dev")
	ann.until(" 366 ann #dev")
	bob.send("JOIN #lobby,#dev,#new")
	bob.until(" 366 bob #new")
	if got := ann.sync(); len(got) != 2 || !slices.Contains(got, ":bob!u@irc.test JOIN #lobby") || !slices.Contains(got, ":bob!u@irc.test JOIN #dev") {
		t.Errorf("got %q", got) // in an order that is not promised
	}
	for i := range 3 {
		bob.send(fmt.Sprintf("PRIVMSG #lobby,#dev :%d", i))
	}
	bob.sync()
	bob.send("NICK robert")
	bob.sync()
	bob.send("QUIT :so long")
	bob.until("ERROR")
	got := map[string]int{}
	for _, l := range ann.sync() {
		got[l]++
	}
	if got[":bob!u@irc.test NICK robert"] != 1 || got[":robert!u@irc.test QUIT :Quit: so long"] != 1 || len(got) != 8 {
		t.Errorf("got %v", got)
	}
}

// Two clients fight for nicks, of which somebody at the room's port has one: whoever cannot take a nick
// in a room still has the one it had before, and it has the same nick in its rooms as for itself.
func TestNickWar(t *testing.T) {
	s := newServer(t, nil)
	nc := netsvctest.Join(t, s.port("lobby"))
	nc.Send("/nick taken")
	nc.Until("* guest-1 is now taken")
	clients := []*ircClient{s.login("ann"), s.login("bob"), s.login("cat")}
	var all sync.WaitGroup
	for i, c := range clients {
		c.send("JOIN #lobby")
		c.sync()
		all.Go(func() {
			for n := range 200 {
				c.send("NICK "+[]string{"taken", "ann", "taken", "bob"}[(n+i)%4], "PING "+strconv.Itoa(n))
				for {
					l, err := c.in.ReadString('\n')
					if err != nil {
						t.Error(err)
						return
					}
					if strings.HasPrefix(l, ":irc.test PONG irc.test "+strconv.Itoa(n)) {
						break
					}
				}
			}
		})
	}
	all.Wait()
	s.irc.mu.Lock()
	defer s.irc.mu.Unlock()
	if len(s.irc.nicks) != len(clients) {
		t.Errorf("%d sessions have the nicks %v", len(clients), s.irc.nicks)
	}
	for key, c := range s.irc.nicks {
		if _, ok := c.In("lobby").Other(key); c.nick.Key != key || !ok {
			t.Errorf("%s is %s for itself, and in the room: %v", key, c.nick.Shown, ok)
		}
	}
}

// Somebody whose join is not announced yet is in no list of names: the join comes later.
func TestNamesBeforeJoin(t *testing.T) {
	s := newServer(t, nil)
	bob := s.login("bob")
	bob.send("JOIN #lobby")
	bob.until(" 366 ")
	nc := netsvctest.Dial(t, s.port("lobby"))
	nc.Send("/nick carl")
	nc.Until("* guest-1 is now carl")
	bob.send("NAMES #lobby")
	for _, l := range bob.until(" 366 ") {
		if strings.Contains(l, "353") && strings.Contains(l, "carl") {
			t.Errorf("got %q", l)
		}
	}
	bob.until(":carl!u@irc.test JOIN #lobby")
	bob.send("NAMES #lobby")
	if l := bob.until("353"); !strings.Contains(l[len(l)-1], "carl") {
		t.Errorf("got %q", l)
	}
}

// A password that is given for a room that is not there becomes the room's: nobody who gives one means
// an open room.
func TestJoinCreatesWithPassword(t *testing.T) {
	s := newServer(t, nil)
	ann, bob := s.login("ann"), s.login("bob")
	ann.send("JOIN #den secret")
	ann.until(" 366 ann #den")
	bob.send("JOIN #den")
	bob.until(" 475 bob #den ")
	bob.send("JOIN #den secret")
	bob.until(" 366 bob #den")
}

// The list of members at the port of a room says who is here by IRC.
func TestWhoNamesTheDoor(t *testing.T) {
	s := newServer(t, nil)
	nc := netsvctest.Join(t, s.port("lobby"))
	ann := s.login("ann")
	ann.send("JOIN #lobby")
	ann.until(" 366 ")
	nc.Send("/who")
	nc.Until("* guest-1, here since ")
	if l := nc.Until("* ann, here since "); !strings.HasSuffix(l, ", by irc") {
		t.Errorf("the list has %q", l)
	}
}
