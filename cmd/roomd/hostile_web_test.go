package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// webMember is a member of a room by WebSocket. It does what the page does: at the end of a
// connection it comes back, gets what it has missed, and sends those of its lines that have not
// come back to it again. Its reader gets the lines of messages that nc would have.
type webMember struct {
	net.Conn // none: it has what a good member uses
	url      string
	http     *http.Client
	room     string
	nick     string
	in       *io.PipeReader
	out      *io.PipeWriter
	end      context.CancelFunc
	ended    chan struct{}

	mu    sync.Mutex
	ws    *websocket.Conn // nil: it is away, or has not caught up
	lines []string        // that it has said and not got back
	seq   int64           // of the newest line that it got
}

// enterGoodByWeb is enterGood for the lobby, by WebSocket.
func (p *process) enterGoodByWeb(i, port int, nick, _ string) *good {
	p.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(1+i/50))}, Timeout: patience}
	m := &webMember{url: fmt.Sprintf("ws://localhost:%d/ws", port), room: "lobby", nick: nick, ended: make(chan struct{}),
		http: &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		}}}}
	m.in, m.out = io.Pipe()
	ctx, end := context.WithCancel(context.Background())
	m.end = end
	in := make(chan struct{})
	go func() {
		defer close(m.ended)
		for entered := sync.OnceFunc(func() { close(in) }); ctx.Err() == nil; {
			m.session(ctx, entered)
			t := time.NewTimer(20 * time.Millisecond)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
			}
		}
	}()
	select {
	case <-in:
	case <-time.After(patience):
		m.Close()
		p.t.Fatalf("%s did not get in by WebSocket", nick)
	}
	return &good{conn: m, in: bufio.NewReader(m.in), nick: nick}
}

// session is one connection, to its end.
func (m *webMember) session(ctx context.Context, entered func()) {
	ws, _, err := websocket.Dial(ctx, m.url, &websocket.DialOptions{HTTPClient: m.http, Subprotocols: []string{"roomd.v1"}})
	if err != nil {
		return
	}
	defer ws.CloseNow()
	defer func() {
		m.mu.Lock()
		m.ws = nil
		m.mu.Unlock()
	}()
	ws.SetReadLimit(-1)
	seq := m.seq
	write := func(text string) { ws.Write(ctx, websocket.MessageText, []byte(text)) }
	write(fmt.Sprintf("\nRESUME token-%s\nNICK %[1]s\n", m.nick))
	if seq > 0 {
		write(fmt.Sprintf("%s\n/since %d\n", m.room, seq))
	} else {
		write(m.room + "\n")
	}
	missed := int64(-1) // the newest line of those that it has missed
	for {
		if missed >= 0 && m.seq >= missed {
			missed = -1
			m.mu.Lock()
			m.ws = ws
			for _, l := range m.lines {
				write(m.room + "\n" + l)
			}
			m.mu.Unlock()
			entered()
		}
		_, text, err := ws.Read(ctx)
		if err != nil {
			return
		}
		from, rest, _ := strings.Cut(string(text), "\n")
		for l := range strings.Lines(rest) {
			var e struct {
				Type, Command, From, Text, Code string
				Seq, Newest                     int64
			}
			err := json.Unmarshal([]byte(l), &e)
			if e.Code == "exists" {
				return // a bad client has taken the nick meanwhile, and will take another one
			}
			if err != nil || from != m.room && e.Type == "error" {
				fmt.Fprintf(m.out, "<good-%s> good not %q\n", m.nick, l) // which is no line of a good one
				return
			}
			switch {
			case from != m.room:
			case e.Type == "ok" && (e.Command == "since" || e.Command == "enter" && seq == 0):
				if missed = e.Newest; seq == 0 {
					m.seq = e.Newest // what was there before is nothing that it has missed
				}
			case e.Seq > m.seq:
				m.seq = e.Seq
				m.mu.Lock()
				if e.From == m.nick && len(m.lines) > 0 && e.Text+"\n" == m.lines[0] {
					m.lines = m.lines[1:]
				}
				m.mu.Unlock()
				if e.Type == "message" {
					fmt.Fprintf(m.out, "<%s> %s\n", e.From, e.Text)
				}
			}
		}
	}
}

func (m *webMember) Write(line []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lines = append(m.lines, string(line))
	if m.ws != nil {
		ctx, end := context.WithTimeout(context.Background(), patience)
		defer end()
		m.ws.Write(ctx, websocket.MessageText, []byte(m.room+"\n"+string(line))) // or again, after the next catching up
	}
	return len(line), nil
}

func (m *webMember) SetReadDeadline(time.Time) error { return nil }

func (m *webMember) Close() error {
	m.end()
	m.in.Close()
	<-m.ended
	m.http.CloseIdleConnections()
	return nil
}

