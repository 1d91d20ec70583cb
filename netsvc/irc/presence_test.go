package irc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"roomd/netsvc/netsvctest"
	"roomd/netsvc/wire"
)

func TestAway(t *testing.T) {
	s := newServer(t, nil)
	ann, bob, carl, dan := s.login("ann"), s.login("bob", "away-notify"), s.login("carl", "away-notify", "server-time"), s.login("dan", "away-notify")
	for _, c := range []*ircClient{ann, bob, carl} {
		c.join("#lobby", "#dev")
	}
	bob.sync()
	ann.sync()
	const marked = ":irc.test 306 ann :You are marked as away"
	ann.expect("AWAY :to \x02lunch", marked)
	ann.expect("AWAY :to lunch", marked)
	bob.expect("", ":ann!u@irc.test AWAY :to lunch")
	bob.expect("PRIVMSG ann :hi", ":irc.test 301 bob ann :to lunch")
	bob.expect("NOTICE ann :hi")
	bob.expect("WHO ann %nf", ":irc.test 354 bob ann G", ":irc.test 315 bob ann :End of the WHO list")
	bob.expect("WHO #lobby %nf", ":irc.test 354 bob ann G", ":irc.test 354 bob bob H", ":irc.test 354 bob carl H",
		":irc.test 315 bob #lobby :End of the WHO list")
	bob.expect("USERHOST ann", ":irc.test 302 bob ann=-u@irc.test")
	if got := bob.lines("WHOIS ann"); !slices.Contains(got, ":irc.test 301 bob ann :to lunch") {
		t.Errorf("got %q", got)
	}
	ann.expect("", ":bob!u@irc.test PRIVMSG ann :hi", ":bob!u@irc.test NOTICE ann :hi")
	ann.expect("AWAY", ":irc.test 305 ann :You are no longer marked as away")
	bob.expect("", ":ann!u@irc.test AWAY")
	got := slices.DeleteFunc(carl.sync(), func(l string) bool { return !strings.Contains(l, "AWAY") })
	if len(got) != 2 || tags.ReplaceAllString(got[0], "time=T") != "@time=T :ann!u@irc.test AWAY :to lunch" {
		t.Errorf("got %q", got)
	}
	dan.expect("")
}

func TestSetName(t *testing.T) {
	s := newServer(t, nil)
	ann, bob, carl := s.login("ann", "standard-replies"), s.login("bob", "setname"), s.login("carl")
	for _, c := range []*ircClient{ann, bob, carl} {
		c.join("#lobby")
	}
	bob.sync()
	carl.sync()
	ann.sync()
	ann.expect("SETNAME :Ann \x02Other", ":ann!u@irc.test SETNAME :Ann Other")
	bob.expect("", ":ann!u@irc.test SETNAME :Ann Other")
	carl.expect("WHO ann", ":irc.test 352 carl #lobby u irc.test irc.test ann H :0 Ann Other", ":irc.test 315 carl ann :End of the WHO list")
	got := ann.lines("SETNAME :" + strings.Repeat("x", maxRealName+1))
	if len(got) != 1 || !strings.HasPrefix(got[0], ":irc.test FAIL SETNAME INVALID_REALNAME :") {
		t.Errorf("got %q", got)
	}
	if got := bob.lines("SETNAME :\x02"); len(got) != 1 || !strings.HasPrefix(got[0], ":irc.test NOTICE bob :") {
		t.Errorf("got %q", got)
	}
}

func TestMonitor(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann")
	s.login("Bob")
	ann.expect("MONITOR + bob,carl,a*b", ":irc.test 730 ann Bob!u@irc.test", ":irc.test 731 ann carl,a*b")
	ann.expect("MONITOR L", ":irc.test 732 ann bob,carl", ":irc.test 733 ann :End of MONITOR list")
	s.irc.tellWatchers(wire.Name{Shown: "bob", Key: "bob"}, false) // an earlier Bob is closed only now
	ann.expect("")
	carl := s.login("CARL")
	ann.expect("", ":irc.test 730 ann CARL!u@irc.test")
	carl.lines("NICK carl") // the same person
	carl.lines("NICK karl")
	ann.expect("", ":irc.test 731 ann carl")
	carl.lines("NICK Carl")
	ann.expect("", ":irc.test 730 ann Carl!u@irc.test")
	ann.expect("MONITOR S", ":irc.test 730 ann Bob!u@irc.test,Carl!u@irc.test")
	ann.expect("MONITOR - bob,dan")
	carl.send("QUIT")
	if l := ann.line(); l != ":irc.test 731 ann Carl" {
		t.Errorf("got %q", l)
	}
	ann.expect("MONITOR C")
	ann.expect("MONITOR L", ":irc.test 733 ann :End of MONITOR list")
	s.login("carl")
	ann.expect("")

	var nicks []string
	for i := range maxMonitor + 2 {
		nicks = append(nicks, fmt.Sprintf("n%d", i))
	}
	for i := 0; i < len(nicks); i += 34 {
		ann.send("MONITOR + " + strings.Join(nicks[i:i+34], ","))
	}
	got := ann.sync()
	if last := got[len(got)-1]; last != ":irc.test 734 ann 100 n100,n101 :The list is full" {
		t.Errorf("got %q", got)
	}
	long := make([]string, 16)
	for i := range long {
		long[i] = fmt.Sprintf("n%028d", i)
	}
	ann.expect("MONITOR + "+strings.Join(long, ","), // none of them is cut
		":irc.test 734 ann 100 "+strings.Join(long[:15], ",")+" :The list is full", ":irc.test 734 ann 100 "+long[15]+" :The list is full")
	if got := ann.lines("MONITOR L"); len(strings.Split(strings.Join(got[:len(got)-1], ","), ",")) != maxMonitor {
		t.Errorf("got %q", got)
	}
	ann.Close()
	netsvctest.Eventually(t, "nobody is watched", func() bool {
		s.irc.mu.Lock()
		defer s.irc.mu.Unlock()
		return len(s.irc.watchers) == 0
	})
}

// With extended-join a join has the real name of a session, and of others the nick.
func TestExtendedJoin(t *testing.T) {
	s := newServer(t, nil)
	ann, bob := s.login("ann", "extended-join"), s.login("bob", "setname")
	ann.send("JOIN #lobby")
	ann.sync()
	bob.send("SETNAME :Bob of the North", "JOIN #lobby")
	bob.sync()
	ann.expect("", ":bob!u@irc.test JOIN #lobby * :Bob of the North")
	netsvctest.Join(t, s.port("lobby"))
	if got := ann.until(" JOIN "); got[0] != ":guest-1!u@irc.test JOIN #lobby * guest-1" {
		t.Error(got)
	}
}
