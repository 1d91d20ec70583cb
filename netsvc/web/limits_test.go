package web

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"roomd/netsvc"
	"roomd/netsvc/netsvctest"
)

// TestOrder has a page in two rooms with clients of their ports: each line comes once and in the order of
// its room, also one's own.
func TestOrder(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, _ *Options) { o.LinesPerSecond = 0 })
	const lines = 500
	ann := s.enter("ann", "lobby", "dev")
	for _, room := range []string{"lobby", "dev"} {
		nc := netsvctest.Join(t, s.Room(room).Port)
		go func() {
			for i := range lines {
				nc.Send(fmt.Sprint("nc ", i))
			}
		}()
	}
	go func() {
		for i := range lines {
			ann.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, "lobby\nann %d\n", i))
			ann.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, "dev\nann %d", i))
		}
	}()
	next, newest := make(map[string]int), make(map[string]uint64)
	for range 4 * lines {
		l := ann.next()
		for l.ev.Type != "message" {
			l = ann.next()
		}
		from, _, _ := strings.Cut(l.ev.Text, " ")
		if want := fmt.Sprint(from, " ", next[l.room+from]); l.ev.Text != want || l.ev.Seq <= newest[l.room] {
			t.Fatalf("%s: got %q, want %q", l.room, l.ev.Text, want)
		}
		next[l.room+from]++
		newest[l.room] = l.ev.Seq
	}
}

// TestSlowReader does not read for a while: it is fed from the disk, loses nothing, and holds up nobody.
func TestSlowReader(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, _ *Options) { o.LinesPerSecond = 0 })
	slow := s.enter("slow", "lobby", "dev")
	nc := netsvctest.Join(t, s.Room("lobby").Port)
	const lines = 4000
	text := strings.Repeat("x", 1000)
	go func() {
		for i := range lines {
			nc.Send(fmt.Sprint(i, " ", text))
		}
	}()
	nc.Until(fmt.Sprint("<guest-1> ", lines-1, " "))
	netsvctest.Eventually(t, "the log to be dropped", func() bool {
		m := s.Service.FindMembers("slow")
		return len(m) == 2 && m[0].Behind+m[1].Behind > 0
	})
	for i := range lines {
		l := slow.next()
		for l.ev.Type != "message" {
			l = slow.next()
		}
		if !strings.HasPrefix(l.ev.Text, fmt.Sprint(i, " ")) {
			t.Fatalf("line %d: got %.20q", i, l.ev.Text)
		}
	}
	slow.send("dev", "there")
	slow.until("dev", "message", "there")
}

// TestLag ends the membership of a page that is too far behind, and not the page.
func TestLag(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, _ *Options) { o.LinesPerSecond, o.MaxLag = 0, 1000 })
	slow := s.enter("slow", "lobby", "dev")
	nc := netsvctest.Join(t, s.Room("lobby").Port)
	text := strings.Repeat("x", 1000)
	ended := func() bool {
		return slices.ContainsFunc(s.Service.FindMembers("slow"), func(m netsvc.MemberInfo) bool { return m.State != "" })
	}
	for i := 0; !ended(); i++ {
		nc.Send(text, "/ping")
		nc.Until("* pong ")
		if i > 20000 {
			t.Fatal("it is not ended")
		}
	}
	var last uint64
	for {
		l := slow.next()
		if l.ev.Type == "message" {
			if last > 0 && l.ev.Seq != last+1 {
				t.Fatalf("line %d comes behind %d", l.ev.Seq, last)
			}
			last = l.ev.Seq
		}
		if l.ev.Type == "notice" && strings.Contains(l.ev.Text, fmt.Sprint("/since ", last)) {
			break
		}
	}
	if l := slow.next(); l.room != "lobby" || l.ev.Type != "end" || l.ev.Code != "lagged" {
		t.Errorf("%+v", l)
	}
	slow.send("lobby", fmt.Sprint("/since ", last))
	slow.until("lobby", "ok", "since")
	if l := slow.until("lobby", "message", ""); l.ev.Seq != last+1 {
		t.Errorf("line %d comes behind %d", l.ev.Seq, last)
	}
}

