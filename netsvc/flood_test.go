package netsvc_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"roomd/netsvc/wire"
)

// A flood of pipelined requests is worked off at its rate, nothing of it is
// lost, and others are answered at once.
func TestRequestFlood(t *testing.T) {
	s := newServer(t)
	s.Options.RequestRate = 20
	s.Start()
	s.Create("lobby")
	flood := dial(t, s.Service.Port())
	const requests = 120
	began := time.Now()
	go fmt.Fprint(flood.Conn, strings.Repeat("LIST nowhere\n", requests))
	for range 10 {
		other := dialFrom(t, "127.0.0.2", s.Service.Port())
		asked := time.Now()
		other.Send("JOIN lobby")
		other.Until("OK lobby")
		if took := time.Since(asked); took > 2*time.Second {
			t.Errorf("another client waited %v", took)
		}
	}
	for range requests {
		flood.Expect("OK 0")
	}
	// A burst of 100 is free, each of the others is put off by 50 ms.
	if took := time.Since(began); took < 950*time.Millisecond {
		t.Errorf("%d requests took only %v", requests, took)
	}
	if n := s.Service.Counters().ThrottledRequests; n < 10 || n > requests {
		t.Errorf("%d requests were put off", n)
	}
}

// An address that floods from many connections is told busy in the end, and an
// endless line or a million empty ones are read no faster than requests.
func TestFloodOfAnAddress(t *testing.T) {
	s := newServer(t)
	s.Options.RequestRate = 2
	s.Start()
	busy := make(chan bool, 1000)
	for range 250 {
		p := dial(t, s.Service.Port())
		p.Send(strings.Repeat("\nLIST", 4))
		go func() {
			for l, err := p.Next(); err == nil; l, err = p.Next() {
				if strings.HasPrefix(l, "ERR "+wire.CodeBusy+" your address asks for too much") {
					busy <- true
				}
			}
		}()
	}
	select {
	case <-busy:
	case <-time.After(patience):
		t.Error("nobody was told busy")
	}
	if s.Service.Counters().RateLimited == 0 {
		t.Error("and it is not counted")
	}
	endless := dialFrom(t, "127.0.0.3", s.Service.Port())
	endless.TCP.SetWriteBuffer(4096)
	endless.Conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	chunk := []byte(strings.Repeat("x", 64<<10))
	sent := 0
	for {
		n, err := endless.Conn.Write(chunk)
		if sent += n; err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatalf("%d bytes of a line were read", sent)
		}
	}
}

// What is no request has a price, too, by what it takes: empty lines, and bytes
// that come in pieces and make no line.
func TestPriceOfNoRequests(t *testing.T) {
	const there, most = "\xff\xf6", 200 // "are you there": it is answered as soon as a piece is read
	for name, piece := range map[string]string{
		"empty lines":        strings.Repeat("\n", 1000),
		"bytes and no lines": strings.Repeat("x", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.Options.RequestRate = 4 // a burst of 20
			s.Start()
			p := dial(t, s.Service.Port())
			for i := 0; s.Service.Counters().ThrottledRequests == 0; i++ {
				if i == most {
					t.Fatalf("%d bytes are free", most*len(piece))
				}
				io.WriteString(p.Conn, piece+there)
				p.Expect("OK the server is here")
			}
		})
	}
}

// It is the same in a room.
func TestPriceOfNoLines(t *testing.T) {
	const there, most = "\xff\xf6", 300
	for name, piece := range map[string]string{
		"empty lines":        strings.Repeat("\n", 1000),
		"bytes and no lines": strings.Repeat("x", 1000),
		"blank long lines":   strings.Repeat(" ", 3000) + "\n",
		"telnet":             strings.Repeat("\xff\xf1\n", 10),
		"nothing else":       "",
	} {
		engines(t, func(t *testing.T, s *server) {
			s.Options.LinesPerSecond, s.Options.Burst = 4, 20
			s.Start()
			p := join(t, s.Create("lobby"))
			for i := 0; s.Service.Counters().ThrottledInputs == 0; i++ {
				if i == most {
					t.Fatalf("%s: %d bytes are free", name, most*len(piece))
				}
				io.WriteString(p.Conn, piece+there)
				p.Until("* lobby: the server is here")
			}
		})
	}
}

