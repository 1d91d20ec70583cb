package irc

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
	"roomd/netsvc/roomlog"
	"roomd/netsvc/wire"
)

// join enters rooms, and reads what comes of it.
func (c *ircClient) join(rooms ...string) {
	c.t.Helper()
	for _, r := range rooms {
		c.send("JOIN " + r)
		c.until(" 366 ")
	}
	c.sync()
}

func TestWho(t *testing.T) {
	s := newServer(t, nil)
	bob := s.named("lobby", "Bob")
	defer bob.Conn.Close()
	ann, carl := s.login("ann"), s.login("Carl")
	ann.join("#lobby")
	carl.join("#lobby", "#dev")
	ann.sync()
	const end = " :End of the WHO list"
	ann.expect("WHO #LOBBY",
		":irc.test 352 ann #lobby u irc.test irc.test Bob H :0 Bob",
		":irc.test 352 ann #lobby u irc.test irc.test ann H :0 ann",
		":irc.test 352 ann #lobby u irc.test irc.test Carl H :0 Carl",
		":irc.test 315 ann #lobby"+end)
	ann.expect("WHO #dev", ":irc.test 315 ann #dev"+end)
	ann.expect("WHO #none", ":irc.test 315 ann #none"+end)
	ann.expect("WHO #lobby o", ":irc.test 315 ann #lobby"+end)
	ann.expect("WHO carl", ":irc.test 352 ann #lobby u irc.test irc.test Carl H :0 Carl", ":irc.test 315 ann carl"+end)
	ann.expect("WHO bob", ":irc.test 352 ann #lobby u irc.test irc.test Bob H :0 Bob", ":irc.test 315 ann bob"+end)
	ann.expect("WHO nobody", ":irc.test 315 ann nobody"+end)
	ann.expect("WHO *O*", ":irc.test 352 ann #lobby u irc.test irc.test Bob H :0 Bob", ":irc.test 315 ann *O*"+end)
	for _, mask := range []string{"*", "0", "*!*@*"} {
		if got := carl.lines("WHO " + mask); len(got) != 4 {
			t.Errorf("WHO %s: %q", mask, got)
		}
	}
	if got := ann.lines("WHO"); len(got) != 4 || got[3] != ":irc.test 315 ann *"+end {
		t.Errorf("WHO: %q", got)
	}
	dan := s.login("dan")
	dan.expect("WHO 0", ":irc.test 352 dan * u irc.test irc.test dan H :0 dan", ":irc.test 315 dan 0"+end)
	dan.expect("WHO ann", ":irc.test 352 dan * u irc.test irc.test ann H :0 ann", ":irc.test 315 dan ann"+end)
	// irssi, WeeChat, and every field
	ann.expect("WHO #lobby %tcuhnfdar,743",
		":irc.test 354 ann 743 #lobby u irc.test Bob H 0 0 Bob",
		":irc.test 354 ann 743 #lobby u irc.test ann H 0 0 ann",
		":irc.test 354 ann 743 #lobby u irc.test Carl H 0 0 Carl",
		":irc.test 315 ann #lobby"+end)
	ann.expect("WHO carl %cuhsnfdar",
		":irc.test 354 ann #lobby u irc.test irc.test Carl H 0 0 Carl", ":irc.test 315 ann carl"+end)
	ann.expect("WHO bob %raoldfnshiuct,07",
		":irc.test 354 ann 07 #lobby u 255.255.255.255 irc.test irc.test Bob H 0 0 0 n/a Bob", ":irc.test 315 ann bob"+end)
	ann.expect("WHO bob %n", ":irc.test 354 ann Bob", ":irc.test 315 ann bob"+end)
	ann.expect("WHO bob %tn,1000", ":irc.test 354 ann 0 Bob", ":irc.test 315 ann bob"+end)
	ann.expect("WHO bob %", ":irc.test 352 ann #lobby u irc.test irc.test Bob H :0 Bob", ":irc.test 315 ann bob"+end)
}

