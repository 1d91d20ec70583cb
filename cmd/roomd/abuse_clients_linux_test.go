package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// abuser is a client of some kind, with an address of its own.
type abuser struct {
	*abuse
	*rand.Rand
	id   int
	said int
}

func (a *abuse) client(id int) *abuser {
	return &abuser{abuse: a, Rand: rand.New(rand.NewPCG(a.seed, uint64(id))), id: id}
}

// address is where a client comes from: those with odd numbers are not exempt from
// the rates.
func address(id int) string { return fmt.Sprintf("127.0.3.%d", 1+id%2*128+id) }

func (c *abuser) dial(port int) *net.TCPConn {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address(c.id))}, Timeout: patience}
	conn, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil
	}
	conn.SetDeadline(time.Now().Add(2 * patience))
	return conn.(*net.TCPConn)
}

// patient notes that a client has waited long enough.
func (c *abuser) patient(err error, what string) {
	if err, ok := err.(net.Error); ok && err.Timeout() {
		c.fail("client %d waits for %s", c.id, what)
	}
}

func (c *abuser) of(names ...string) string { return names[c.IntN(len(names))] }

// room is the name of some room, mostly of one that is there.
func (c *abuser) room() string {
	if c.IntN(2) == 0 {
		return c.of(stayingRooms...)
	}
	return c.of(churningRooms...)
}

func (c *abuser) nick() string { return fmt.Sprint("n-", c.IntN(30)) }

// rests waits, as clients do; an address that is over its rate waits longer.
func (c *abuser) rests(most time.Duration) {
	t := time.NewTimer(rand.N(most))
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.over:
	}
}

// port is where some room listens, 0: not known; or any port, now and then.
func (c *abuser) port(room string) int {
	if c.IntN(8) == 0 {
		return c.first + c.IntN(38)
	}
	c.do("JOIN")
	conn := c.dial(c.master)
	if conn == nil {
		return 0
	}
	defer conn.Close()
	fmt.Fprintf(conn, "JOIN %s\n", room)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	c.patient(err, "the answer to JOIN")
	var port int
	if n, _ := fmt.Sscanf(answer, "OK "+room+" %d", &port); n != 1 && strings.HasPrefix(answer, "ERR internal") {
		c.fail("JOIN %s: %s", room, answer)
	}
	return port
}

// talks joins some room, says lines, looks whether they are there, does what members
// do, and leaves in some way, until the abuse is over.
func (c *abuser) talks() {
	for !c.isOver() {
		if port := c.port(c.room()); port != 0 {
			c.talk(port)
		}
		c.rests(20 * time.Millisecond)
	}
}

