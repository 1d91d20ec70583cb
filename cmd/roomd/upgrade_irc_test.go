package main

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var loadIRC = flag.Int("upgrade.irc", 24, "sessions of IRC that talk, each in eight rooms")

// Everything that a connection of IRC has goes over: its nick and rooms, half a line, what it waits
// for, and also one that is in no room or not registered.
func TestUpgradeIRC(t *testing.T) {
	port, line := ircPort()
	p := newProcess(t, line)
	p.start()
	if out, errs, status := p.admin("create", "dev"); status != exitOK {
		t.Fatal(out, errs)
	}
	master := p.visit(p.master)
	master.say("CREATE den secret")
	master.until(t, "OK den ")
	ann, idle, new := p.irc(port, "ann", "CAP LS 302", "CAP REQ :server-time message-tags echo-message", "CAP END"), p.irc(port, "idle"), p.visit(port)
	ann.say("JOIN #lobby,#dev")
	ann.until(t, " 366 ann #dev ")
	nc := p.visit(p.first)
	nc.until(t, "you are guest-")
	fmt.Fprint(ann, "PRIVMSG #dev :half a ")
	fmt.Fprint(new, "NICK ne")
	for i := range 3 {
		joiner := p.irc(port, fmt.Sprint("joiner", i))
		joiner.say("JOIN #den secret", "PRIVMSG #den :inside", "PING a") // under way, perhaps
		if u := p.upgrade(); u.Members < 3 {
			t.Errorf("%+v", u)
		}
		joiner.until(t, " 366 ")
		joiner.until(t, " PONG ")
		joiner.say("QUIT")
		nc.say(fmt.Sprint("after ", i))
		if l := ann.until(t, fmt.Sprint("PRIVMSG #lobby :after ", i)); !strings.HasPrefix(l, "@") || !strings.Contains(l, "msgid=") {
			t.Errorf("capabilities are lost: %q", l)
		}
	}
	ann.say("line")
	ann.until(t, "PRIVMSG #dev :half a line")
	if inside, _, _ := p.admin("read", "den"); strings.Count(inside, "> inside") != 3 {
		t.Error(inside)
	}
	idle.say("JOIN #lobby", "PRIVMSG #lobby :awake")
	idle.until(t, " 366 ")
	ann.until(t, "PRIVMSG #lobby :awake")
	new.say("w", "USER new 0 * :new")
	new.until(t, " 376 new ")
	if d := p.doors(); len(d) != 2 || d[0].Sessions != 3 || len(d[0].Listening) != 1 {
		t.Error(d)
	}
	p.irc(port, "late")
}

// ircTalker is a session of IRC that talks in its rooms all the time and checks every line it gets.
type ircTalker struct {
	visitor
	nick  string
	rooms []string

	sent  map[string]int // by room; the talking goroutine's
	next  map[string]int // by sender and room; the listening goroutine's
	wrong atomic.Pointer[string]
}

func (k *ircTalker) fail(format string, args ...any) {
	text := k.nick + ": " + fmt.Sprintf(format, args...)
	k.wrong.CompareAndSwap(nil, &text)
}

