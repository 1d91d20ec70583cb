package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// attacker is one kind of bad client. It has an address of its own.
type attacker struct {
	ctx    context.Context
	from   net.IP
	random *rand.Rand
	pause  time.Duration // between rounds
}

// kind is what an attacker does, again and again, and the metric that shows it.
type kind struct {
	name  string
	shows string
	round func(a *attacker)
}

// run goes on until the end of the attack. A round may take as long as the
// server makes it take.
func (a *attacker) run(k kind) {
	for a.ctx.Err() == nil {
		k.round(a)
		a.rest(a.pause)
	}
}

// rest waits, and reports false at the end of the attack.
func (a *attacker) rest(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-a.ctx.Done():
		return false
	}
}

// dial connects to a port and closes the connection at the end of the attack.
// nil: it was not to be had.
func (a *attacker) dial(port int) net.Conn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: a.from}}
	c, err := d.DialContext(a.ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil
	}
	// What its kernel still has when it closes is read at its allowance: megabytes
	// would take minutes, and nothing is shown by that.
	c.(*net.TCPConn).SetWriteBuffer(32 << 10)
	c.SetDeadline(time.Now().Add(5 * time.Second))
	context.AfterFunc(a.ctx, func() { c.Close() })
	return c
}

// say sends text and reads what comes until the server closes, or for a while.
func (a *attacker) say(port int, text string) {
	c := a.dial(port)
	if c == nil {
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	go io.WriteString(c, text)
	io.Copy(io.Discard, c)
}

// pour sends text over and over, as fast as it is taken, and reads nothing or
// everything.
func (a *attacker) pour(port int, text string, reads bool) {
	c := a.dial(port)
	if c == nil {
		return
	}
	defer c.Close()
	if reads {
		go io.Copy(io.Discard, c)
	}
	for a.ctx.Err() == nil {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
	}
}

// many does something from one address after the other, four times, as those that
// have whole networks do.
func (a *attacker) many(round func(a *attacker)) {
	for range 4 {
		b := *a
		b.from = net.IPv4(127, 1, byte(a.random.IntN(250)), byte(1+a.random.IntN(250)))
		round(&b)
	}
}

// ask makes a request of the master port and returns the answer to it.
func (a *attacker) ask(master int, request string) (answer string) {
	c := a.dial(master)
	if c == nil {
		return ""
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second)) // a deletion waits for its members
	fmt.Fprintln(c, request)
	answer, _ = bufio.NewReader(c).ReadString('\n')
	return answer
}

// inRoom makes a room, does something with its port, and has the room deleted
// meanwhile or after it.
func (a *attacker) inRoom(master int, meanwhile bool, round func(port int)) {
	name := fmt.Sprint("own-", a.random.IntN(1e6))
	var port int
	if n, _ := fmt.Sscanf(a.ask(master, "CREATE "+name), "OK "+name+" %d", &port); n != 1 {
		return
	}
	if !meanwhile {
		round(port)
		a.ask(master, "DELETE "+name)
		return
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		a.ask(master, "DELETE "+name)
	}()
	for a.ctx.Err() == nil {
		round(port)
		select {
		case <-gone:
			return
		default:
		}
	}
	<-gone
}

// hold keeps some connections open, each of which sends text and then nothing.
func (a *attacker) hold(port, n int, text string) {
	var held []net.Conn
	for range n {
		if c := a.dial(port); c != nil {
			io.WriteString(c, text)
			held = append(held, c)
		}
	}
	a.rest(2 * time.Second)
	for _, c := range held {
		c.Close()
	}
}

// dribble sends text a byte at a time.
func (a *attacker) dribble(port int, text string) {
	c := a.dial(port)
	if c == nil {
		return
	}
	defer c.Close()
	for i := 0; a.rest(20 * time.Millisecond); i++ {
		if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
			return
		}
	}
}

// asks has some members ask for something all the time, less often than they may,
// and read the answers.
func (a *attacker) asks(port, n int, text string) {
	var all []net.Conn
	for range n {
		if c := a.dial(port); c != nil {
			go io.Copy(io.Discard, c)
			all = append(all, c)
		}
	}
	for range 40 {
		if !a.rest(60 * time.Millisecond) {
			break
		}
		for _, c := range all {
			io.WriteString(c, text)
		}
	}
	for _, c := range all {
		c.Close()
	}
}

