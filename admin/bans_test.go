package admin_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"roomd/admin"
	"roomd/netsvc/netsvctest"
)

// talker is a member that speaks and reads.
type talker struct {
	*netsvctest.Client
	id   uint64 // as the operator sees it
	nick string
}

// talk joins a room.
func (s *shell) talk(room string) *talker {
	s.T.Helper()
	p := &talker{Client: netsvctest.Dial(s.T, s.Room(room).Port)}
	_, p.nick, _ = strings.Cut(p.Line(), "you are ")
	p.nick, _, _ = strings.Cut(p.nick, " ")
	for _, m := range s.Service.FindMembers(p.Conn.LocalAddr().String()) {
		p.id = m.ID
	}
	p.Send("/msg " + p.nick + " here") // or the room is told a second later
	for l := ""; !strings.Contains(l, "> here") && !strings.Contains(l, p.nick+" joined"); {
		l = p.Line() // a member that is muted is told, too, and waits
	}
	return p
}

// says sends a line, and returns what comes of it: the line in the room, or an
// answer.
func (p *talker) says(line string) (got string) {
	p.T.Helper()
	p.Send(line, "/ping")
	for {
		l := p.Line()
		if strings.HasPrefix(l, "* pong") {
			return strings.TrimSpace(got)
		}
		got = l
	}
}

// leave closes the connection and waits until the member is gone.
func (p *talker) leave(s *shell) {
	p.Conn.Close()
	eventually(p.T, "it has left", func() bool { return len(s.Service.FindMembers(fmt.Sprintf("#%d", p.id))) == 0 })
}

const muted = "* not sent: you are muted"

// muteIDs are the mutes that hold.
func (s *shell) muteIDs() (ids []uint64) {
	s.T.Helper()
	var all []struct {
		ID   uint64
		Kind string
	}
	if err := json.Unmarshal([]byte(s.ok("bans --json")), &all); err != nil {
		s.T.Fatal(err)
	}
	for _, b := range all {
		if b.Kind == "mute" {
			ids = append(ids, b.ID)
		}
	}
	return ids
}

// unmute lifts what it names and nothing else, whatever the members are called,
// and a dry run says the number that the run then lifts.
func TestUnmuteLiftsWhatItNames(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.ok("create dev")
	one, two := s.talk("lobby"), s.talk("dev")
	if one.nick != "guest-1" || two.nick != "guest-1" {
		t.Fatal(one.nick, two.nick)
	}
	three := s.talk("lobby")
	for _, p := range []*talker{one, two, three} {
		s.ok(fmt.Sprintf("mute #%d", p.id))
	}
	unmute := fmt.Sprintf("unmute #%d", one.id)
	if out := s.ok(unmute + " --dry-run"); !strings.Contains(out, "1 mute ") {
		t.Error(out)
	}
	if out := s.ok(unmute); !strings.Contains(out, "lifted 1 mute") {
		t.Error(out)
	}
	if got := one.says("free"); got != "<guest-1> free" {
		t.Error(got)
	}
	for _, p := range []*talker{two, three} {
		if got := p.says("still"); got != muted {
			t.Errorf("%s: %q", p.nick, got)
		}
	}
	if got := s.muteIDs(); fmt.Sprint(got) != "[2 3]" {
		t.Error(got)
	}
	// What is not muted is not unmuted.
	if _, errs, status := s.do("unmute", fmt.Sprintf("#%d", one.id)); status != admin.ExitRefused || !strings.Contains(errs, "not muted") {
		t.Error(status, errs)
	}
	// A nick stands for all who are called so.
	s.ok(fmt.Sprintf("mute #%d", one.id))
	if out := s.ok("unmute guest-1 --dry-run"); !strings.Contains(out, "2 mutes ") {
		t.Error(out)
	}
	if out := s.ok("unmute guest-1"); !strings.Contains(out, "lifted 2 mutes") {
		t.Error(out)
	}
	if got := s.muteIDs(); fmt.Sprint(got) != "[3]" {
		t.Error(got)
	}
}

