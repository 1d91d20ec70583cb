package netsvc_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// said drops what is not a person's line.
func said(lines []string) []string {
	var out []string
	for _, l := range lines {
		if strings.HasPrefix(l, "<") {
			out = append(out, l)
		}
	}
	return out
}

// collect reads people's lines until there are n.
func (p *peer) collect(n int) []string {
	p.T.Helper()
	out := make([]string, 0, n)
	for len(out) < n {
		if l := p.Line(); strings.HasPrefix(l, "<") {
			out = append(out, l)
		}
	}
	return out
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d lines, want %d", what, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: line %d is %q, want %q", what, i, got[i], want[i])
		}
	}
}

// Many speak at once: all see the same lines in the same order, and each
// speaker's lines keep theirs.
func TestOneOrder(t *testing.T) { engines(t, testOneOrder) }

func testOneOrder(t *testing.T, s *server) {
	const speakers, lines = 8, 300
	s.Start()
	port := s.Create("lobby")
	peers := make([]*peer, speakers)
	for i := range peers {
		peers[i] = join(t, port)
		peers[i].Send(fmt.Sprintf("/nick p%d", i))
		peers[i].Until(fmt.Sprintf("* guest-%d is now", i+1))
	}
	got := make([][]string, speakers)
	var all sync.WaitGroup
	for i, p := range peers {
		all.Go(func() {
			for n := range lines {
				p.Send(fmt.Sprintf("%d", n))
			}
		})
		all.Go(func() { got[i] = p.collect(speakers * lines) })
	}
	all.Wait()
	next := make(map[string]int)
	for _, l := range got[0] {
		who, n, _ := strings.Cut(l, "> ")
		if n != fmt.Sprint(next[who]) {
			t.Fatalf("%s says %s, its line %d was next", who, n, next[who])
		}
		next[who]++
	}
	for i := range got {
		same(t, fmt.Sprintf("member %d", i), got[i], got[0])
	}
}

// /since while others speak: nothing missed, nothing twice.
func TestSinceUnderLoad(t *testing.T) { engines(t, testSinceUnderLoad) }

func testSinceUnderLoad(t *testing.T, s *server) {
	s.Start()
	port := s.Create("lobby")
	const lines = 4000
	witness, speaker := join(t, port), join(t, port)
	go func() {
		for i := range lines {
			fmt.Fprintf(speaker.Conn, "line %d\n", i)
		}
	}()
	go io.Copy(io.Discard, speaker.Conn)
	var others sync.WaitGroup
	for i := range 4 {
		rnd := rand.New(rand.NewPCG(1, uint64(i)))
		others.Go(func() {
			seq, seen := "0", 0
			for seen < lines {
				// Take some lines and vanish without a word.
				p := dial(t, port)
				p.Send("/since " + seq)
				p.Until("* everything after ")
				for range 1 + rnd.IntN(lines/4) {
					l := p.Line()
					if !strings.HasPrefix(l, "<") {
						continue
					}
					if want := fmt.Sprintf("<guest-2> line %d", seen); l != want {
						t.Errorf("got %q, want %q", l, want)
						return
					}
					if seen++; seen == lines {
						break
					}
				}
				p.Reset()
				// Numbers are consecutive in a store that never crashed.
				seq = fmt.Sprint(seen)
			}
		})
	}
	witness.collect(lines)
	others.Wait()
}

// Clients that vanish in the middle of a line leave nothing behind, and what
// they had not finished is not said.
func TestResets(t *testing.T) { engines(t, testResets) }

func testResets(t *testing.T, s *server) {
	s.Start()
	port := s.Create("lobby")
	witness := join(t, port)
	before := runtime.NumGoroutine()
	const clients = 1000
	for range clients / 100 {
		var some sync.WaitGroup
		for range 100 {
			p := dial(t, port)
			some.Go(func() {
				io.WriteString(p.Conn, "half a li")
				p.Reset()
			})
		}
		some.Wait()
	}
	eventually(t, "only the witness is left", func() bool { return s.members("lobby") == 1 })
	eventually(t, "no goroutine is left over", func() bool { return runtime.NumGoroutine() <= before })
	witness.Send("done")
	for {
		l := witness.Line()
		if l == "<guest-1> done" {
			break
		}
		if strings.HasPrefix(l, "<") {
			t.Fatalf("somebody said %q", l)
		}
	}
}

