package netsvc_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A member that reads nothing while far more than its socket and the room's
// window hold goes by gets all of it, in order, and holds up nobody.
func TestSlowMember(t *testing.T) { engines(t, testSlowMember) }

func testSlowMember(t *testing.T, s *server) {
	s.Start()
	port := s.Create("lobby")
	slow, fast, speaker := join(t, port), join(t, port), join(t, port)
	const lines = 12000
	text := strings.Repeat("x", 1000)
	var want []string
	done := make(chan bool)
	go func() {
		defer close(done)
		want = fast.collect(lines)
	}()
	go func() {
		for i := range lines {
			fmt.Fprintf(speaker.Conn, "%d %s\n", i, text)
		}
	}()
	speaker.collect(lines)
	<-done
	// Only now does it read: the answer to its command is in its place.
	slow.Send("/ping")
	same(t, "the slow member", slow.collect(lines), want)
	slow.Until("* pong ")
}

// A member that is further behind than the limit is let go with a sentence that
// tells how to go on, and going on so misses nothing.
func TestLetGo(t *testing.T) { engines(t, testLetGo) }

func testLetGo(t *testing.T, s *server) {
	s.Options.MaxLag = 1000
	s.Start()
	port := s.Create("lobby")
	slow, speaker := join(t, port), join(t, port)
	speaker.Send("/nick ann")
	speaker.Until("* guest-2 is now ann")
	const lines = 20000
	text := strings.Repeat("y", 1000)
	var want []string
	for len(want) < lines {
		for i := range 100 { // it must not lag itself
			fmt.Fprintf(speaker.Conn, "%d %s\n", len(want)+i, text)
		}
		want = append(want, speaker.collect(100)...)
	}
	var got []string
	var seq string
	for {
		l, err := slow.Next()
		if err != nil {
			break
		}
		if strings.HasPrefix(l, "<") {
			got = append(got, l)
		}
		if _, n, ok := strings.Cut(l, "come back and say /since "); ok {
			seq = n
		}
	}
	slow.Conn.Close()
	if len(got) == 0 || len(got) == lines {
		t.Fatalf("it got %d lines of %d before it was let go", len(got), lines)
	}
	eventually(t, "one member", func() bool { return s.members("lobby") == 1 })
	if seq == "" {
		// Its socket stayed full: the sentence had no room. The last line that
		// it has tells where to go on; it is a whole one or it does not count.
		t.Log("let go without a word, as its socket took none")
		return
	}
	again := join(t, port)
	again.Send("/since " + seq)
	again.Until("* everything after ")
	got = append(got, again.collect(lines-len(got))...)
	same(t, "before and after", got, want)
}

// Members that read at random speeds, from the socket's buffer to the window to
// the disk and back, all get the same lines.
func TestRandomSpeeds(t *testing.T) { engines(t, testRandomSpeeds) }

func testRandomSpeeds(t *testing.T, s *server) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s.Start()
	port := s.Create("lobby")
	const members, lines = 12, 8000
	text := strings.Repeat("z", 900)
	var want []string
	said := make(chan bool)
	var all sync.WaitGroup
	for i := range members {
		p := join(t, port)
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		all.Go(func() {
			var got []string
			buf := make([]byte, 256<<10)
			var rest []byte
			p.Conn.SetReadDeadline(time.Now().Add(4 * patience))
			for len(got) < lines {
				switch rnd.IntN(200) {
				case 0: // a long pause
					select {
					case <-said:
					case <-time.After(time.Duration(rnd.IntN(300)) * time.Millisecond):
					}
				case 1, 2, 3, 4:
					<-time.After(time.Duration(rnd.IntN(5)) * time.Millisecond)
				}
				n, err := p.In.Read(buf[:1+rnd.IntN(len(buf))])
				if err != nil {
					t.Errorf("member %d, seed %d: %v after %d lines", i, seed, err, len(got))
					return
				}
				rest = append(rest, buf[:n]...)
				whole := bytes.LastIndexByte(rest, '\n') + 1
				for l := range strings.Lines(string(rest[:whole])) {
					if l[0] == '<' {
						got = append(got, strings.TrimSuffix(l, "\n"))
					}
				}
				rest = append(rest[:0], rest[whole:]...)
			}
			<-said
			for n, w := range want {
				if got[n] != w {
					t.Errorf("member %d, seed %d: line %d is %.40q, want %.40q", i, seed, n, got[n], w)
					return
				}
			}
		})
	}
	speaker := join(t, port)
	go func() {
		for i := range lines {
			fmt.Fprintf(speaker.Conn, "%d %s\n", i, text)
		}
	}()
	want = speaker.collect(lines)
	close(said)
	all.Wait()
}

// A client that sends a lot, closes its side and reads gets all of it, and then the
// end, at once: also when it leaves while others write what is pending for it.
func TestBulkAndLeave(t *testing.T) {
	s := startServer(t)
	const rooms, rounds, lines = 2, 25, 1000
	text := strings.Repeat("x", 4000) + "\n"
	var all sync.WaitGroup
	for i := range rooms {
		port := s.Create(fmt.Sprintf("room-%d", i))
		all.Go(func() {
			for round := range rounds {
				c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(patience))
				go func() {
					io.WriteString(c, strings.Repeat(text, lines))
					c.(*net.TCPConn).CloseWrite()
				}()
				got, err := io.ReadAll(c)
				c.Close()
				if n := bytes.Count(got, []byte(fmt.Sprintf("<guest-%d> xx", round+1))); n != lines || err != nil {
					t.Errorf("round %d: %d lines of %d, %v", round, n, lines, err)
					return
				}
			}
		})
	}
	all.Wait()
}
