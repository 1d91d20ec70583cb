package irc

import (
	"fmt"
	"strings"
	"testing"

	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// named joins a room at its port, with a nick.
func (s *testServer) named(room, nick string) *netsvctest.Client {
	s.T.Helper()
	nc := netsvctest.Join(s.T, s.port(room))
	nc.Send("/nick " + nick)
	nc.Until("* guest-1 is now " + nick)
	return nc
}

// Two sessions write to each other, also if they share no room.
func TestPrivate(t *testing.T) {
	s := newServer(t, nil)
	ann, bob := s.login("ann"), s.login("bob", "message-tags", "server-time", "echo-message")
	ann.expect("PRIVMSG bob :hello \x02you\x02")
	bob.expect("", "@time=T :ann!u@irc.test PRIVMSG bob :hello you")
	bob.expect("PRIVMSG ANN :hi",
		"@time=T :bob!u@irc.test PRIVMSG ann :hi")
	ann.expect("", ":bob!u@irc.test PRIVMSG ann :hi")
	bob.expect("NOTICE ann,nobody :no answer", "@time=T :bob!u@irc.test NOTICE ann :no answer")
	ann.expect("", ":bob!u@irc.test NOTICE ann :no answer")
	for _, text := range []string{"\x01VERSION\x01", "\x01PING 1 2\x01", "\x01ACTION waves\x01"} {
		ann.expect("PRIVMSG bob!u@irc.test :" + text)
		bob.expect("", "@time=T :ann!u@irc.test PRIVMSG bob :"+text)
	}
	ann.expect("PRIVMSG nobody :hi", ":irc.test 401 ann nobody :Nobody here has that nick")
	ann.expect("PRIVMSG a*b :hi", ":irc.test 401 ann a*b :Nobody here has that nick")
	ann.expect("PRIVMSG bob :\x02", ":irc.test 412 ann :No text to send")
	ann.expect("PRIVMSG ann :note", ":ann!u@irc.test PRIVMSG ann :note")
	long := strings.Repeat("a word ", 70)
	ann.expect("PRIVMSG bob :" + long)
	got := bob.sync()
	if len(got) != 2 {
		t.Fatalf("got %q", got)
	}
	text := ""
	for _, l := range got {
		_, l, _ = strings.Cut(l, " PRIVMSG bob :")
		text += l
	}
	if text != long {
		t.Errorf("got %q", text)
	}
	ann.expect("PRIVMSG bob :\x01DCC "+long+"\x01", ":irc.test 417 ann :"+errInputTooLong.Text())
	s.dial().send("NICK early") // is not registered
	ann.expect("PRIVMSG early :hi", ":irc.test 401 ann early :Nobody here has that nick")
}

// A session and a member of a room's port write to each other.
func TestPrivateWithLines(t *testing.T) {
	s := newServer(t, nil)
	bob := s.named("lobby", "Bob")
	ann := s.login("ann", "echo-message")
	ann.expect("PRIVMSG bob :hi", ":irc.test 401 ann bob :Nobody here has that nick") // ann is not in his room
	ann.send("JOIN #lobby")
	ann.until(" 366 ")
	ann.expect("PRIVMSG bob :hi \x0304you", ":ann!u@irc.test PRIVMSG Bob :hi you")
	bob.Until("<ann -> Bob> hi you")
	ann.expect("PRIVMSG bob :\x01ACTION waves\x01", ":ann!u@irc.test PRIVMSG Bob :\x01ACTION waves\x01")
	bob.Until("<ann -> Bob> * waves")
	ann.expect("PRIVMSG bob :\x01VERSION\x01", ":irc.test 404 ann Bob :Bob is not on IRC and takes no CTCP but ACTION")
	bob.Send("/json", "/msg ann hello")
	bob.Until(`{"type":"ok","command":"msg"`)
	ann.expect("", ":Bob!u@irc.test PRIVMSG ann :hello")
	ann.expect("NOTICE bob :beep", ":ann!u@irc.test NOTICE Bob :beep")
	if l := bob.Until(`{"time"`); !strings.Contains(l, `"type":"private","notice":true,"from":"ann","to":"Bob","text":"beep"`) {
		t.Errorf("got %q", l)
	}
}

// Of several people with one nick the one gets a text who wrote last, or who is named with the room.
func TestPrivateToOneOfSeveral(t *testing.T) {
	s := newServer(t, nil)
	inLobby, inDev := s.named("lobby", "bob"), s.named("dev", "bob")
	ann := s.login("ann")
	ann.send("JOIN #lobby,#dev")
	ann.until(" 366 ann #dev")
	ann.expect("PRIVMSG bob :who", ":irc.test 407 ann bob :Several people have that nick: write to bob@lobby, bob@dev")
	ann.expect("PRIVMSG bob@dev :1")
	inDev.Until("<ann -> bob> 1")
	inDev.Send("/msg ann 2")
	ann.until(":bob!u@irc.test PRIVMSG ann :2")
	ann.expect("PRIVMSG bob :3")
	inDev.Until("<ann -> bob> 3")
	inLobby.Send("/msg ann 4")
	ann.until(":bob!u@irc.test PRIVMSG ann :4")
	ann.expect("PRIVMSG bob :5")
	inLobby.Until("<ann -> bob> 5")

	session := s.login("bob") // a stranger, who is in none of the rooms, does not get what is for the others
	session.expect("")
	ann.expect("PRIVMSG bob :6")
	inLobby.Until("<ann -> bob> 6")
	inLobby.Conn.Close()
	ann.until(" PART #lobby ")
	ann.expect("PRIVMSG bob :who", ":irc.test 407 ann bob :Several people have that nick: write to bob@irc.test, bob@dev")
	ann.expect("PRIVMSG bob@irc.test :7")
	session.expect("", ":ann!u@irc.test PRIVMSG bob :7")
	session.expect("PRIVMSG ann :8")
	ann.expect("", ":bob!u@irc.test PRIVMSG ann :8")
	ann.expect("PRIVMSG bob :9")
	session.expect("", ":ann!u@irc.test PRIVMSG bob :9")
	ann.expect("PRIVMSG bob@#Lobby :10", ":irc.test 401 ann bob@#Lobby :Nobody here has that nick")
}

// What people who are muted write reaches nobody in their room.
func TestPrivateOfMuted(t *testing.T) {
	s := newServer(t, nil)
	nc := s.named("lobby", "nc")
	ann, bob := s.login("ann"), s.login("bob")
	if _, _, err := s.Service.Ban(store.Ban{Nick: "ann", Mute: true}); err != nil {
		t.Fatal(err)
	}
	ann.expect("PRIVMSG bob :we share no room")
	bob.expect("", ":ann!u@irc.test PRIVMSG bob :we share no room")
	ann.send("JOIN #lobby")
	ann.until(" 366 ")
	bob.send("JOIN #lobby")
	bob.until(" 366 ")
	ann.sync()
	ann.expect("PRIVMSG bob,nc :hi",
		":irc.test 404 ann bob :not sent: you are muted",
		":irc.test 404 ann nc :not sent: you are muted")
	ann.expect("NOTICE bob,nc :hi")
	bob.expect("PRIVMSG ann :hi")
	ann.expect("", ":bob!u@irc.test PRIVMSG ann :hi")
	nc.Send("/ping")
	for l := nc.Line(); l != "* pong 0"; l = nc.Line() {
		if strings.Contains(l, "hi") {
			t.Errorf("got %q", l)
		}
	}
}

// Who does not read gets a bounded part of what is written to it, and the writer is told.
func TestPrivateToOneWhoDoesNotRead(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann")
	s.login("bob")
	for i := range 100_000 {
		ann.send(fmt.Sprintf("PRIVMSG bob :%s", strings.Repeat("x", 400)))
		if i%1000 == 999 {
			for _, l := range ann.sync() {
				if !strings.HasPrefix(l, ":irc.test 404 ann bob :") {
					t.Fatalf("got %q", l)
				}
				return
			}
		}
	}
	t.Error("everything was taken")
}