func (a *attacker) either(texts ...string) string { return texts[a.random.IntN(len(texts))] }

func (a *attacker) reset(port int, text string) {
	c := a.dial(port)
	if c == nil {
		return
	}
	io.WriteString(c, text)
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func (a *attacker) noise(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(a.random.Uint32())
	}
	return string(b)
}

const clientHello = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" // the beginning of a TLS handshake

// kinds are the bad clients. They meet the good ones in the room lobby and in
// the room den, whose password they do not know; the room mud is theirs.
func kinds(master, lobby, den, mud, irc int) []kind {
	long := strings.Repeat("x", 64<<10)
	return append(append(ircKinds(irc), webKinds(master)...), []kind{
		{"a byte now and then to the master port", `roomd_sessions_ended_total{cause="idle"}`, func(a *attacker) { a.dribble(master, "LIST x") }},
		{"silence on the master port", `roomd_sessions_ended_total{cause="idle"}`, func(a *attacker) { a.hold(master, 20, "") }},
		{"an endless line to the master port", "roomd_requests_throttled_total", func(a *attacker) { a.pour(master, long, true) }},
		{"empty lines to the master port", "roomd_requests_throttled_total", func(a *attacker) { a.pour(master, strings.Repeat("\n", 10000), true) }},
		{"LIST in a flood", "roomd_requests_throttled_total", func(a *attacker) { a.pour(master, strings.Repeat("LIST\n", 500), true) }},
		{"LIST with long patterns", "roomd_requests_throttled_total", func(a *attacker) {
			a.pour(master, strings.Repeat("LIST *"+strings.Repeat("Ä", 1000)+"\n", 100), true)
		}},
		{"LIST in a flood, unread", "roomd_requests_throttled_total", func(a *attacker) { a.pour(master, strings.Repeat("LIST *\n", 500), false) }},
		{"CREATE and DELETE in a flood", "roomd_requests_throttled_total", func(a *attacker) {
			name := fmt.Sprint("bad-", a.random.IntN(1000))
			a.say(master, fmt.Sprintf("CREATE %s\nDELETE %s\n", name, name)+strings.Repeat("CREATE lobby\n", 100))
		}},
		{"CREATE with hostile names", `roomd_rejected_lines_total{kind="cleaned"}`, func(a *attacker) { a.say(master, "CREATE \x1b[2J\u202ex\nCREATE "+a.noise(20)+"\nQUIT\n") }},
		{"JOIN again and again", "roomd_rate_limited_total", func(a *attacker) {
			for range 100 {
				a.say(master, "JOIN lobby\n")
			}
		}},
		{"HTTP on the master port", `roomd_foreign_connections_total{protocol="http"}`, func(a *attacker) { a.say(master, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") }},
		{"HTTP in a room", `roomd_foreign_connections_total{protocol="http"}`, func(a *attacker) { a.say(lobby, "POST / HTTP/1.1\r\nHost: x\r\n\r\nhello\r\n") }},
		{"TLS on plain ports", `roomd_foreign_connections_total{protocol="tls"}`, func(a *attacker) { a.say(master, clientHello); a.say(lobby, clientHello) }},
		{"SSH on plain ports", `roomd_foreign_connections_total{protocol="ssh"}`, func(a *attacker) { a.say(master, "SSH-2.0-x\r\n"); a.say(mud, "SSH-2.0-x\r\n") }},
		{"noise to the master port", `roomd_rejected_lines_total{kind="cleaned"}`, func(a *attacker) { a.say(master, a.noise(4000)+"\n") }},
		{"noise in a room", `roomd_rejected_lines_total{kind="cleaned"}`, func(a *attacker) { a.say(mud, a.noise(4000)+"\n") }},
		{"joins and leaves", `roomd_members_ended_total{cause="left"}`, func(a *attacker) {
			if c := a.dial(mud); c != nil {
				c.Close()
			}
		}},
		{"joins and resets in the good room", `roomd_members_ended_total{cause="vanished"}`, func(a *attacker) { a.reset(lobby, "half a li") }},
		{"joins and leaves in the good room", `roomd_members_ended_total{cause="left"}`, func(a *attacker) {
			if c := a.dial(lobby); c != nil {
				c.Close()
			}
		}},
		{"connections in a loop", "roomd_rate_limited_total", func(a *attacker) {
			for range 50 {
				a.reset(lobby, "")
			}
		}},
		{"more connections than an address may have", `roomd_connections_refused_total{cause="address"}`, func(a *attacker) { a.hold(mud, 75, "") }},
		{"members that never read", "roomd_written_bytes_total", func(a *attacker) { a.hold(lobby, 5, "") }},
		{"a byte now and then in a room", `roomd_members_ended_total{cause="left"}`, func(a *attacker) { a.dribble(mud, "0123456789") }},
		{"lines that are too long", `roomd_rejected_lines_total{kind="too long"}`, func(a *attacker) { a.say(mud, strings.Repeat(long[:5000]+"\n", 3)) }},
		{"an endless line in a room", "roomd_members_throttled_total", func(a *attacker) { a.pour(mud, long, true) }},
		{"empty lines in a room", `roomd_rejected_lines_total{kind="blank"}`, func(a *attacker) { a.pour(mud, strings.Repeat("\r\n", 10000), true) }},
		{"a flood of lines", "roomd_members_throttled_total", func(a *attacker) { a.pour(mud, strings.Repeat("buy now\n", 1000), true) }},
		{"a flood of lines, unread", "roomd_members_throttled_total", func(a *attacker) { a.pour(mud, strings.Repeat("buy now "+long[:200]+"\n", 100), false) }},
		{"escapes and faked lines", `roomd_rejected_lines_total{kind="cleaned"}`, func(a *attacker) { a.say(mud, "\x1b[2J\x1b]0;x\a\u202e\r<ann> no\n* lobby: deleted\n") }},
		{"towers of marks", `roomd_rejected_lines_total{kind="cleaned"}`, func(a *attacker) { a.say(mud, "Z"+strings.Repeat("\u0301", 2000)+"\n") }},
		{"telnet without end", "roomd_members_throttled_total", func(a *attacker) { a.pour(mud, strings.Repeat("\xff\xfb\x01\xff\xfa\x18", 2000), true) }},
		{"one nick after the other", `roomd_members_ended_total{cause="left"}`, func(a *attacker) {
			var b strings.Builder
			for range 200 {
				fmt.Fprintf(&b, "/nick bad-%d\n/nick *\n", a.random.IntN(1e6))
			}
			a.say(mud, b.String())
		}},
		{"dear commands, unread", "roomd_members_throttled_total", func(a *attacker) { a.pour(mud, strings.Repeat("/since 0\n/history 10000\n/who\n/json\n", 50), false) }},
		{"guesses of a password", `roomd_passwords_total{outcome="wrong"}`, func(a *attacker) { a.say(den, "/pass a\n/pass b\n/pass c\n") }},
		{"guesses in a hurry", `roomd_passwords_total{outcome="throttled"}`, func(a *attacker) { a.say(den, "/pass a\n/pass b\n/pass c\n") }},
		{"silence before a password", "roomd_connections_accepted_total", func(a *attacker) { a.hold(den, 20, "/who\n") }},
		{"connections to a room that is being deleted", `roomd_members_ended_total{cause="room deleted"}`, func(a *attacker) {
			a.inRoom(master, true, func(port int) {
				if c := a.dial(port); c != nil { // a member, or refused, or in the backlog
					c.(*net.TCPConn).SetLinger(0)
					context.AfterFunc(a.ctx, func() { c.Close() })
				}
			})
		}},
		{"deletions with members that do not read", `roomd_members_ended_total{cause="room deleted"}`, func(a *attacker) {
			var stuck []net.Conn
			a.inRoom(master, false, func(port int) {
				for range 5 {
					if c := a.dial(port); c != nil {
						io.WriteString(c, strings.Repeat(long[:1000]+"\n/history 1000\n", 20))
						stuck = append(stuck, c)
					}
				}
			})
			for _, c := range stuck {
				c.Close()
			}
		}},
		{"rooms that are made, filled and deleted", `roomd_members_ended_total{cause="room deleted"}`, func(a *attacker) {
			a.inRoom(master, false, func(port int) {
				if c := a.dial(port); c != nil {
					go io.WriteString(c, strings.Repeat(long[:4000]+"\n", 30)+"/raw\n")
					c.SetReadDeadline(time.Now().Add(2 * time.Second))
					io.CopyN(io.Discard, c, 30*4000)
				}
			})
		}},
		{"empty rooms", "roomd_requests_throttled_total", func(a *attacker) {
			name := fmt.Sprint("empty-", a.random.IntN(10))
			a.say(master, strings.Repeat(fmt.Sprintf("CREATE %s\nDELETE %s\n", name, name), 20))
		}},
		{"members that say /who and do not read", "roomd_members_throttled_total", func(a *attacker) { a.hold(lobby, 20, strings.Repeat("/who\n", 300)) }},
		{"LIST by many who do not read", "roomd_requests_throttled_total", func(a *attacker) { a.hold(master, 20, strings.Repeat("LIST\n", 50)) }},
		{"searches in a flood", "roomd_members_throttled_total", func(a *attacker) {
			a.many(func(a *attacker) {
				a.pour(mud, strings.Repeat("/search "+a.either("x", "nothing of that", long[:4000])+"\n", 20), a.random.IntN(2) == 0)
			})
		}},
		{"searches within the allowance", "roomd_history_pages_total", func(a *attacker) { a.asks(lobby, 15, a.either("/search x\n", "/search "+long[:4000]+"\n")) }},
		{"members that ask within the allowance", "roomd_written_bytes_total", func(a *attacker) { a.asks(lobby, 15, a.either("/who\n", "/history 1000\n")) }},
		{"long histories, and a reset", `roomd_members_ended_total{cause="vanished"}`, func(a *attacker) {
			for range 5 {
				a.reset(mud, "/history 10000\n")
			}
		}},
		{"half closes, read slowly", `roomd_members_ended_total{cause="left"}`, func(a *attacker) {
			c := a.dial(mud)
			if c == nil {
				return
			}
			defer c.Close()
			io.WriteString(c, strings.Repeat("/history 10000\n", 20))
			c.(*net.TCPConn).CloseWrite()
			for b := make([]byte, 3<<10); a.rest(200 * time.Millisecond); {
				if _, err := c.Read(b); err != nil {
					return
				}
			}
		}},
		{"guesses from many addresses", `roomd_passwords_total{outcome="wrong"}`, func(a *attacker) {
			a.many(func(a *attacker) { a.say(den, "/pass a\n/pass b\n/pass c\n") })
		}},
		{"half closes", `roomd_members_ended_total{cause="left"}`, func(a *attacker) {
			if c := a.dial(mud); c != nil {
				io.WriteString(c, "half")
				c.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, c)
				c.Close()
			}
		}},
	}...)
}

// ircKinds are the bad clients of IRC.
func ircKinds(irc int) []kind {
	long := strings.Repeat("x", 64<<10)
	registered := func(a *attacker, rooms string) string {
		nick := fmt.Sprint("bad-", a.random.IntN(1e6))
		return fmt.Sprintf("CAP REQ :message-tags server-time batch labeled-response echo-message\r\nCAP END\r\nNICK %s\r\nUSER %[1]s 0 * :x\r\nJOIN %s\r\n", nick, rooms)
	}
	// in pours text by a registered client that is in the rooms.
	in := func(a *attacker, rooms, text string, reads bool) {
		c := a.dial(irc)
		if c == nil {
			return
		}
		defer c.Close()
		if reads {
			go io.Copy(io.Discard, c)
		}
		for _, err := io.WriteString(c, registered(a, rooms)); err == nil && a.ctx.Err() == nil; {
			_, err = io.WriteString(c, text)
		}
	}
	const throttled, accepted = "roomd_members_throttled_total", "roomd_connections_accepted_total"
	return []kind{
		{"a flood by IRC", throttled, func(a *attacker) { in(a, "#mud", strings.Repeat("PRIVMSG #mud :buy now\r\n", 1000), true) }},
		{"a flood by IRC, unread", throttled, func(a *attacker) {
			in(a, "#mud,#lobby", strings.Repeat("PRIVMSG #mud :buy now "+long[:300]+"\r\nPING x\r\n", 200), false)
		}},
		{"clients of IRC that never read", "roomd_written_bytes_total", func(a *attacker) { a.hold(irc, 5, registered(a, "#lobby,#mud")) }},
		{"10,000 JOINs", throttled, func(a *attacker) {
			var b strings.Builder
			for range 10000 {
				fmt.Fprintf(&b, "JOIN #none-%d\r\nJOIN #mud\r\nPART #mud\r\n", a.random.IntN(100))
			}
			in(a, "#mud", b.String(), true)
		}},
		{"JOIN of very many at once", throttled, func(a *attacker) {
			in(a, "#mud", "JOIN "+strings.Repeat("#mud,#den,&x,,#,", 20)+"#x "+strings.Repeat("k,", 50)+"\r\n", a.random.IntN(2) == 0)
		}},
		{"endless tags", throttled, func(a *attacker) {
			a.pour(irc, a.either("@"+long, "@"+strings.Repeat("a=b;", 2000)+" PING x\r\n", "@label="+long[:5000]+" PING x\r\n"), true)
		}},
		{"an endless line by IRC", throttled, func(a *attacker) { a.pour(irc, long, true) }},
		{"empty lines by IRC", throttled, func(a *attacker) { a.pour(irc, strings.Repeat("\r\n", 10000), true) }},
		{"NUL and CR in odd places", throttled, func(a *attacker) {
			in(a, "#mud", strings.Repeat("PRIV\x00MSG #mud :x\r\nPRIVMSG #mud :a\rQUIT\r\r\n\x00\n\r\nPRIVMSG #m\x00ud :x\r\nNICK a\rb\r\n: : :\r\n@ x\r\nPRIVMSG\r\n", 50), true)
		}},
		{"noise by IRC", accepted, func(a *attacker) { a.say(irc, registered(a, "#mud")+a.noise(4000)+"\r\n") }},
		{"CAP and SASL half done", accepted, func(a *attacker) {
			a.hold(irc, 10, a.either("CAP LS 302\r\nNICK x\r\nUSER x 0 * :x\r\n", "CAP REQ :sasl\r\nAUTHENTICATE PLAIN\r\nAUTHENTICATE "+long[:400]+"\r\n", "CAP REQ :"+long[:450]+"\r\nCAP"))
		}},
		{"half registrations", accepted, func(a *attacker) {
			for range 50 {
				a.reset(irc, a.either("NICK good-1\r\n", "USER x 0 * :x\r\n", "NICK bad\r\nUSER x 0 *", "PASS "))
			}
		}},
		{"half registrations from many addresses", accepted, func(a *attacker) {
			a.many(func(a *attacker) { a.hold(irc, 20, "NICK bad-"+fmt.Sprint(a.random.IntN(1e6))+"\r\n") })
		}},
		{"wars of nicks", throttled, func(a *attacker) {
			var b strings.Builder
			for range 200 {
				fmt.Fprintf(&b, "NICK bad-%d\r\nNICK good-%d\r\n", a.random.IntN(20), a.random.IntN(60))
			}
			in(a, "#lobby,#mud", b.String(), true)
		}},
		{"lists and histories by IRC", throttled, func(a *attacker) {
			in(a, "#lobby,#mud", strings.Repeat("WHO #lobby\r\nNAMES #lobby,#mud\r\nLIST\r\nCHATHISTORY LATEST #mud * 100\r\nWHO *\r\nWHOIS good-1\r\n", 50), true)
		}},
		{"lists and histories by IRC, unread", throttled, func(a *attacker) {
			in(a, "#lobby,#mud", strings.Repeat("WHO #lobby %tcuhnfar\r\n@label=x NAMES #lobby\r\nLIST *\r\nCHATHISTORY BEFORE #mud timestamp=2040-01-01T00:00:00.000Z 100\r\n", 50), false)
		}},
		{"private messages to a client that does not read", throttled, func(a *attacker) {
			deaf := a.dial(irc)
			if deaf == nil {
				return
			}
			defer deaf.Close()
			io.WriteString(deaf, "NICK deaf\r\nUSER deaf 0 * :x\r\n")
			in(a, "#mud", strings.Repeat("PRIVMSG deaf :"+long[:400]+"\r\n", 100), true)
		}},
		{"guesses of a key", `roomd_passwords_total{outcome="wrong"}`, func(a *attacker) { a.say(irc, registered(a, "#den a")+"JOIN #den b\r\nJOIN #den c\r\n") }},
		{"IRC that quits with lines unread", "roomd_written_bytes_total", func(a *attacker) {
			a.reset(irc, registered(a, "#lobby,#mud")+"CHATHISTORY LATEST #mud * 100\r\nQUIT\r\n")
		}},
	}
}
