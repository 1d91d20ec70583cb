package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/netsvc/client"
)

// theKeys are keys that have a meaning to an editor, and some that have none.
var theKeys = []string{
	"\t", "\t\t", "\t\t\x1b[B", "\t\t\x0b", "room \t\t\x0b", "members \t", "kick \t\t", "watch \t", "he\t", "/\t", "/jo\t", "/join \t\t",
	"\r", "\n", "\x01", "\x02", "\x05", "\x06", "\x07", "\x08", "\x0b", "\x0c", "\x0e", "\x10", "\x12", "\x13", "\x14", "x\x01\x0b\x14 y", "\x15", "\x17", "\x19", "\x7f",
	"\x00", "\x0f", "\x11", "\x16", "\x18", "\x1c", "\x1d", "\x1e", "\x1f", "\x03",
	"\x1b", "\x1b\x1b", "\x1bb", "\x1bf", "\x1bd", "\x1b\x7f", "\x1bx", "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[H", "\x1b[F", "\x1bOH", "\x1bOF", "\x1bOA", "\x1bOP",
	"\x1b[1~", "\x1b[3~", "\x1b[4~", "\x1b[5~", "\x1b[7~", "\x1b[8~", "\x1b[1;5D", "\x1b[1;5C", "\x1b[1;3D", "\x1b[3;5~", "\x1b[Z", "\x1b[", "\x1b[1;", "\x1b[999999999999;1R",
	"\x1b[200~", "\x1b[201~", "\x1b[200~one\x1b[201~", "\x1b[200~one\ntwo\n\x1b[201~", "\x1b[200~a\nb\x1b[201~\x1b[200~c\nd\x1b[201~", "\x1b[200~\tx\x03\x1b[201~",
	"日本語", "한글", "\U0001f44d", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "e\u0301", "\u0301", "\u200d", "\ue009", "\ufffd", "\xff", "\xc3", "\xf0\x9f", "\u202e", "\u009b",
	"ann", "bob: hello there", "status\r", "rooms\r", "members\r", "/who\r", "/help\r", "watch lobby\r", "watch members --every 100ms\r", "help\r", strings.Repeat("w ", 300), strings.Repeat("x", 900),
	"\x12ro\x12\x12\r", "\x12\x7f\x07", "\x1b[A\x1b[A\x01\x0b\x19\x19",
}

// fuzzLength is how long each program's keys are pressed: a moment, or as long
// as ROOMD_FUZZ_TERMINAL says.
func fuzzLength(t *testing.T) (length time.Duration, long bool) {
	text := os.Getenv("ROOMD_FUZZ_TERMINAL")
	if text == "" {
		return 1500 * time.Millisecond, false
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return length, true
}

// Whatever is typed, printed and signalled at whatever width, no program with a
// line editor panics, spins or refuses to end, and the terminal is as it was.
// ROOMD_FUZZ_SEED repeats a run's keys.
func TestTerminalFuzz(t *testing.T) {
	length, long := fuzzLength(t)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ROOMD_FUZZ_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for i, program := range []string{"admin", "chat", "serve"} {
		t.Run(program, func(t *testing.T) {
			if !long {
				t.Parallel()
			}
			t.Logf("ROOMD_FUZZ_SEED=%d", seed)
			f := &terminalFuzz{t: t, program: program, r: rand.New(rand.NewPCG(seed, uint64(i)))}
			for end := time.Now().Add(length); time.Now().Before(end) && !t.Failed(); f.rounds++ {
				f.round(min(time.Until(end), 4*time.Second))
			}
			t.Logf("%d rounds, %d keys", f.rounds, f.keys)
		})
	}
}

// longRoom is as long as a name can be.
const longRoom = "room-with-a-name-of-32-character"

type terminalFuzz struct {
	t            *testing.T
	program      string
	r            *rand.Rand
	rounds, keys int
	p            *process // the server, that of serve --console excepted
	slow         string   // where the program finds it
}

func (f *terminalFuzz) round(length time.Duration) {
	t, r := f.t, f.r
	width := func() int {
		return []int{0, 1, 2, 6, 7, 8, 20, 30, 40, 80, 200, r.IntN(201), r.IntN(201)}[r.IntN(13)]
	}
	height := func() int { return []int{0, 1, 2, 5, 24, 40, r.IntN(60)}[r.IntN(7)] }
	var s *terminalPair
	p := f.p
	if p == nil {
		p = newProcess(t, `server.create = ["lobby", "`+longRoom+`", "`+longRoom[:31]+`2", "日本"]`)
	}
	switch f.program {
	case "serve":
		s = p.startConsole(width(), height(), nil)
		f.p = p
		f.inFront(filepath.Join(p.dir, "roomd.sock"))
	case "admin":
		if f.p == nil {
			p.start()
			f.p, f.slow = p, slowRelay(t, "unix", filepath.Join(p.dir, "roomd.sock"), 50*time.Millisecond)
		}
		s = p.atTerminal(width(), height(), nil, "admin", "--socket", f.slow)
	default:
		if f.p == nil {
			p.start()
			f.p, f.slow = p, slowRelay(t, "tcp", fmt.Sprintf("127.0.0.1:%d", p.master), 50*time.Millisecond)
		}
		s = p.atTerminal(width(), height(), nil, "chat", "lobby", "--nick", "me", "--server", f.slow)
	}
	s.expect("\x1b[?2004h") // now Ctrl-C is a key
	if f.program != "chat" {
		s.types("watch lobby\r")
	}
	ctx, cancel := context.WithCancel(context.Background())
	talks := make(chan struct{})
	go func() {
		defer close(talks)
		f.talk(ctx, p)
	}()
	defer func() { cancel(); <-talks }()

	began, held := time.Now(), false
	for time.Since(began) < length {
		switch n := r.IntN(100); {
		case n < 12:
			s.size(width(), height())
		case n < 15 && !held:
			held = true
			s.hold(true)
		case n < 18:
			held = false
			s.hold(false)
		case n < 40:
			<-time.After(time.Duration(r.IntN(30)) * time.Millisecond)
		case n == 40 && r.IntN(4) == 0:
			s.press("\x1a") // Ctrl-Z: no shell is there to wake us
		case n == 41 && r.IntN(4) == 0:
			s.press("\x04")
		case n < 50:
			b := make([]byte, r.IntN(8))
			for i := range b {
				if b[i] = byte(r.IntN(256)); b[i] == 4 || b[i] == 26 {
					b[i] = 'x'
				}
			}
			s.press(string(b))
		default:
			s.press(theKeys[r.IntN(len(theKeys))])
		}
		f.keys++
		select {
		case err := <-s.exited: // a Ctrl-D, quit, or a question that was answered
			s.exited <- err
			length = 0
		default:
		}
	}
	if r.IntN(4) > 0 {
		held = false
		s.hold(false)
	}
	sig := syscall.SIGTERM
	if r.IntN(4) == 0 && f.program != "serve" { // there it reads the configuration again
		sig = syscall.SIGHUP
	}
	s.cmd.Process.Signal(sig)
	if r.IntN(3) == 0 {
		<-time.After(time.Duration(r.IntN(20)) * time.Millisecond)
		s.cmd.Process.Signal(syscall.SIGTERM)
	}
	bound := 6 * time.Second
	if f.program == "serve" {
		bound = 12 * time.Second // members that do not read have five
	}
	took := time.Now()
	err := s.ends(bound)
	// All that it has written is to be read before it is judged.
	s.hold(false)
	s.inner.Close()
	<-s.done
	if wall := time.Since(began); s.cpu() > 3*time.Second+wall/2 {
		t.Errorf("%v of processor time in %v", s.cpu(), wall)
	}
	// It may be that the second signal ends it, or, once the terminal is given
	// back, a Ctrl-C or Ctrl-\.
	mayEnd := []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT}
	if st, ok := s.cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && !(ok && st.Signaled() && slices.Contains(mayEnd, st.Signal())) && !s.quit() {
		t.Errorf("%v after %v: %q", err, time.Since(took), s.crash())
	}
	if text := s.crash(); text != "" && !s.quit() {
		t.Errorf("round %d: %s", f.rounds, text)
	}
	if err == nil && !held {
		s.balanced()
	}
	s.close()
	if f.program == "serve" {
		os.Remove(filepath.Join(p.dir, "roomd.sock"))
	}
}