// lines sends a line, and returns what comes up to the answer to a PING.
func (c *ircClient) lines(send string) []string {
	c.t.Helper()
	c.send(send)
	return c.sync()
}

// A session that has the nick of somebody in a room is not shown in their place.
func TestWhoOfAnotherBearer(t *testing.T) {
	s := newServer(t, nil)
	defer s.named("lobby", "bob").Conn.Close()
	ann, other := s.login("ann"), s.dial()
	other.send("NICK bob", "USER b 0 * :a stranger")
	other.until(" 376 ")
	ann.join("#lobby")
	ann.expect("WHO #lobby %nr",
		":irc.test 354 ann bob bob", ":irc.test 354 ann ann ann", ":irc.test 315 ann #lobby :End of the WHO list")
	ann.expect("WHO bob %cr",
		":irc.test 354 ann * :a stranger", ":irc.test 354 ann #lobby bob", ":irc.test 315 ann bob :End of the WHO list")
}

// Lists that answer a request with a label are in a batch.
func TestListsWithLabel(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann", "batch", "labeled-response")
	ann.join("#lobby")
	for send, want := range map[string]string{"NAMES #lobby": " 353 ", "WHO #lobby": " 352 ", "WHO #lobby %n": " 354 "} {
		got := ann.lines("@label=x " + send)
		if len(got) != 4 {
			t.Fatalf("%s: %q", send, got)
		}
		_, ref, ok := strings.Cut(got[0], "BATCH +")
		ref, _, _ = strings.Cut(ref, " ")
		if !ok || !strings.HasPrefix(got[0], "@label=x ") || !strings.HasPrefix(got[1], "@batch="+ref+" ") || !strings.Contains(got[1], want) ||
			!strings.HasPrefix(got[2], "@batch="+ref+" ") || got[3] != ":irc.test BATCH -"+ref {
			t.Errorf("%s: %q", send, got)
		}
	}
	if got := ann.lines("@label=y WHO nobody"); len(got) != 1 || !strings.HasPrefix(got[0], "@label=y :irc.test 315 ") {
		t.Errorf("got %q", got)
	}
}

var numbers = regexp.MustCompile(` 317 (\S+ \S+) \d+ \d{10} `)

func TestWhois(t *testing.T) {
	s := newServer(t, nil)
	bob := s.named("lobby", "Bob")
	defer bob.Conn.Close()
	if err := s.Service.SetPassword("dev", "secret"); err != nil {
		t.Fatal(err)
	}
	ann, carl := s.login("ann"), s.login("carl")
	carl.send("JOIN #dev secret")
	carl.join("#lobby", "#more")
	whois := func(c *ircClient, send string, want ...string) {
		t.Helper()
		got := c.lines(send)
		for i := range got {
			got[i] = numbers.ReplaceAllString(got[i], " 317 $1 N N ")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", send, got, want)
		}
	}
	of := func(me, nick, rooms string) []string {
		return []string{
			":irc.test 311 " + me + " " + nick + " u irc.test * " + nick,
			":irc.test 319 " + me + " " + nick + " " + rooms,
			":irc.test 312 " + me + " " + nick + " irc.test roomd",
			":irc.test 317 " + me + " " + nick + " N N :seconds idle, connected since",
		}
	}
	end := func(me, nick string) string { return ":irc.test 318 " + me + " " + nick + " :End of WHOIS" }
	whois(ann, "WHOIS Carl", append(of("ann", "carl", ":#lobby #more"), end("ann", "Carl"))...)
	whois(ann, "WHOIS carl carl", append(of("ann", "carl", ":#lobby #more"), end("ann", "carl"))...)
	whois(carl, "WHOIS carl", append(of("carl", "carl", ":#dev #lobby #more"), end("carl", "carl"))...)
	whois(carl, "WHOIS bob", append(of("carl", "Bob", "#lobby"), end("carl", "bob"))...)
	for _, nick := range []string{"bob", "nobody", "#lobby"} { // bob is in none of ann's rooms
		whois(ann, "WHOIS "+nick, ":irc.test 401 ann "+nick+" :Nobody here has that nick", end("ann", nick))
	}
	whois(ann, "WHOIS", ":irc.test 461 ann WHOIS :Parameters are missing")
}

