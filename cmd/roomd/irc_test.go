package main

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"roomd/cmd/roomd/roomdtest"
	"roomd/netsvc"
)

// ircPort is a port for IRC, with its line of the configuration.
func ircPort() (port int, line string) {
	port = int(nextPort.Take(1)) - 1
	return port, fmt.Sprintf("irc.listen = [\"127.0.0.1:%d\"]\nirc.name = \"irc.test\"", port)
}

// irc connects and registers a client of IRC.
func (p *process) irc(port int, nick string, before ...string) visitor {
	p.t.Helper()
	v := p.visit(port)
	v.say(append(before, "NICK "+nick, "USER "+nick+" 0 * :"+nick)...)
	v.until(p.t, " 376 ")
	return v
}

// say sends lines.
func (v visitor) say(lines ...string) {
	fmt.Fprint(v, strings.Join(lines, "\r\n")+"\r\n")
}

// doors asks the server by which doors one can enter.
func (p *process) doors() (all []netsvc.DoorInfo) {
	p.t.Helper()
	out, errs, _ := p.admin("status", "--json")
	var st netsvc.Status
	if err := json.Unmarshal([]byte(out), &st); err != nil {
		p.t.Fatal(err, out, errs)
	}
	return st.Doors
}

// The program opens IRC where the configuration says, and tells everybody who asks about the server.
func TestIRC(t *testing.T) {
	port, line := ircPort()
	p := newProcess(t, line)
	p.start()
	ann := p.irc(port, "ann")
	ann.say("JOIN #lobby", "PRIVMSG #lobby :over here")
	ann.until(t, " 366 ")
	nc := p.visit(p.first)
	nc.until(t, "over here")
	nc.say("hello")
	ann.until(t, "PRIVMSG #lobby :hello")
	ann.say("LIST")
	ann.until(t, fmt.Sprintf(" 322 ann #lobby 2 :[nc localhost %d]", p.first))
	if d := p.doors(); len(d) != 2 || d[0].Name != "irc" || d[0].Sessions != 1 || len(d[0].Listening) != 1 || int(d[0].Listening[0].Port()) != port {
		t.Error(d)
	}
	// The new values are in effect for clients that connect later.
	p.configure(fmt.Sprintf("irc.listen = [\"127.0.0.1:%d\"]", port), `irc.name = "other.test"`, `irc.network = "Other"`, `irc.password = "let me in"`)
	if got, errs := p.reload(); len(got) != 3 || errs != "" {
		t.Error(got, errs)
	}
	ann.say("PING x")
	ann.until(t, ":other.test PONG")
	bob := p.visit(port)
	bob.say("NICK bob", "USER bob 0 * :bob")
	bob.until(t, " 464 ")
	p.irc(port, "bob", "PASS :let me in")
	for _, words := range [][]string{{"config"}, {"config", "irc.password"}, {"config", "--json"}, {"audit"}} {
		if out, errs, _ := p.admin(words...); strings.Contains(out+errs, "let me in") {
			t.Errorf("%q shows the password: %s%s", words, out, errs)
		}
	}
	if p.logged("let me in") {
		t.Error("the log has the password")
	}
}

// A port that another program has keeps the server from nothing else, and is opened when it is free.
func TestIRCPortInUse(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	roomdtest.Must(t, err)
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	line := fmt.Sprintf("irc.listen = [\"127.0.0.1:%d\"]", port)
	p := newProcess(t, line)
	if out, errs, status := checked(t, t.TempDir(), line); status != exitOK || !strings.Contains(out, "warning: irc.listen: ") {
		t.Error(out, errs)
	}
	p.start()
	if d := p.doors(); len(d) != 2 || len(d[0].Listening) != 0 || len(d[0].Unbound) != 1 {
		t.Error(d)
	}
	if out, _, _ := p.admin("doctor", "--json"); !strings.Contains(out, `"about":"irc"`) {
		t.Error(out)
	}
	ln.Close()
	eventually(t, "IRC is open", func() bool { return len(p.doors()[0].Listening) == 1 })
	p.irc(port, "ann")
	if out, status := p.tool("check", "--config", filepath.Join(p.dir, "config.toml")); status != exitOK || strings.Contains(out, "warning: irc") {
		t.Error(out)
	}
}

// Without an address there is no IRC, and nobody speaks of it.
func TestNoIRC(t *testing.T) {
	p := newProcess(t, "irc.listen = []")
	p.start()
	if d := p.doors(); len(d) != 1 || d[0].Name != "web" {
		t.Error(d)
	}
}