// A half-closed sender gets all its own lines back, and then the end: when it
// returns, they are in the room.
func TestHalfClose(t *testing.T) { engines(t, testHalfClose) }

func testHalfClose(t *testing.T, s *server) {
	s.Start()
	port := s.Create("lobby")
	p := dial(t, port)
	const lines = 3000
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "line %d\r\n", i)
	}
	go func() {
		io.WriteString(p.Conn, b.String()+"the last, without an end")
		p.HalfClose()
	}()
	all, err := io.ReadAll(p.In)
	if err != nil {
		t.Fatal(err)
	}
	got := said(strings.Split(string(all), "\n"))
	if len(got) != lines+1 || got[7] != "<guest-1> line 7" || got[lines] != "<guest-1> the last, without an end" {
		t.Fatalf("%d lines came back, the last is %q", len(got), got[len(got)-1])
	}
	st, err := s.Store.Stat(1)
	if err != nil || st.Lines != lines+1 {
		t.Fatalf("%+v, %v", st, err)
	}
}

func TestOverlong(t *testing.T) {
	s := startServer(t)
	p := join(t, s.Create("lobby"))
	p.Send(strings.Repeat("z", 5000), strings.Repeat("z", 4096), "after")
	p.Expect("* not sent: the line has 5000 bytes, the limit is 4096", "<guest-1> "+strings.Repeat("z", 4096), "<guest-1> after")
	m := dial(t, s.Service.Port())
	m.Send(strings.Repeat("z", 70000), "LIST nowhere")
	m.ExpectErrors("too-long")
	m.Expect("OK 0")
}

// What a chatter sends cannot harm a terminal or forge a line.
func TestCleaned(t *testing.T) {
	s := startServer(t)
	ann := join(t, s.Create("lobby"))
	ann.Send("\x1b[2J\x07 tab\tok \xff\xc3(\u202ereverse \u200d\r inside\r")
	ann.Expect("<guest-1> \ufffd[2J\ufffd tab\tok \ufffd\ufffd(\ufffdreverse \u200d\ufffd inside")
	// Telnet negotiation is swallowed, and what is asked for refused.
	ann.Send("\xff\xfb\x18\xff\xfa\x18\x00xterm\xff\xf0hi\xff\xfd\x03!")
	ann.Expect("\xff\xfe\x18\xff\xfc\x03<guest-1> hi!")
	// Only a first line can be that of a browser.
	ann.Send("GET / HTTP/1.1")
	ann.Expect("<guest-1> GET / HTTP/1.1")
}

func TestForeign(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	witness := join(t, port)
	p := dial(t, port)
	p.Send("GET /index.html HTTP/1.1", "Host: evil", "hello")
	for {
		if _, err := p.Next(); err != nil {
			break
		}
	}
	eventually(t, "it is gone", func() bool { return s.members("lobby") == 1 })
	witness.Send("end") // and the room has not heard of it
	witness.Expect("<guest-1> end")
}

// In a large room the coming and going of others is left out of the text, but
// not of JSON.
func TestQuiet(t *testing.T) {
	s := newServer(t)
	s.Options.QuietAbove = 2
	s.Start()
	port := s.Create("lobby")
	ann := join(t, port)
	bot := join(t, port)
	bot.Send("/json")
	bot.Until(`{"type":"ok","command":"json"}`)
	cat := dial(t, port)
	cat.Expect("* lobby: 3 here, you are guest-3 (/help)")
	bot.Until(`{"time":"`)
	cat.Send("hi")
	cat.Expect("<guest-3> hi")
	ann.Until("* guest-2 joined")
	ann.Expect("<guest-3> hi")
}