func TestWhowas(t *testing.T) {
	s := newServer(t, nil)
	ann := s.login("ann")
	for _, nick := range []string{"bob", "Bob"} {
		bob := s.login(nick)
		bob.send("QUIT")
		bob.until("ERROR")
		bob.Close()
		netsvctest.Eventually(t, "the nick is free", func() bool { return s.irc.named("bob") == nil })
	}
	carl := s.login("carl")
	carl.lines("NICK karl")
	got := ann.lines("WHOWAS BOB")
	if len(got) != 5 || got[0] != ":irc.test 314 ann Bob u irc.test * Bob" || !strings.HasPrefix(got[1], ":irc.test 312 ann Bob irc.test :20") ||
		got[2] != ":irc.test 314 ann bob u irc.test * bob" || got[4] != ":irc.test 369 ann BOB :End of WHOWAS" {
		t.Errorf("got %q", got)
	}
	if got := ann.lines("WHOWAS bob 1"); len(got) != 3 {
		t.Errorf("got %q", got)
	}
	if got := ann.lines("WHOWAS carl"); len(got) != 3 || got[0] != ":irc.test 314 ann carl u irc.test * carl" {
		t.Errorf("got %q", got)
	}
	ann.expect("WHOWAS ann", ":irc.test 406 ann ann :Nobody is remembered by that nick", ":irc.test 369 ann ann :End of WHOWAS")
	ann.expect("WHOWAS", ":irc.test 431 ann :No nick was given")
}

func TestUserHostAndIsOn(t *testing.T) {
	s := newServer(t, nil)
	bob := s.named("lobby", "Bob")
	defer bob.Conn.Close()
	ann := s.login("ann")
	ann.expect("ISON bob ann :carl ANN", ":irc.test 303 ann :ann ann")
	ann.expect("USERHOST ann bob", ":irc.test 302 ann ann=+u@irc.test")
	ann.join("#lobby")
	ann.expect("ISON bob ann", ":irc.test 303 ann :Bob ann")
	ann.expect("ISON nobody", ":irc.test 303 ann :")
	ann.expect("USERHOST bob nobody ann 1 2 ann", ":irc.test 302 ann :Bob=+u@irc.test ann=+u@irc.test")
	s.login("x")
	ann.expect("ISON x"+strings.Repeat(" ann", 124), ":irc.test 303 ann :x"+strings.Repeat(" ann", 122)) // and not the nick a
	ann.expect("USERHOST", ":irc.test 461 ann USERHOST :Parameters are missing")
}

// A list of a large room goes out in pages of bounded size, from a number that another process
// understands.
func TestWhoOfLargeRoom(t *testing.T) {
	s := New(Options{Name: "irc.test"})
	f := s.Formats()[roomlog.IRC].(logFormat)
	all := make([]netsvc.RosterMember, 5000)
	for i := range all {
		all[i].Nick = fmt.Sprintf("%s%d", strings.Repeat("x", 25), i)
	}
	for _, style := range []int{styleNames, styleNamesAndHost, styleWho, styleWhoX | 1<<(fieldsShift+6) | 7<<styleBits} {
		pages, lines, largest := 0, "", 0
		for n, before := 0, -1; n < len(all); pages++ {
			if n <= before {
				t.Fatalf("style %d: no progress at %d", style, n)
			}
			before = n
			var b []byte
			b, n = f.Members(b, netsvc.Place{Name: "lobby", To: "ann"}, all, style, n)
			lines += string(b)
			largest = max(largest, len(b))
		}
		if largest > 24<<10 || pages < 5 {
			t.Errorf("style %d: %d pages, the largest has %d bytes", style, pages, largest)
		}
		each := strings.Repeat("x", 25)
		if style == styleWho {
			each = "H :0 " + each
		}
		if got := strings.Count(lines, each); got != len(all) {
			t.Errorf("style %d: %d members", style, got)
		}
		for l := range strings.Lines(lines) {
			if _, rest, _ := strings.Cut(l, " "); !strings.HasSuffix(l, "\r\n") || len(rest) > MaxLine {
				t.Fatalf("style %d: %q", style, l)
			}
		}
	}
}