func (k *ircTalker) talk(stop, back chan struct{}, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := 0; ; i++ {
		room := k.rooms[i%len(k.rooms)]
		// In two pieces, so that many are half said when an upgrade comes.
		for _, part := range []string{"PRIVMSG " + room, fmt.Sprintf(" :%d\r\n", k.sent[room])} {
			if _, err := fmt.Fprint(k, part); err != nil {
				k.fail("write: %v", err)
				return
			}
		}
		k.sent[room]++
		if _, ok := <-back; !ok {
			return
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

func (k *ircTalker) listen(back chan struct{}) {
	defer close(back)
	for {
		l, err := k.in.ReadString('\n')
		words := strings.Fields(l)
		switch {
		case err != nil:
			k.fail("read: %q, %v", l, err)
			return
		case strings.HasPrefix(l, "ERROR "):
			k.fail("%q", l)
			return
		case strings.Contains(l, " PONG "):
			return // all that was said is here
		case len(words) != 4 || words[1] != "PRIVMSG":
			continue
		}
		from, _, _ := strings.Cut(words[0][1:], "!")
		key := from + words[2]
		if words[3] != fmt.Sprintf(":%d", k.next[key]) && words[3] != fmt.Sprint(k.next[key]) {
			k.fail("got %q, and line %d was next", l, k.next[key])
			return
		}
		if k.next[key]++; from == k.nick {
			back <- struct{}{}
		}
	}
}

// Sessions in eight rooms each talk while the server is upgraded several times: none is dropped,
// and no line is lost, doubled or out of order, in any room at anybody.
func TestUpgradeIRCUnderLoad(t *testing.T) {
	const rooms, each = 16, 8
	port, line := ircPort()
	p := newProcess(t, line+"\nlimits.members = 1000\nrooms.quiet_above = 0\nlimits.connects_per_second = 0")
	p.start()
	other := filepath.Join(p.dir, "roomd-b")
	copyFile(t, os.Args[0], other)
	for i := range rooms {
		if out, errs, status := p.admin("create", fmt.Sprint("r", i)); status != exitOK {
			t.Fatal(out, errs)
		}
	}
	var talkers []*ircTalker
	for i := range *loadIRC {
		nick := fmt.Sprint("t", i)
		k := &ircTalker{visitor: p.irc(port, nick, "CAP REQ :echo-message", "CAP END"), nick: nick, sent: make(map[string]int), next: make(map[string]int)}
		k.SetDeadline(time.Now().Add(20 * time.Minute))
		for r := range each {
			k.rooms = append(k.rooms, fmt.Sprint("#r", (i+2*r)%rooms))
		}
		k.say("JOIN " + strings.Join(k.rooms, ","))
		for range each {
			k.until(t, " 366 ")
		}
		talkers = append(talkers, k)
	}
	stop := make(chan struct{})
	var talking, listening sync.WaitGroup
	pause := max(*loadPause, time.Duration(*loadIRC)*2*time.Millisecond)
	for _, k := range talkers {
		back := make(chan struct{}, 1)
		talking.Go(func() { k.talk(stop, back, pause) })
		listening.Go(func() { k.listen(back) })
	}
	for i := range *loadUpgrades {
		u := p.upgrade([]string{other, os.Args[0]}[i%2])
		t.Logf("upgrade %d: %d members, pause %s of %s", i+1, u.Members, u.Pause, u.Took)
		if u.Members != each**loadIRC {
			t.Errorf("%d members were handed over", u.Members)
		}
	}
	close(stop)
	talking.Wait() // each has seen its last line, and so everything in its room before it
	for _, k := range talkers {
		k.say("PING end")
	}
	listening.Wait()
	lines, wants := 0, 0
	for _, k := range talkers {
		if wrong := k.wrong.Load(); wrong != nil {
			t.Error(*wrong)
		}
		for _, o := range talkers {
			for _, room := range o.rooms {
				lines += k.next[o.nick+room]
				if strings.Contains(strings.Join(k.rooms, " ")+" ", room+" ") {
					wants += o.sent[room]
				}
			}
		}
	}
	if t.Logf("%d lines, each checked at each member", lines); lines != wants || lines == 0 {
		t.Errorf("%d lines have come, and %d were sent", lines, wants)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// A connection with TLS cannot go over: it is told so, and those who come next find IRC there.
func TestUpgradeIRCWithTLS(t *testing.T) {
	port, line := ircPort()
	p := newProcess(t, line+"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }")
	writeKeyPair(t, p.dir, "irc")
	p.start()
	come := func(nick string) visitor {
		c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		v := visitor{c, bufio.NewReader(c)}
		v.say("NICK "+nick, "USER a 0 * :a", "JOIN #lobby")
		v.until(t, " 366 ")
		return v
	}
	ann := come("ann")
	p.upgrade()
	if l := ann.until(t, "ERROR "); l != "ERROR :the server is being upgraded\r\n" {
		t.Error(l)
	}
	if rest, err := io.ReadAll(ann.in); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	come("ann")
	// Plain text and HTTP get no further there.
	plain := p.visit(port)
	plain.say("NICK bob")
	io.Copy(io.Discard, plain.in)
}