// Five thousand members: a line reaches all of them.
func TestManyMembers(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 200
	}
	s := newServer(t)
	s.Options.MaxMembers, s.Options.MaxConnections = n, 3*n
	s.Start()
	port := s.Create("lobby")
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = dial(t, port)
		peers[i].Until("* lobby: ")
	}
	over := dial(t, port)
	over.Expect(fmt.Sprintf("* lobby: the room is full: it has %d members, which is the limit", n))
	over.End()
	peers[0].Send("hello all")
	var all sync.WaitGroup
	for chunk := range 20 {
		all.Go(func() {
			for i := chunk; i < n; i += 20 {
				peers[i].Until("<guest-1> hello all")
			}
		})
	}
	all.Wait()
	for _, p := range peers {
		p.Reset()
	}
	eventually(t, "all are gone", func() bool { return s.members("lobby") == 0 })
}

// The relaxed store shows first; what was shown is there all the same.
func TestRelaxed(t *testing.T) {
	s := newServer(t)
	s.StoreOptions.Durability = 1
	s.StoreOptions.FlushInterval = 20 * time.Millisecond
	s.Start()
	port := s.Create("lobby")
	ann := join(t, port)
	for i := range 200 {
		ann.Send(fmt.Sprint(i))
	}
	ann.collect(200)
	ann.Send("/history 3")
	ann.Expect("* 3 earlier lines", "<guest-1> 197", "<guest-1> 198", "<guest-1> 199", "* end of earlier lines")
	s.Stop()
	s.Start()
	bob := dial(t, port)
	bob.Send("/since 198")
	bob.Until("* everything after 198")
	bob.Expect("<guest-1> 198", "<guest-1> 199")
}

// The last one to leave gets all that it has not got yet, its own join line and
// its answers too.
func TestLastLeaverGetsAll(t *testing.T) { engines(t, testLastLeaverGetsAll) }

func testLastLeaverGetsAll(t *testing.T, s *server) {
	s.Start()
	port := s.Create("lobby")
	for round := range 300 {
		p := dial(t, port)
		nick := fmt.Sprintf("guest-%d", round+1)
		io.WriteString(p.Conn, "/msg "+nick+" hi\n/ping")
		p.HalfClose()
		p.Expect("* lobby: 1 here, you are "+nick+" (/help)", "* "+nick+" joined (1 here)", "<"+nick+" -> "+nick+"> hi", "* pong 0")
		p.End()
		p.Conn.Close()
		eventually(t, "it is gone", func() bool { return s.members("lobby") == 0 })
	}
}

// A member that says more than it is allowed to is read more slowly. Nothing is
// lost, and its order is kept; others are not held up.
func TestAllowance(t *testing.T) { engines(t, testAllowance) }

func testAllowance(t *testing.T, s *server) {
	s.Options.LinesPerSecond, s.Options.Burst = 50, 10
	s.Start()
	port := s.Create("lobby")
	ann, bob := join(t, port), join(t, port)
	const lines = 60
	start := time.Now()
	for i := range lines {
		fmt.Fprintf(ann.Conn, "%d\n", i)
	}
	io.WriteString(ann.Conn, "/ping\n")
	// From the eleventh on she has to wait 20 ms for each; he does not.
	bob.Until("<guest-1> 9")
	bob.Send("hello")
	before := 0
	for bob.Until("<") != "<guest-2> hello" {
		before++
	}
	if before > 25 {
		t.Errorf("bob had to wait for %d lines of ann", before)
	}
	for i := range lines {
		if l := ann.Until("<guest-1>"); l != fmt.Sprintf("<guest-1> %d", i) {
			t.Fatalf("line %d is %q", i, l)
		}
	}
	ann.Until("* pong")
	// Of 61 lines 10 are free, and the others take a second.
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Errorf("it took %v only", d)
	}
}
