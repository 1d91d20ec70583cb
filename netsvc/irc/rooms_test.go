package irc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"roomd/netsvc"
	"roomd/store"
)

func TestModes(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.MaxMembers = 0 })
	ann := s.login("ann")
	created := func(room string) string {
		i, err := s.Service.RoomInfo(room)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(":irc.test 329 ann #%s %d", i.Name, i.Created.Unix())
	}
	ann.expect("MODE ann +i", ":ann!u@irc.test MODE ann +i")
	ann.expect("MODE ann", ":irc.test 221 ann +i")
	ann.expect("MODE ann -i", ":irc.test 221 ann +i")
	ann.expect("MODE ann +iwx", ":ann!u@irc.test MODE ann +i", ":irc.test 501 ann :No such user mode")
	ann.expect("MODE bob", ":irc.test 502 ann :You can only change your own modes")
	ann.expect("MODE #LOBBY", ":irc.test 324 ann #lobby +nt", created("lobby"))
	ann.expect("MODE #lobby b", ":irc.test 368 ann #lobby :End of the list of bans")
	ann.expect("MODE #lobby +b", ":irc.test 368 ann #lobby :End of the list of bans")
	const denied = " :Only the operator can do that, on the server's console"
	ann.expect("MODE #lobby +b bob!*@*", ":irc.test 482 ann #lobby"+denied)
	ann.expect("MODE #lobby +o-m ann", ":irc.test 482 ann #lobby"+denied)
	ann.expect("MODE #lobby +zz", ":irc.test 472 ann z :is no mode of a room")
	ann.expect("MODE #lobby bzb+bz", ":irc.test 368 ann #lobby :End of the list of bans", ":irc.test 472 ann z :is no mode of a room")
	ann.expect("MODE #none", ":irc.test 403 ann #none :No room has that name")
	limit := 50
	if _, err := s.Service.Set("dev", func(o *store.Settings) { o.Members, o.ReadOnly = &limit, true }); err != nil {
		t.Fatal(err)
	}
	if err := s.Service.SetPassword("dev", "secret"); err != nil {
		t.Fatal(err)
	}
	ann.expect("MODE #dev", ":irc.test 324 ann #dev +ntmkl * 50", created("dev"))
	ann.expect("KICK #lobby bob", ":irc.test 442 ann #lobby :You are not in that room")
	ann.expect("OPER a b", ":irc.test 491 ann :The operator works on the server's console, not over IRC")
	for _, name := range []string{"KILL bob", "REHASH", "WALLOPS :hi"} {
		ann.expect(name, ":irc.test 481 ann"+denied)
	}
	ann.expect("SERVER x 1 :y", ":irc.test 462 ann :You have registered already")
	ann.send("JOIN #lobby")
	ann.sync()
	ann.expect("KICK #lobby bob", ":irc.test 482 ann #lobby"+denied)
	bob := s.login("bob")
	ann.expect("INVITE carl #lobby", ":irc.test 401 ann carl :Nobody here has that nick")
	carl := s.dial()
	carl.send("NICK carl")
	carl.expect("")
	ann.expect("INVITE carl #lobby", ":irc.test 401 ann carl :Nobody here has that nick") // it is not registered
	carl.expect("")
	ann.expect("INVITE bob #dev", ":irc.test 442 ann #dev :You are not in that room")
	ann.expect("INVITE BOB #lobby", ":irc.test 341 ann bob #lobby")
	bob.expect("", ":ann!u@irc.test INVITE bob #lobby")
	bob.send("JOIN #lobby")
	bob.sync()
	ann.send("PING x")
	ann.until(" PONG ")
	ann.expect("INVITE bob #lobby", ":irc.test 443 ann bob #lobby :is in that room already")
	defer s.named("lobby", "eve").Conn.Close()
	ann.send("INVITE eve #lobby")
	ann.until(":irc.test 443 ann eve #lobby ") // eve's JOIN may come before
}

// A JOIN without a password is no guess: the next one is compared at once.
func TestJoinWithoutPassword(t *testing.T) {
	s := newServer(t, nil)
	if err := s.Service.SetPassword("dev", "secret"); err != nil {
		t.Fatal(err)
	}
	ann := s.login("ann")
	for range 4 {
		ann.expect("JOIN #dev", ":irc.test 475 ann #dev :this room has a password: JOIN #dev PASSWORD")
	}
	ann.expect("JOIN #dev secret", ":ann!u@irc.test JOIN #dev", ":irc.test 353 ann = #dev :ann", ":irc.test 366 ann #dev :End of NAMES")
}

func TestJoinWithoutSign(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann")
	ann.expect("JOIN lobby", ":irc.test 403 ann lobby :The name of a room begins with #; try #lobby")
	ann.expect("JOIN a!b", ":irc.test 403 ann a!b :No room has that name")
}