func TestWhoStyle(t *testing.T) {
	style, _ := whoStyle("%tnr,007")
	style |= maxStyleRef << styleBits
	if style < 0 {
		t.Error("negative")
	}
	got := string(appendWho(nil, "h", "ann", "#lobby", style, &person{nick: wire.Name{Shown: "bob"}, realName: "Bob B"}))
	if want := fmt.Sprintf("@batch=%d :h 354 ann 007 bob :Bob B\r\n", maxStyleRef); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Another nick of somebody in one room does not rename somebody else in another.
func TestNickOfOneRoom(t *testing.T) {
	s := newServer(t, nil)
	inLobby, inDev := s.named("lobby", "bob"), s.named("dev", "bob")
	defer inDev.Conn.Close()
	ann, carl := s.login("ann"), s.login("carl", "server-time")
	ann.join("#lobby", "#dev")
	carl.join("#lobby")
	ann.sync()
	rename := func(nick string) {
		t.Helper()
		inLobby.Send("/nick "+nick, "/ping")
		inLobby.Until("* pong ")
	}
	rename("robert")
	ann.expect("", ":bob!u@irc.test PART #lobby", ":robert!u@irc.test JOIN #lobby")
	carl.expect("", "@time=T :bob!u@irc.test NICK robert")
	rename("rob")
	ann.expect("", ":robert!u@irc.test NICK rob")
	rename("BOB")
	ann.expect("", ":rob!u@irc.test PART #lobby", ":BOB!u@irc.test JOIN #lobby")
	inLobby.Send("hello")
	ann.until(":BOB!u@irc.test PRIVMSG #lobby :hello")
	carl.until(":BOB!u@irc.test PRIVMSG #lobby :hello")
	inLobby.Conn.Close() // is not the other bob's end
	if l := ann.line(); !strings.HasPrefix(l, ":BOB!u@irc.test PART #lobby") {
		t.Errorf("got %q", l)
	}
}

// The numerics about nicks.
func TestNickNumerics(t *testing.T) {
	s := newServer(t, nil)
	defer s.named("lobby", "bob").Conn.Close()
	ann := s.login("ann")
	s.login("carl")
	ann.expect("NICK Carl", ":irc.test 433 ann Carl :Somebody else has that nick")
	ann.expect("NICK", ":irc.test 431 ann :No nick was given")
	if got := ann.lines("NICK a[b]"); len(got) != 1 || !strings.HasPrefix(got[0], ":irc.test 432 ann a[b] :") || !strings.HasSuffix(got[0], "; try a_b_") {
		t.Errorf("got %q", got)
	}
	ann.join("#lobby", "#dev")
	if got := ann.lines("NICK Bob"); len(got) != 1 || !strings.HasPrefix(got[0], ":irc.test 437 ann Bob :lobby: ") {
		t.Errorf("got %q", got)
	}
	ann.expect("NICK Ann", ":ann!u@irc.test NICK Ann")
	other := s.login("bob")
	if got := other.lines("JOIN #lobby"); len(got) != 1 || !strings.HasPrefix(got[0], ":irc.test 437 bob #lobby :") {
		t.Errorf("got %q", got)
	}
}