func (c *abuser) talk(port int) {
	conn := c.dial(port)
	if conn == nil {
		return
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	greeting, err := in.ReadString('\n')
	c.patient(err, "a first line")
	if err == nil && strings.Contains(greeting, "password") {
		fmt.Fprintf(conn, "/pass %s\n", c.of("secret", "secret", "secret", "secret", "secret", "guess"))
		c.do("/pass")
		for err == nil && !strings.Contains(greeting, "you are ") {
			greeting, err = in.ReadString('\n')
		}
	}
	name, _, ok := strings.Cut(strings.TrimPrefix(greeting, "* "), ": ")
	if err != nil || !ok || !strings.Contains(greeting, "you are ") {
		return // it is banned, or the room is full or just going
	}
	w := &witness{room: name, seen: make(map[uint64]string)}
	defer func() {
		c.mu.Lock()
		c.shown = append(c.shown, w)
		c.mu.Unlock()
	}()
	back := make(map[string]bool) // own lines that were seen
	var said []string
	defer func() {
		for _, text := range said {
			if back[text] {
				w.own = append(w.own, text)
			}
		}
	}()
	for range 1 + c.IntN(12) {
		var batch strings.Builder
		for range 1 + c.IntN(20) {
			switch c.IntN(12) {
			case 0:
				batch.WriteString(c.command())
			case 1:
				c.do("/me")
				said = append(said, c.line(&batch, "/me "))
			default:
				c.do("line")
				said = append(said, c.line(&batch, ""))
			}
		}
		c.do("/ping")
		batch.WriteString("/ping\n")
		if _, err := io.WriteString(conn, batch.String()); err != nil {
			break
		}
		if !c.hears(conn, in, w, back) || c.isOver() {
			break
		}
		c.rests(5 * time.Millisecond)
	}
	switch c.IntN(5) {
	case 0:
		c.do("/quit")
		io.WriteString(conn, "/quit\n")
		c.hears(conn, in, w, back)
	case 1:
		c.do("half close")
		var last strings.Builder
		said = append(said, c.line(&last, ""))
		if _, err := io.WriteString(conn, last.String()); err == nil {
			conn.CloseWrite()
			c.hears(conn, in, w, back)
		}
	case 2:
		c.do("reset")
		conn.SetLinger(0)
	case 3:
		// The mode for pipes: what looks like a command is a line.
		c.do("/raw")
		io.WriteString(conn, "/raw\n/who\n/quit\n")
	default:
		c.do("close")
	}
}

// line writes a line that nobody says twice, and returns its text.
func (c *abuser) line(to *strings.Builder, before string) string {
	c.said++
	text := fmt.Sprintf("=%d.%d=", c.id, c.said)
	fmt.Fprintf(to, "%s%s\n", before, text)
	return text
}

// command is one that members give.
func (c *abuser) command() string {
	commands := []string{
		"/nick " + c.nick(), "/msg " + c.nick() + " psst", "/topic about " + c.nick(), "/topic", "/who", "/help", "/json",
		"/history " + c.of("1", "30", "1000", "100000", "x"), "/since " + c.of("0", "1", "100", "99999999", "-1"),
		"/echo " + c.of("on", "off"), "/nonsense", "//text", "/nick *",
	}
	text := c.of(commands...)
	kind, _, _ := strings.Cut(text, " ")
	c.do(kind)
	return text + "\n"
}

// ofTalkers is what talkers say, and nobody else.
var ofTalkers = regexp.MustCompile(`=[0-9]+\.[0-9]+=`)

// hears reads up to the answer to /ping, and reports whether the connection is still
// there.
func (c *abuser) hears(conn net.Conn, in *bufio.Reader, w *witness, back map[string]bool) bool {
	// A history takes its time, and lines of others are no answer for ever.
	end := time.Now().Add(15 * patience)
	for n := 0; ; n++ {
		if now := time.Now(); n%100 == 0 && now.Before(end) {
			conn.SetDeadline(now.Add(2 * patience))
		}
		l, err := in.ReadString('\n')
		c.patient(err, "the answer to /ping, or the end, in "+w.room)
		if err != nil {
			return false
		}
		text := ""
		if l[0] == '<' || l[0] == '{' {
			text = ofTalkers.FindString(l)
		}
		if number, ok := strings.CutPrefix(l, `{"seq":`); ok && text != "" {
			number, _, _ = strings.Cut(number, ",")
			seq, err := strconv.ParseUint(number, 10, 64)
			if err != nil {
				c.fail("%s: %q", w.room, l)
			}
			if was, ok := w.seen[seq]; ok && was != text {
				c.fail("%s: %d was %q, and is %q", w.room, seq, was, text)
			}
			if len(w.seen) < 1000 {
				w.seen[seq] = text
			}
		}
		switch {
		case strings.HasPrefix(text, fmt.Sprintf("=%d.", c.id)):
			back[text] = true
		case strings.HasPrefix(l, "* pong "), strings.HasPrefix(l, "{") && strings.Contains(l, `"type":"pong"`):
			return true
		}
	}
}

// vandalizes is every kind of bad client, one after the other.
func (c *abuser) vandalizes() {
	for !c.isOver() {
		port := c.master
		if c.IntN(3) > 0 {
			port = c.port(c.room())
		}
		if port == 0 {
			continue
		}
		if conn := c.dial(port); conn != nil {
			c.vandalize(conn)
			conn.Close()
		}
		c.rests(20 * time.Millisecond)
	}
}

func (c *abuser) vandalize(conn *net.TCPConn) {
	conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // a server that does not read is right
	switch c.IntN(9) {
	case 0:
		c.do("unread answers")
		io.WriteString(conn, strings.Repeat("/json\n/who\n/history 1000\nLIST\nHELP\n", 1+c.IntN(60)))
		c.rests(200 * time.Millisecond)
	case 1:
		c.do("half close, read slowly")
		io.WriteString(conn, strings.Repeat("/history 1000\nLIST\n", 10))
		conn.CloseWrite()
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		for b := make([]byte, 1000); !c.isOver(); {
			if _, err := conn.Read(b); err != nil {
				break
			}
		}
	case 2:
		c.do("reset in a line")
		io.WriteString(conn, "half a li")
		conn.SetLinger(0)
	case 3:
		c.do("endless line")
		for range 1 + c.IntN(30) {
			io.WriteString(conn, strings.Repeat("x", 64<<10))
		}
		if c.IntN(2) == 0 {
			io.WriteString(conn, "\n")
		}
	case 4:
		c.do("odd bytes")
		b := make([]byte, 1+c.IntN(5000))
		for i := range b {
			b[i] = byte(c.Uint32())
		}
		conn.Write(b)
	case 5:
		c.do("another protocol")
		io.WriteString(conn, c.of("GET / HTTP/1.1\r\nHost: x\r\n\r\n", clientHello, "SSH-2.0-x\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"))
	case 6:
		c.do("empty lines")
		io.WriteString(conn, strings.Repeat("\r\n", c.IntN(20000)))
	case 7:
		c.do("reset, unread")
		io.WriteString(conn, strings.Repeat("/since 0\n/who\nLIST *\n", 20))
		c.rests(30 * time.Millisecond)
		conn.SetLinger(0)
	default:
		c.do("a flood, unread")
		io.WriteString(conn, strings.Repeat("buy now\n", c.IntN(300)))
		c.rests(100 * time.Millisecond)
	}
}

// requests is a client of the master port.
func (c *abuser) requests() {
	for !c.isOver() {
		if conn := c.dial(c.master); conn != nil {
			in := bufio.NewReader(conn)
			for range 1 + c.IntN(20) {
				if !c.request(conn, in) || c.isOver() {
					break
				}
			}
			conn.Close()
		}
		c.rests(20 * time.Millisecond)
	}
}

// request makes a request and reads the answer. It reports whether the connection
// is still there.
func (c *abuser) request(conn net.Conn, in *bufio.Reader) bool {
	name := c.of(churningRooms...)
	c.mu.Lock()
	key := c.keys[name]
	c.mu.Unlock()
	text := c.of(
		"CREATE "+name, "CREATE "+name, "CREATE "+name+" secret", "CREATE "+c.of(stayingRooms...), "CREATE a,b", "CREATE",
		"DELETE "+name, "DELETE "+name+" "+key, "DELETE "+name+" "+key, "DELETE "+name+" 0123456789abcdef0123456789abcdef", "DELETE "+c.of(stayingRooms...),
		"LIST", "LIST "+name, "LIST r*", "HELP", "NONSENSE", "JOIN "+name, "QUIT",
	)
	verb, _, _ := strings.Cut(text, " ")
	c.do(verb)
	if _, err := fmt.Fprintf(conn, "%s\n", text); err != nil {
		return false
	}
	conn.SetDeadline(time.Now().Add(2 * patience))
	answer, err := in.ReadString('\n')
	c.patient(err, "the answer to "+text)
	if strings.HasPrefix(answer, "ERR internal") {
		c.fail("%s: %s", text, answer)
	}
	var port, rows int
	if n, _ := fmt.Sscanf(answer, "OK "+name+" %d %s", &port, &key); n == 2 && verb == "CREATE" {
		c.mu.Lock()
		c.keys[name] = key
		c.mu.Unlock()
	}
	if verb == "LIST" || verb == "HELP" {
		for fmt.Sscanf(answer, "OK %d\n", &rows); rows > 0 && err == nil; rows-- {
			_, err = in.ReadString('\n')
		}
	}
	return err == nil
}

// operates gives commands of every kind.
func (c *abuser) operates() {
	for !c.isOver() {
		c.operation()
		c.rests(30 * time.Millisecond)
	}
}

func (c *abuser) operation() {
	churn, any := c.of(churningRooms...), c.room()
	port := strconv.Itoa(c.first + c.IntN(38))
	commands := [][]string{
		{"kick", c.nick(), "--yes"}, {"kick", address(c.IntN(20)), "--yes"}, {"kick", strconv.Itoa(c.IntN(2000)), "--yes", "--say", "go"},
		{"ban", c.nick(), "--for", "1s", "--yes"}, {"ban", address(c.IntN(20)), "--for", "1s", "--yes"}, {"bans"}, {"unban", strconv.Itoa(c.IntN(100))},
		{"mute", c.nick(), "--for", "1s"}, {"mute", c.nick(), "--for", "1s", "--nick-only"}, {"unmute", c.nick(), "--yes"},
		{"rename", churn, c.of(churningRooms...)}, {"port", any, port}, {"topic", any, "of the operator"}, {"say", any, "hear"}, {"announce", "hear"},
		{"set", any, "members", c.of("50", "1000", "default"), "--yes"}, {"set", any, "replay", c.of("5", "1000", "default"), "--yes"}, {"set", churn, "read-only", c.of("on", "off"), "--yes"}, {"set", any, "quiet", c.of("on", "off", "5"), "--yes"}, {"set", any},
		{"create", churn}, {"create", churn, "--port", port}, {"delete", churn, "--yes"}, {"delete", churn, "--yes", "--purge"}, {"restore", churn}, {"purge", churn, "--yes"}, {"trash"},
		{"delete", churn, "--in", "1h", "--yes"}, {"delete", churn, "--cancel"},
		{"search", "*", "psst"}, {"search", any, "=1", "--count"}, {"read", any, "-n", "20"}, {"members"}, {"members", any, "--json"}, {"rooms", "--json"}, {"room", any},
		{"who", c.nick()}, {"ports"}, {"status"}, {"audit"}, {"audit", "--match", "kick"}, {"config"}, {"version"}, {"rebind", any}, {"loglevel"}, {"upgrade", "--dry-run"}, {"reopen"},
		{"backup", filepath.Join(c.dir, fmt.Sprint("copy-", c.id, ".db")), "--keep", "2"}, {"reload"}, {"reload", "--dry-run"},
	}
	words := commands[c.IntN(len(commands))]
	c.do(words[0])
	if words[0] == "reload" {
		c.reconfigures()
	}
	c.operate(words[0], words...)
}

// reconfigures changes the configuration in the file, at once and as a whole.
func (c *abuser) reconfigures() {
	name := filepath.Join(c.dir, "config.toml")
	text, err := os.ReadFile(name)
	if err != nil {
		c.fail("%v", err)
		return
	}
	lines := slices.Collect(bytes.Lines(text))
	for i, l := range lines {
		if bytes.HasPrefix(l, []byte("rooms.quiet_above")) {
			lines[i] = fmt.Appendf(nil, "rooms.quiet_above = %d\n", c.IntN(30))
		}
	}
	next := fmt.Sprint(name, ".", c.id)
	if err = os.WriteFile(next, bytes.Join(lines, nil), 0o600); err == nil {
		err = os.Rename(next, name)
	}
	if err != nil {
		c.fail("%v", err)
	}
}