// A mute holds whatever the member does: commands, another name, another
// connection, a restart; and it is lifted by the name or the number it was set
// with, also when the member has gone.
func TestMuteHolds(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	bystander, eve := s.talk("lobby"), s.talk("lobby")
	eve.says("/nick eve")
	s.ok("mute eve")
	for line, want := range map[string]string{
		"hello": muted, "/me waves": muted, "/notice x": muted, "/topic mine": muted, "/msg guest-1 psst": muted, "//x": muted,
		"/nick ann": "* you are muted: you keep your name",
	} {
		if got := eve.says(line); got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if got := bystander.says("I am from there too"); got != "<guest-1> I am from there too" {
		t.Error("who was there before is muted with it:", got)
	}
	eve.leave(s)
	again := s.talk("lobby")
	if got := again.says("back"); got != muted {
		t.Errorf("another connection gets around it: %q", got)
	}
	again.leave(s)
	if out := s.ok("unmute eve"); !strings.Contains(out, "lifted 1 mute") {
		t.Error(out)
	}
	third := s.talk("lobby")
	if got := third.says("at last"); !strings.HasSuffix(got, "> at last") {
		t.Error(got)
	}
	// By its number, when it has gone.
	s.ok(fmt.Sprintf("mute #%d", third.id))
	third.leave(s)
	if out := s.ok(fmt.Sprintf("unmute #%d", third.id)); !strings.Contains(out, "lifted 1 mute") {
		t.Error(out)
	}
	// By its name only: the address is free.
	fourth := s.talk("lobby")
	fourth.says("/nick mallory")
	s.ok("mute mallory --nick-only")
	if got := fourth.says("x"); got != muted {
		t.Error(got)
	}
	fourth.leave(s)
	fifth := s.talk("lobby")
	if got := fifth.says("x"); !strings.HasSuffix(got, "> x") {
		t.Error(got)
	}
	fifth.says("/nick mallory")
	if got := fifth.says("x"); got != muted {
		t.Error(got)
	}
	fifth.leave(s)
	s.ok("unmute mallory")
	// It holds after a restart.
	sixth := s.talk("lobby")
	s.ok(fmt.Sprintf("mute #%d", sixth.id))
	s.Stop()
	s.Start()
	seventh := s.talk("lobby")
	if got := seventh.says("x"); got != muted {
		t.Error(got)
	}
	// And a member that is muted because of another's address can be freed.
	if out := s.ok(fmt.Sprintf("unmute #%d", seventh.id)); !strings.Contains(out, "lifted 1 mute") {
		t.Error(out)
	}
	if got := seventh.says("x"); !strings.HasSuffix(got, "> x") {
		t.Error(got)
	}
}

// Of two mutes the one that lasts longer counts, whichever was set first.
func TestLongerMute(t *testing.T) {
	for _, order := range [][]string{{"200ms", "1h"}, {"1h", "200ms"}} {
		s := startShell(t)
		s.ok("create lobby")
		eve := s.talk("lobby")
		for _, d := range order {
			s.ok(fmt.Sprintf("mute #%d --for %s", eve.id, d))
		}
		eventually(t, "the short one is over", func() bool { return len(s.muteIDs()) == 1 })
		if got := eve.says("x"); !strings.HasPrefix(got, muted+" until ") {
			t.Errorf("%v: %q", order, got)
		}
		s.Stop()
	}
}

// A lift that frees others too asks first.
// The answer to mute says how far it reaches: the room, the time, and the others it is for.
func TestMuteSaysHowFarItReaches(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	s.ok("create dev")
	s.join("lobby")
	s.join("dev")
	for _, c := range [][2]string{
		{"mute 1", `^muted 1 member: mute #1, in the room \w+, until unmute lifts it; for the member, and for everybody that joins the room from its address later, under any nick\n`},
		{"mute #2 --for 1h", `^muted 1 member: mute #2, in the room \w+, until [-0-9]+ [:0-9]+ [-+0-9]+; for the member, and`},
		{"mute 127.0.0.1 --nick-only", `^muted 2 members: mutes #3, #4, in the room dev, lobby, until unmute lifts it; for the member and its nick alone: under another nick it can speak\n`},
		{"kick 1", "^kicked 1 member"}, {"mute 99", "^there is no member 99"}, {"help mute", "in its room"}, {"ban 192.0.2.9", "^ban #5 is set; kicked 0 members"},
		{"bans", "(?m)^#1  mute"}, {"unban 1", "^ban #1 is lifted"}, {"unban #2", "^ban #2 is lifted"}, {"unban 1", "^there is no ban #1;"},
	} {
		out, errs, _ := s.do(strings.Fields(c[0])...)
		if out = strings.TrimPrefix(out+errs, "roomd: "); !regexp.MustCompile(c[1]).MatchString(out) {
			t.Errorf("%s: %s", c[0], out)
		}
	}
}

func TestUnmuteOfSharedAddress(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	one := s.talk("lobby")
	s.ok(fmt.Sprintf("mute #%d", one.id))
	two := s.talk("lobby") // from there, too: it might be the same person
	if got := two.says("x"); got != muted {
		t.Fatal(got)
	}
	unmute := []string{"unmute", fmt.Sprintf("#%d", two.id)}
	if _, errs, status := s.do(unmute...); status != admin.ExitUsage || !strings.Contains(errs, "guest-1") {
		t.Error(status, errs)
	}
	if got := one.says("x"); got != muted {
		t.Fatal(got)
	}
	s.ok(strings.Join(unmute, " ") + " --yes")
	for _, p := range []*talker{one, two} {
		if got := p.says("x"); !strings.HasSuffix(got, "> x") {
			t.Error(got)
		}
	}
}

// What looks like an address and is none is not taken for a nick.
func TestBanOfNoAddress(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	for _, what := range []string{
		"999.1.1.1", "127.1", "3", "1.2.3.4.5", "0x7f.1", "0x7f000001", "１２７.1", "٣", "127.0.0.1:9000", "[::1]", "::1::", "10.0.0.0/33", "10.0.0/8", "::ffff:0:0/80", "fe80::1/x", "1.2.3.",
	} {
		if out, errs, status := s.do("ban", what); status != admin.ExitUsage || out != "" || strings.Contains(errs, "netip") || strings.Contains(errs, "Parse") {
			t.Errorf("ban %s: %d %q %q", what, status, out, errs)
		}
	}
	if out := s.ok("bans"); !strings.Contains(out, "none") {
		t.Error(out)
	}
	var all []struct{ Addr, Nick string }
	for _, what := range []string{"192.0.2.7", "::ffff:192.0.2.8", "192.0.2.130/25", "::ffff:198.51.100.0/120", "2001:db8::1", "2001:db8::1/128", "2001:db8:1::/48", "fe80::1%eth0", "ann", "Zoë", "r2d2", "x.3"} {
		s.ok("ban " + what)
	}
	if err := json.Unmarshal([]byte(s.ok("bans --json")), &all); err != nil {
		t.Fatal(err)
	}
	want := "[{192.0.2.7 } {192.0.2.8 } {192.0.2.128/25 } {198.51.100.0/24 } {2001:db8::/64 } {2001:db8::1/128 } {2001:db8:1::/48 } {fe80::/64 } { ann} { zoë} { r2d2} { x.3}]"
	if got := fmt.Sprint(all); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A member that is banned by its nick does not come back under another one, but
// for --nick-only; and a dry run says what the run does.
func TestBanTakesTheAddress(t *testing.T) {
	s := startShell(t)
	s.ok("create lobby")
	turnedAway := func() bool {
		r, err := s.Service.Room("lobby")
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		l, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(l, "you are banned")
	}
	eve := s.talk("lobby")
	eve.says("/nick eve")
	if out := s.ok("ban eve --nick-only --dry-run"); !strings.Contains(out, "kicks 1 member") {
		t.Error(out)
	}
	if out := s.ok("ban eve --nick-only"); !strings.Contains(out, "kicked 1 member") {
		t.Error(out)
	}
	until(t, eve.In, "you are banned")
	if turnedAway() {
		t.Error("the address is banned, too")
	}
	again := s.talk("lobby")
	if got := again.says("/nick EVE"); got != "* that name is banned here" {
		t.Error(got)
	}
	s.ok("unban 1")
	again.says("/nick eve")
	bob := s.talk("lobby")
	if out := s.ok("ban eve --dry-run"); !strings.Contains(out, "kicks 2 members") {
		t.Error(out)
	}
	if _, errs, status := s.do("ban", "eve"); status != admin.ExitUsage || !strings.Contains(errs, "kicks 2 members") {
		t.Error(status, errs)
	}
	if out := s.ok("ban eve --yes"); !strings.Contains(out, "kicked 2 members") {
		t.Error(out)
	}
	until(t, again.In, "you are banned")
	until(t, bob.In, "you are banned")
	if !turnedAway() {
		t.Error("who is banned comes back")
	}
	var all []struct{ Addr, Nick string }
	if err := json.Unmarshal([]byte(s.ok("bans --json")), &all); err != nil || fmt.Sprint(all) != "[{127.0.0.1 eve}]" {
		t.Error(all, err)
	}
	s.ok("unban 2")
	if turnedAway() {
		t.Error("the ban is lifted, and holds")
	}
	// By number, in one room only.
	s.ok("create dev")
	one, other := s.talk("lobby"), s.talk("dev")
	s.ok(fmt.Sprintf("ban #%d --room dev", other.id))
	until(t, other.In, "you are banned")
	if got := one.says("x"); !strings.HasSuffix(got, "> x") {
		t.Error(got)
	}
	if _, errs, status := s.do("ban", "#4711"); status != admin.ExitRefused {
		t.Error(status, errs)
	}
	if _, errs, status := s.do("ban", "192.0.2.1", "--nick-only"); status != admin.ExitUsage {
		t.Error(status, errs)
	}
}

// A banned address has no connection to the master port either: it could make
// rooms.
func TestBanClosesMaster(t *testing.T) {
	s := startShell(t)
	open := func() *bufio.Reader {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Service.Port()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "LIST\n")
		in := bufio.NewReader(c)
		until(t, in, "OK 0")
		return in
	}
	one, two := open(), open()
	if out := s.ok("ban 127.0.0.1 --dry-run"); !strings.Contains(out, "2 connections") {
		t.Error(out)
	}
	if out := s.ok("ban ::ffff:127.0.0.0/104 --why flooding"); !strings.Contains(out, "2 connections") {
		t.Error(out)
	}
	for _, in := range []*bufio.Reader{one, two} {
		if l := until(t, in, ""); l != "ERR denied you are banned: flooding\n" {
			t.Errorf("%q", l)
		}
		if l, err := in.ReadString('\n'); err != io.EOF {
			t.Errorf("it goes on: %q %v", l, err)
		}
	}
}