// idlePages opens pages that only watch the list of rooms, each from an address of its own, and
// returns what closes them.
func (p *process) idlePages(n int) (end func()) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 2, byte(i/250), byte(1+i%250))}, Timeout: patience}
		t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p.master))
		}}
		ws, _, err := websocket.Dial(ctx, "ws://localhost/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: t}, Subprotocols: []string{"roomd.v1"}})
		if err != nil {
			p.t.Fatal(err)
		}
		ws.SetReadLimit(-1)
		ws.Write(ctx, websocket.MessageText, []byte("\nWATCH\n"))
		all.Go(func() {
			for err := error(nil); err == nil; {
				_, _, err = ws.Read(ctx) // which answers pings
			}
			ws.CloseNow()
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// Opcodes of RFC 6455, section 5.2.
const (
	opMore, opText, opBinary = 0, 1, 2
	opClose, opPing          = 8, 9
)

// frame is a frame of a client, the last of its message. The key that masks it is zero, so that
// the text stands in it as it is.
func frame(op byte, text string) string { return frameOf(0x80|op, uint64(len(text))) + text }

// frameOf is the head of a frame, of any length.
func frameOf(first byte, length uint64) string {
	b := []byte{first}
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	case length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), length)
	}
	return string(append(b, 0, 0, 0, 0))
}

// handshakeOf asks for a WebSocket.
func handshakeOf(header string) string {
	return "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: roomd.v1\r\n" + header + "\r\n"
}

