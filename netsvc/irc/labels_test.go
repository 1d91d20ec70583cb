package irc

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/store"
)

// labelClient is a client whose batches are numbered from 1 on in each answer.
type labelClient struct{ *ircClient }

// expect is that of ircClient.
func (c labelClient) expect(send string, want ...string) {
	c.t.Helper()
	c.send(send)
	got := c.sync()
	refs := map[string]string{}
	for i, l := range got {
		l = tags.ReplaceAllString(l, "time=T")
		for _, before := range []string{"BATCH +", "@batch=", "BATCH -"} {
			_, ref, ok := strings.Cut(l, before)
			if ref, _, _ = strings.Cut(ref, " "); !ok {
				continue
			}
			if ref, _, _ = strings.Cut(ref, ";"); refs[ref] == "" {
				refs[ref] = fmt.Sprint(len(refs) + 1)
			}
			l = strings.Replace(l, before+ref, before+refs[ref], 1)
		}
		got[i] = l
	}
	if strings.Contains(send, ",") { // there is no order between the answers about two targets
		slices.Sort(got)
		slices.Sort(want)
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("after %q\ngot  %q\nwant %q", send, got, want)
	}
}

// Each request with a label has one answer with it.
func TestLabels(t *testing.T) {
	s := newServer(t, func(o *netsvc.Options, _ *Options) { o.Replay = 2 })
	id := func(seq uint64) string { return MsgID(1, seq) }
	nc := netsvctest.Join(t, s.port("lobby"))
	nc.Send("/nick bob", "one", "two")
	nc.Until("<bob> two")
	c := labelClient{s.login("ann", "message-tags", "server-time", "batch", "labeled-response", "echo-message", "standard-replies")}
	c.expect("@label=a JOIN #lobby",
		"@label=a :irc.test BATCH +1 labeled-response",
		"@batch=1 :ann!u@irc.test JOIN #lobby",
		"@batch=1 :irc.test 353 ann = #lobby :bob ann",
		"@batch=1 :irc.test 366 ann #lobby :End of NAMES",
		"@batch=1 :irc.test BATCH +2 chathistory #lobby",
		"@batch=2;time=T;msgid="+id(1)+" :bob!u@irc.test PRIVMSG #lobby :one",
		"@batch=2;time=T;msgid="+id(2)+" :bob!u@irc.test PRIVMSG #lobby :two",
		"@batch=1 :irc.test BATCH -2",
		":irc.test BATCH -1")
	c.expect("@label=b PRIVMSG #lobby :hello", "@label=b;time=T;msgid="+id(3)+" :ann!u@irc.test PRIVMSG #lobby :hello")
	c.expect("PRIVMSG #lobby :hello", "@time=T;msgid="+id(4)+" :ann!u@irc.test PRIVMSG #lobby :hello")
	c.expect("@label=c NOTICE #lobby :note", "@label=c;time=T;msgid="+id(5)+" :ann!u@irc.test NOTICE #lobby :note")
	c.expect("@label=d TOPIC #lobby :new", "@label=d;time=T;msgid="+id(6)+" :ann!u@irc.test TOPIC #lobby new")
	c.expect("@label=e TOPIC #lobby", "@label=e :irc.test 332 ann #lobby new")
	c.expect("@label=f JOIN #lobby", "@label=f :irc.test ACK")
	c.expect("@label=g PONG x", "@label=g :irc.test ACK")
	c.expect("@label=h NOTICE #none :x", "@label=h :irc.test ACK")
	c.expect("@label=i PRIVMSG #none :x", "@label=i :irc.test 403 ann #none :No room has that name")
	c.expect("@label=" + strings.Repeat("x", 65) + " JOIN #lobby")
	c.expect("@label=j CHATHISTORY LATEST #lobby msgid="+id(4)+" 1",
		"@label=j :irc.test BATCH +1 chathistory #lobby",
		"@batch=1;time=T;msgid="+id(5)+" :ann!u@irc.test NOTICE #lobby :note",
		":irc.test BATCH -1")
	c.expect("@label=k CHATHISTORY LATEST #none * 1", "@label=k :irc.test FAIL CHATHISTORY INVALID_TARGET LATEST #none :You cannot read the history of that, or it does not exist")
	c.expect("@label=l PRIVMSG #lobby,#none :x", "@label=l;time=T;msgid="+id(7)+" :ann!u@irc.test PRIVMSG #lobby :x", ":irc.test 403 ann #none :No room has that name")
	c.expect("@label=m PRIVMSG #none,#lobby :y", "@label=m :irc.test 403 ann #none :No room has that name", "@time=T;msgid="+id(8)+" :ann!u@irc.test PRIVMSG #lobby :y")
	c.expect("@label=q CHATHISTORY TARGETS timestamp=2020-01-01T00:00:00.000Z timestamp=2020-01-01T00:00:00.000Z 1",
		"@label=q :irc.test BATCH +1 draft/chathistory-targets", ":irc.test BATCH -1")
	if _, err := s.Store.Update(1, store.Edit{Settings: &store.Settings{ReadOnly: true}}); err != nil {
		t.Fatal(err)
	}
	c.until("read-only")
	c.send("@label=n PRIVMSG #lobby :refused")
	if got := c.sync(); len(got) != 1 || !strings.HasPrefix(got[0], "@label=n;time=") && !strings.HasPrefix(got[0], "@label=n :") {
		t.Errorf("%q", got)
	}
	c.expect("@label=o PART #lobby", "@label=o :ann!u@irc.test PART #lobby")

	// Who does not see its own lines gets an ACK, in place.
	d := labelClient{s.login("dan", "batch", "labeled-response")}
	d.send("JOIN #dev")
	d.sync()
	d.expect("@label=a PRIVMSG #dev :hello", "@label=a :irc.test ACK")
	d.expect("@label=b TOPIC #dev :new", "@label=b :dan!u@irc.test TOPIC #dev new")
	d.expect("@label=c NAMES #dev",
		"@label=c :irc.test BATCH +1 labeled-response",
		"@batch=1 :irc.test 353 dan = #dev :dan",
		"@batch=1 :irc.test 366 dan #dev :End of NAMES",
		":irc.test BATCH -1")
	// Without batch there are no labels.
	e := s.login("eve", "labeled-response", "echo-message")
	e.send("JOIN #dev")
	e.sync()
	e.expect("@label=a PRIVMSG #dev :hello", ":eve!u@irc.test PRIVMSG #dev :hello")
	// A line that is split for the client.
	long := strings.Repeat("x", 480)
	f := s.login("a-name-of-thirty-two-characters1", "batch", "labeled-response", "echo-message")
	f.send("JOIN #dev")
	f.sync()
	f.send("@label=long PRIVMSG #dev :" + long)
	got := f.sync()
	if len(got) != 4 || got[0] != "@label=long :irc.test BATCH +2 labeled-response" || !strings.HasPrefix(got[1], "@batch=2 :") || !strings.HasPrefix(got[2], "@batch=2 :") || got[3] != ":irc.test BATCH -2" {
		t.Errorf("%q", got)
	}
}

// Lines with labels and without keep their order under load, and each label comes back once.
func TestManyLabels(t *testing.T) {
	s := newServer(t, nil)
	c := s.login("ann", "message-tags", "batch", "labeled-response", "echo-message")
	c.send("JOIN #lobby")
	c.sync()
	other := s.login("bob", "message-tags")
	other.send("JOIN #lobby")
	other.sync()
	const n = 2000
	var lines []string
	for i := range n {
		l := fmt.Sprintf("PRIVMSG #lobby :%d", i)
		if i%3 > 0 {
			l = fmt.Sprintf("@label=%d %s", i, l)
		}
		lines = append(lines, l)
	}
	go c.send(lines...)
	read := func(c *ircClient, label bool) {
		for i := 0; i < n; {
			m, err := ParseMessage([]byte(c.line()))
			if err != nil {
				t.Fatal(err)
			}
			if m.Command != "PRIVMSG" {
				continue
			}
			got, has := m.Tag("label")
			if m.Param(1) != fmt.Sprint(i) || has != (label && i%3 > 0) || has && got != fmt.Sprint(i) {
				t.Fatalf("%d: %v", i, m)
			}
			i++
		}
	}
	read(c, true)
	read(other, false)
}