// Before the password of a room next to nothing else is read.
func TestBeforeThePassword(t *testing.T) {
	s := startServer(t)
	port := s.createLocked("den", "secret")
	for _, piece := range []string{"\n", "x", "\xff\xf6", "\xff\xfd\x01\n", strings.Repeat(" ", 1000) + "\n"} {
		p := dial(t, port)
		go io.WriteString(p.Conn, strings.Repeat(piece, 16<<10))
		for {
			l, err := p.Next()
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%q: it is still read", piece)
			}
			if err != nil || strings.HasSuffix(l, "much else has come") {
				break
			}
		}
		p.Conn.Close()
	}
	p := dial(t, port) // as telnet clients begin
	io.WriteString(p.Conn, "\xff\xfd\x03\xff\xfb\x18\xff\xfb\x1f\xff\xfb\x20\n\n/pass secret\n")
	for !strings.Contains(p.Line(), "* den: 1 here") { // behind the refusals
	}
}

// Who connects again and again is refused for a while; others are not, nor who
// is exempt.
func TestConnectFlood(t *testing.T) {
	s := newServer(t)
	s.Options.ConnectRate = 2
	s.Start()
	port := s.Create("lobby")
	refused := 0
	for range 60 {
		p := dial(t, port)
		if l := p.Line(); strings.HasPrefix(l, "* lobby: your address connects too often; try again in ") {
			p.End()
			refused++
		}
		p.Conn.Close()
	}
	if refused < 20 || refused > 40 {
		t.Errorf("%d of 60 were refused", refused)
	}
	p := dialFrom(t, "127.0.0.2", port)
	p.Until("* lobby: ")
	if n := s.Service.Counters().RateLimited; n != uint64(refused) {
		t.Errorf("%d are counted of %d", n, refused)
	}
	m := dial(t, s.Service.Port())
	m.Until("ERR busy your address connects too often")
}

// Who joins and leaves in a loop fills nobody's screen: beyond a number of such
// lines those who read text are spared them, and JSON has them all.
func TestComingAndGoing(t *testing.T) {
	s := startServer(t)
	port := s.Create("lobby")
	ann, bot := join(t, port), join(t, port)
	bot.Send("/json")
	bot.Until(`{"type":"ok","command":"json"}`)
	began := time.Now()
	const times = 150 // twice as many lines
	for range times {
		join(t, port).Conn.Close()
	}
	for n := 0; n < 2*times; {
		if l := bot.Line(); strings.Contains(l, `"type":"join"`) || strings.Contains(l, `"type":"leave"`) {
			n++
		}
	}
	took := time.Since(began)
	bot.Send("the end")
	seen := 0
	for l := ann.Line(); l != "<guest-2> the end"; l = ann.Line() {
		seen++
	}
	if most := 200 + int(10*took.Seconds()); seen < 190 || seen > most {
		t.Errorf("%d lines of coming and going in %v", seen, took)
	}
}

// A byte now and then does not keep a connection to the master port.
func TestDribble(t *testing.T) {
	s := newServer(t)
	s.Options.MasterIdle = 300 * time.Millisecond
	s.Start()
	p := dial(t, s.Service.Port())
	p.Send("LIST")
	p.Expect("OK 0")
	began := time.Now()
	done := make(chan bool)
	defer close(done)
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.Conn.Write([]byte("x"))
			case <-done:
				return
			}
		}
	}()
	for {
		if _, err := p.Next(); err != nil {
			break
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it was held for %v", took)
	}
}

// While strangers connect and reset without a pause, a room is deleted, another is
// moved and the server stops, each within the bounds of its own; nobody in
// another room waits for that.
func TestFloodAtTheEnd(t *testing.T) {
	engines(t, func(t *testing.T, s *server) {
		s.Start()
		quiet := join(t, s.Create("quiet"))
		gone, moved := s.Create("gone"), s.Create("moved")
		// flood runs do while one address connects to a port without a pause.
		flood := func(port int, do func()) {
			t.Helper()
			over, done := make(chan bool), make(chan bool)
			for range 4 {
				go func() {
					d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, 9, 9)}, Timeout: patience}
					for {
						select {
						case <-over:
							done <- true
							return
						default:
						}
						if c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
							c.(*net.TCPConn).SetLinger(0)
							c.Close()
						}
					}
				}()
			}
			ended := make(chan bool)
			go func() {
				do()
				close(ended)
			}()
			select {
			case <-ended:
			case <-time.After(patience):
				t.Error("it does not end before the flood does")
			}
			close(over)
			for range 4 {
				<-done
			}
			<-ended
		}
		flood(gone, func() {
			if err := s.Service.Delete("gone", ""); err != nil {
				t.Error(err)
			}
		})
		flood(moved, func() {
			quiet.Send("is anybody there?")
			quiet.Expect("<guest-1> is anybody there?")
			if _, err := s.Service.Move("moved", gone); err != nil {
				t.Error(err)
			}
		})
		flood(s.Service.Port(), func() { s.Stop() })
	})
}