// webKinds are the bad clients of the page.
func webKinds(master int) []kind {
	long := strings.Repeat("x", 64<<10)
	// open is a WebSocket, or nil.
	open := func(a *attacker) net.Conn {
		c := a.dial(master)
		if c == nil {
			return nil
		}
		if _, err := io.WriteString(c, handshakeOf("")); err != nil {
			c.Close()
			return nil
		}
		// What comes behind the head is the server's first message, which nobody here reads.
		for last, b := "", make([]byte, 1); !strings.HasSuffix(last, "\r\n\r\n"); last += string(b) {
			if _, err := c.Read(b); err != nil || len(last) > 4096 {
				c.Close()
				return nil
			}
		}
		return c
	}
	// in pours bytes into a WebSocket, as fast as they are taken.
	in := func(a *attacker, first, more string, reads bool) {
		c := open(a)
		if c == nil {
			return
		}
		defer c.Close()
		if reads {
			go io.Copy(io.Discard, c)
		}
		for _, err := io.WriteString(c, first); err == nil && a.ctx.Err() == nil; {
			_, err = io.WriteString(c, more)
		}
	}
	// say sends bytes and reads what comes, for a while.
	say := func(a *attacker, text string) {
		c := open(a)
		if c == nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(500 * time.Millisecond))
		go io.WriteString(c, text)
		io.Copy(io.Discard, c)
	}
	// hold keeps some open that send this and read nothing.
	hold := func(a *attacker, n int, text string) {
		var held []net.Conn
		for range n {
			if c := open(a); c != nil {
				io.WriteString(c, text)
				held = append(held, c)
			}
		}
		a.rest(2 * time.Second)
		for _, c := range held {
			c.Close()
		}
	}
	const throttled, accepted, written = "roomd_members_throttled_total", "roomd_connections_accepted_total", "roomd_written_bytes_total"
	return []kind{
		{"half handshakes", accepted, func(a *attacker) {
			a.hold(master, 20, handshakeOf("")[:20+a.random.IntN(100)])
		}},
		{"handshakes a byte at a time", accepted, func(a *attacker) { a.dribble(master, handshakeOf("X-Pad: "+long[:2000]+"\r\n")) }},
		{"a header without end", accepted, func(a *attacker) { a.pour(master, "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: "+long, true) }},
		{"very many headers", accepted, func(a *attacker) {
			a.say(master, "GET / HTTP/1.1\r\nHost: localhost\r\n"+strings.Repeat("X-A: b\r\n", 10000)+"\r\n")
		}},
		{"bodies without end", accepted, func(a *attacker) {
			a.pour(master, a.either("GET", "POST")+" / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("1000\r\n"+long[:4096]+"\r\n", 20), true)
		}},
		{"two requests as one", accepted, func(a *attacker) {
			a.say(master, "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nDELETE lobby\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		}},
		{"the page in a flood", accepted, func(a *attacker) {
			a.pour(master, strings.Repeat("GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n", 100), a.random.IntN(2) == 0)
		}},
		{"the page by many who do not read", accepted, func(a *attacker) {
			a.hold(master, 20, strings.Repeat("GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n", 20))
		}},
		{"handshakes of foreign pages", accepted, func(a *attacker) {
			a.say(master, handshakeOf("Origin: http://"+a.either("evil.example", "localhost:1", "null")+"\r\n"))
		}},
		{"WebSockets that open and reset", accepted, func(a *attacker) {
			for range 20 {
				if c := open(a); c != nil {
					c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
			}
		}},
		{"a flood by WebSocket", throttled, func(a *attacker) {
			in(a, "", strings.Repeat(frame(opText, "mud\n"+strings.Repeat("buy now\n", 100)), 10), true)
		}},
		{"a flood by WebSocket, unread", throttled, func(a *attacker) {
			in(a, frame(opText, "lobby\n/history 1000\n"), strings.Repeat(frame(opText, "mud\nbuy now "+long[:300]+"\n/who\n/history 100\n"), 100), false)
		}},
		{"WebSockets that never read", written, func(a *attacker) { hold(a, 5, frame(opText, "\nWATCH\n")+frame(opText, "lobby\n/history 1000\n")) }},
		{"huge frames", accepted, func(a *attacker) {
			say(a, a.either(frameOf(0x80|opText, 1<<62), frameOf(0x80|opText, math.MaxUint64), frameOf(0x80|opText, 100<<20), frame(opText, "mud\n"+long+long))+long)
		}},
		{"fragments without end", accepted, func(a *attacker) {
			in(a, frameOf(opText, 4)+"mud\n", strings.Repeat(frameOf(opMore, 1)+"x", 1000)+strings.Repeat(frameOf(opMore, 0), 1000), true)
		}},
		{"frames that are not masked", accepted, func(a *attacker) { say(a, "\x81\x06mud\nxx") }},
		{"frames of no kind", accepted, func(a *attacker) {
			say(a, a.either("\xf1\x80\x00\x00\x00\x00", frame(3, "x"), frame(15, "x"), frame(opMore, "x"), frame(opClose, "x"), frame(opClose, "\x00\x01"), frameOf(opPing, 0), frame(opPing, long[:200]), a.noise(500)))
		}},
		{"pings in a flood", accepted, func(a *attacker) { in(a, "", strings.Repeat(frame(opPing, long[:125]), 500), true) }},
		{"pings in a flood, unread", accepted, func(a *attacker) { in(a, "", strings.Repeat(frame(opPing, long[:125]), 500), false) }},
		{"text that is none", accepted, func(a *attacker) { say(a, frame(opText, "mud\n\xff\xfe\n")+frame(opBinary, "mud\nx\n")) }},
		{"noise by WebSocket", accepted, func(a *attacker) {
			say(a, frame(opText, a.either("", "\n", "mud\n", "\x00\n", "lobby/..\n")+strings.ToValidUTF8(a.noise(4000), "\n")))
		}},
		{"frames a byte at a time", accepted, func(a *attacker) {
			c := open(a)
			if c == nil {
				return
			}
			defer c.Close()
			for text, i := frame(opText, "mud\n"+long[:3000]), 0; i < len(text) && a.rest(5*time.Millisecond); i++ {
				if _, err := io.WriteString(c, text[i:i+1]); err != nil {
					return
				}
			}
		}},
		{"requests in a flood by WebSocket", throttled, func(a *attacker) {
			in(a, "", strings.Repeat(frame(opText, "\nLIST *\nWATCH\nNICK bad-"+fmt.Sprint(a.random.IntN(1e6))+"\nHELP\nJOIN lobby\n"), 200), true)
		}},
		{"requests in a flood by WebSocket, unread", throttled, func(a *attacker) {
			in(a, "", strings.Repeat(frame(opText, strings.Repeat("\nLIST *", 50)), 100), false)
		}},
		{"rooms entered and left by WebSocket", throttled, func(a *attacker) {
			in(a, "", strings.Repeat(frame(opText, "mud\n/quit\n")+frame(opText, "lobby\n/quit\n")+frame(opText, "none\n/quit\n"), 200), true)
		}},
		{"sessions of others resumed", accepted, func(a *attacker) {
			say(a, frame(opText, "\nRESUME bad\nNICK good-2\nRESUME "+long[:100]+"\nRESUME \nRESUME token\n")+frame(opText, "lobby\n/since 0\n"))
		}},
		{"wars of nicks by WebSocket", throttled, func(a *attacker) {
			in(a, frame(opText, "lobby\n"), strings.Repeat(frame(opText, fmt.Sprintf("\nNICK bad-%d\nNICK good-%d\n", a.random.IntN(20), a.random.IntN(60))), 200), true)
		}},
		{"guesses of a password by WebSocket", `roomd_passwords_total{outcome="wrong"}`, func(a *attacker) {
			say(a, frame(opText, "den\n/pass a\n")+frame(opText, "den\n/pass b\n")+frame(opText, "den\nhello\n"))
		}},
		{"idle pages", written, func(a *attacker) {
			a.many(func(a *attacker) { hold(a, 10, frame(opText, "\nWATCH\n")+frame(opText, "lobby\n")) })
		}},
	}
}