// The list has the port of each room as clients reach it, and nothing of a room with a password.
func TestList(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, i *Options) { o.PortOffset, i.Host = 1000, "chat.test" })
	ann, bob := s.login("ann"), s.login("bob")
	ann.send("JOIN #lobby,#dev", "TOPIC #lobby :the topic", "TOPIC #dev :secret")
	ann.sync()
	bob.send("JOIN #lobby")
	bob.sync()
	if err := s.Service.SetPassword("dev", "secret"); err != nil {
		t.Fatal(err)
	}
	dev := fmt.Sprintf(":irc.test 322 bob #dev 0 :[nc chat.test %d]", s.port("dev")+1000)
	lobby := fmt.Sprintf(":irc.test 322 bob #lobby 2 :[nc chat.test %d] the topic", s.port("lobby")+1000)
	for _, is := range []struct {
		send string
		want []string
	}{
		{"LIST ", []string{dev, lobby}},
		{"LIST #lobby,#none,dev", []string{lobby, dev}},
		{"LIST #lobby,lobby,#LOBBY", []string{lobby}},
		{"LIST #LOB*", []string{lobby}},
		{"LIST *e?", []string{dev}},
		{"LIST !d*", []string{lobby}},
		{"LIST >1", []string{lobby}},
		{"LIST <1", []string{dev}},
		{"LIST >0,<3,!#lobby", nil},
		{"LIST none", nil},
	} {
		bob.expect(is.send, slices.Concat([]string{":irc.test 321 bob Room :Members  Topic"}, is.want, []string{":irc.test 323 bob :End of LIST"})...)
	}
}

// A long list goes out in parts, which a label holds together, and does not wait for all of it.
func TestLongList(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.Ports[1] = o.Ports[0] + 299; o.MaxRooms = 0 })
	topic := strings.Repeat("t", 300)
	for i := range 200 {
		if _, _, err := s.Service.Create(fmt.Sprintf("room-%03d", i), netsvc.Creation{By: "test", Topic: topic}); err != nil {
			t.Fatal(err)
		}
	}
	ann := s.login("ann", "batch", "labeled-response", "message-tags")
	ann.send("@label=x LIST")
	got := ann.sync()
	if got[0] != "@label=x :irc.test BATCH +1 labeled-response" || got[len(got)-1] != ":irc.test BATCH -1" || len(got) != 206 {
		t.Fatalf("%d lines: %q … %q", len(got), got[0], got[len(got)-1])
	}
	for _, l := range got[1 : len(got)-1] {
		if !strings.HasPrefix(l, "@batch=1 ") {
			t.Fatal(l)
		}
	}
	for i, l := range got[4:204] {
		if !strings.Contains(l, fmt.Sprintf(" 322 ann #room-%03d 0 :", i)) {
			t.Fatal(i, l)
		}
	}
}

func TestNotInARoom(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann")
	ann.expect("NAMES", ":irc.test 366 ann * :End of NAMES")
	ann.expect("NAMES #dev", ":irc.test 366 ann #dev :End of NAMES")
	ann.expect("TOPIC #dev", ":irc.test 442 ann #dev :You are not in that room")
	ann.expect("TOPIC #dev :x", ":irc.test 442 ann #dev :You are not in that room")
	ann.expect("PART #dev", ":irc.test 442 ann #dev :You are not in that room")
	ann.expect("JOIN &dev,+dev", ":irc.test 403 ann &dev :No room has that name", ":irc.test 403 ann +dev :No room has that name")
}

func TestInfo(t *testing.T) {
	s := newServer(t, func(_ *netsvc.Options, i *Options) { i.Host = "chat.test" })
	ann := s.login("ann")
	numerics := func(send string, want ...string) (got []string) {
		t.Helper()
		ann.send(send)
		for _, l := range ann.sync() {
			got = append(got, strings.Fields(l)[1])
		}
		if !slices.Equal(slices.Compact(slices.Clone(got)), want) {
			t.Errorf("%s: %q", send, got)
		}
		return got
	}
	numerics("LUSERS", "251", "254", "255", "265", "266")
	numerics("VERSION", "351", "005")
	numerics("TIME irc.test", "391")
	numerics("TIME ann", "391")
	numerics("TIME other.test", "402")
	numerics("INFO", "371", "374")
	numerics("ADMIN", "256", "257", "258", "259")
	numerics("LINKS", "364", "365")
	numerics("TRACE", "262")
	numerics("STATS u", "242", "219")
	numerics("STATS", "219")
	ann.expect("STATS é", ":irc.test 219 ann é :End of STATS")
	numerics("HELP", "704", "705", "706")
	numerics("HELPOP join", "704", "705", "706")
	numerics("HELP nothing", "524")
	ann.send("JOIN #dev", "MOTD")
	way := fmt.Sprintf(":irc.test 372 ann :- nc chat.test %d ", s.port("dev"))
	if got := ann.sync(); !slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, way) && strings.Contains(l, "#dev") }) {
		t.Errorf("%q", got)
	}
}