// TestFlood is slowed down to the allowance of one session, in however many rooms, and others are
// answered.
func TestFlood(t *testing.T) {
	s := serve(t, func(o *netsvc.Options, _ *Options) { o.LinesPerSecond, o.Burst, o.RequestRate = 20, 40, 20 })
	for _, message := range []string{"lobby\n" + strings.Repeat("x\n", 1000), "\n" + strings.Repeat("LIST\n", 1000), "dev\n" + strings.Repeat("/who\n", 1000), "nowhere\nx", "", strings.Repeat("\n", 60000), "\n" + strings.Repeat("WATCH\n", 1000)} {
		bad := s.dial()
		go func() {
			for bad.Write(context.Background(), websocket.MessageText, []byte(message)) == nil {
			}
		}()
	}
	good := s.enter("good", "lobby")
	start := time.Now()
	for i := range 20 {
		text := fmt.Sprint("good ", i)
		good.send("lobby", text)
		good.until("lobby", "message", text)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if n := s.Room("lobby").Newest; n > 40+20*uint64(time.Since(start).Seconds()+10)+20 {
		t.Errorf("%d lines are in the room", n)
	}
}

// TestMessages that are none end the connection with the code of RFC 6455 for them.
func TestMessages(t *testing.T) {
	s := serve(t, nil)
	for _, c := range []struct {
		what string
		kind websocket.MessageType
		text string
		code websocket.StatusCode
	}{
		{"binary", websocket.MessageBinary, "lobby\nhello", websocket.StatusUnsupportedData},
		{"no UTF-8", websocket.MessageText, "lobby\nhell\xff", websocket.StatusInvalidFramePayloadData},
		{"half a character", websocket.MessageText, "lobby\nhell\xc3", websocket.StatusInvalidFramePayloadData},
		{"half a character of a long message", websocket.MessageText, "lobby\n" + strings.Repeat("x", 10000) + "\xe2\x82", websocket.StatusInvalidFramePayloadData},
		{"too long", websocket.MessageText, "lobby\n" + strings.Repeat("x", maxMessage), websocket.StatusMessageTooBig},
		{"far too long", websocket.MessageText, strings.Repeat("x\n", 1<<20), websocket.StatusMessageTooBig},
	} {
		p := s.dial()
		_ = p.Write(patience(t), c.kind, []byte(c.text)) // it may be closed before all is written
		if code := p.closed(); code != c.code && (code != -1 || c.code != websocket.StatusMessageTooBig) {
			t.Errorf("%s: closed with %d", c.what, code)
		}
	}
	p := s.dial()
	p.sendRaw("lobby\n" + strings.Repeat("ä€😀", 450) + "\n" + strings.Repeat("x", 4097) + "\r\n\n \n\a>dev\n\x00\n/ping")
	p.until("lobby", "message", strings.Repeat("ä€😀", 450))
	p.until("lobby", "error", "too-long")
	p.until("lobby", "message", "�>dev")
	p.until("lobby", "message", "�")
	p.until("lobby", "pong", "")
	p.sendRaw("")
	p.sendRaw("\n")
	p.sendRaw("lobby")
	p.sendRaw(strings.Repeat("x", 5000))
	if l := p.until("", "error", ""); l.ev.Code != "bad-name" || l.ev.Command != "enter" {
		t.Errorf("%+v", l)
	}
	p.sendRaw("\nSING\n" + strings.Repeat("y", 4097))
	p.until("", "error", "bad-request")
	p.until("", "error", "too-long")
	if m, err := s.Service.Members("dev"); err != nil || len(m) != 0 {
		t.Error("a text has entered a room", m, err)
	}
}

// TestHandshakes that are none are answered by HTTP, or end.
func TestHandshakes(t *testing.T) {
	s := serve(t, nil)
	at := fmt.Sprintf("http://127.0.0.1:%d/ws", s.Service.Port())
	for name, headers := range map[string]http.Header{
		"no upgrade":      {},
		"foreign origin":  {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Origin": {"http://evil.example"}},
		"another version": {"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"12"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}},
	} {
		r, err := http.NewRequest("GET", at, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = headers
		a, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil || a.StatusCode < 400 {
			t.Error(name, a, err)
			continue
		}
		a.Body.Close()
	}
	c, _, err := websocket.Dial(patience(t), at, nil)
	if err != nil {
		t.Fatal(err)
	}
	if code := (&tester{Conn: c, t: t}).closed(); code != websocket.StatusPolicyViolation {
		t.Error("without the subprotocol: ", code)
	}
	// Frames that are none, by hand: unmasked, an unknown opcode, a long control frame.
	for _, frame := range []string{"\x81\x05hello", "\x83\x80\x00\x00\x00\x00", "\x89\xfe\x00\x80\x00\x00\x00\x00" + strings.Repeat("x", 128)} {
		raw, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Service.Port()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(raw, "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n\r\n%s", Protocol, frame)
		raw.SetDeadline(time.Now().Add(netsvctest.Patience))
		if b, err := io.ReadAll(raw); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: the connection goes on: %v, %q", frame, err, b)
		}
		raw.Close()
	}
	netsvctest.Eventually(t, "the end of all", func() bool { return s.Service.Connections() == 0 })
}

// TestWatch tells many pages what changes in the rooms.
func TestWatch(t *testing.T) {
	s := serve(t, nil)
	var pages []*tester
	for range 20 {
		p := s.dial()
		p.send("", "WATCH")
		if l := p.until("", "ok", "watch"); l.ev.Count != 2 {
			t.Errorf("%+v", l)
		}
		pages = append(pages, p)
	}
	s.Create("new")
	for _, p := range pages {
		if l := p.until("", "room", "new"); l.ev.Port != s.Room("new").Port || l.ev.ID == 0 {
			t.Errorf("%+v", l)
		}
	}
	pages[0].send("lobby", "hello")
	for _, p := range pages {
		for l := p.until("", "room", "lobby"); l.ev.Newest == 0 || l.ev.Members != 1; l = p.until("", "room", "lobby") {
		}
	}
	if _, err := s.Service.Rename("new", "newer"); err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		if l := p.until("", "renamed", "newer"); l.ev.Was != "new" {
			t.Errorf("%+v", l)
		}
	}
	pages[1].send("", "DELETE newer")
	for _, p := range pages {
		p.until("", "gone", "newer")
		p.CloseNow()
	}
}

// TestPing finds a page dead that leaves pings unanswered and takes nothing, and no other one.
func TestPing(t *testing.T) {
	sockets := make(chan *socket)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := accept(w, r, r.Context().Value(connKey{}).(net.Conn))
		if err != nil {
			t.Error(err)
		}
		s.every = 50 * time.Millisecond
		sockets <- s
	}))
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) }
	srv.Start()
	defer srv.Close()
	dead := make(map[string]chan bool)
	var all []*socket
	for _, name := range []string{"answers", "silent"} {
		c, _, err := websocket.Dial(patience(t), srv.URL, &websocket.DialOptions{Subprotocols: []string{Protocol}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if name == "answers" {
			c.CloseRead(t.Context())
		}
		s, gone := <-sockets, make(chan bool)
		dead[name] = gone
		all = append(all, s)
		go s.Await() // which reads the answers
		s.watch(func() { close(gone) })
	}
	<-dead["silent"]
	select {
	case <-dead["answers"]:
		t.Error("a page that answers is found dead")
	default:
	}
	for _, s := range all {
		s.Close()
	}
}

// Pings of a client are answered, and no faster than one after the other.
func TestPingsInAFloodAreSlowed(t *testing.T) {
	const pings = 6
	s := serve(t, nil)
	p := s.enter("ann", "lobby")
	went := make(chan struct{})
	go func() { // which reads the pongs
		defer close(went)
		p.until("lobby", "pong", "")
	}()
	began := time.Now()
	for range pings {
		if err := p.Ping(patience(t)); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(began); d < (pings-1)*pongEvery {
		t.Errorf("%d pings were answered within %v", pings, d)
	}
	p.send("lobby", "/ping")
	<-went
}

// TestRefusedBehindProxy has a proxy speak for a client that is over its limit: what is refused is not counted
// for it any longer.
func TestRefusedBehindProxy(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s := serve(t, func(o *netsvc.Options, wo *Options) {
		o.MaxPerAddress, o.HTTPProxies, wo.Proxies = 2, proxies, proxies
	})
	connect := func() (*websocket.Conn, websocket.StatusCode) {
		c, _, err := websocket.Dial(patience(t), fmt.Sprintf("ws://127.0.0.1:%d/ws", s.Service.Port()), &websocket.DialOptions{
			Subprotocols: []string{Protocol}, HTTPHeader: http.Header{"X-Forwarded-For": {"203.0.113.5"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.CloseNow() })
		_, _, err = c.Read(patience(t))
		return c, websocket.CloseStatus(err)
	}
	for range 3 {
		one, code1 := connect()
		two, code2 := connect()
		if code1 != -1 || code2 != -1 {
			t.Fatalf("refused with %v and %v", code1, code2)
		}
		for range 3 {
			if _, code := connect(); code != websocket.StatusPolicyViolation {
				t.Fatalf("a connection above the limit: %v", code)
			}
		}
		one.Close(websocket.StatusNormalClosure, "")
		two.Close(websocket.StatusNormalClosure, "")
		netsvctest.Eventually(t, "no connection is counted", func() bool { return s.Service.Doors()[0].Sessions == 0 && s.Service.Connections() == 0 })
	}
}