// crash is what the Go runtime has to say.
func (s *terminalPair) crash() string {
	text := s.shown()
	for _, bad := range []string{"panic:", "fatal error:", "SIGQUIT", "DATA RACE"} {
		if i := strings.Index(text, bad); i >= 0 {
			return fmt.Sprintf("%.3000s", text[max(0, i-500):])
		}
	}
	return ""
}

// quit reports whether a Ctrl-\ ended the program once it had given its terminal
// back, where that is a signal as in any terminal.
func (s *terminalPair) quit() bool {
	text := s.shown()
	i := strings.Index(text, "SIGQUIT: quit")
	if i < 0 || strings.Contains(text[:i], "panic:") {
		return false
	}
	if strings.HasSuffix(text[:i], "\x1b[J\x1b[?2004l\x1b[?7h") {
		return false // it had not: this is what it gives back when it is ended by that
	}
	return strings.LastIndex(text[:i], "\x1b[?2004l") > strings.LastIndex(text[:i], "\x1b[?2004h")
}

// press is types for a program that may not take it.
func (s *terminalPair) press(keys string) {
	s.tty.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	s.tty.WriteString(keys)
}

// close gives the terminal back before the test is over.
func (s *terminalPair) close() {
	s.inner.Close()
	s.tty.Close()
	<-s.done
}

// inFront has a relay in the place of a socket, until the round is over.
func (f *terminalFuzz) inFront(socket string) {
	real := socket + ".real"
	if f.slow == "" {
		f.slow = slowRelay(f.t, "unix", real, 50*time.Millisecond)
	}
	if err := os.Rename(socket, real); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Symlink(f.slow, socket); err != nil {
		f.t.Fatal(err)
	}
}

// talk says things in the lobby until ctx is done.
func (f *terminalFuzz) talk(ctx context.Context, p *process) {
	c, err := client.Dial(ctx, fmt.Sprintf("127.0.0.1:%d", p.master), client.Options{})
	if err != nil {
		return
	}
	room, err := c.Join(ctx, "lobby", client.JoinOptions{Nick: "ann"})
	if err != nil {
		return
	}
	defer room.Close()
	tick := time.NewTicker(3 * time.Millisecond) // fills a terminal that nobody reads in a second or two
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		text := []string{"me: look", "日本語の長い行です " + strings.Repeat("漢字 ", 40), strings.Repeat("long ", 30), "\U0001f44d\U0001f44d", nastyText}[n%5]
		room.Post(ctx, text)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

const nastyText = "\x1b[2J\x1b[31mred \u202e \u009b2J e\u0301\u0301\u0301"
