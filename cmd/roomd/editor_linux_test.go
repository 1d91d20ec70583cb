package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A terminal that nobody reads holds up nothing: a signal ends each program, and
// the terminal is as it was.
func TestUnreadTerminal(t *testing.T) {
	for _, program := range []string{"admin", "admin watch", "chat", "serve"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, "")
			var s *terminalPair
			// More than fits into a terminal, which takes some 64 KiB.
			fill := func() {
				c := p.visit(p.first)
				c.until(t, "you are")
				for i := range 1200 {
					fmt.Fprintf(c, "line %d %s\n", i, strings.Repeat("x", 900))
				}
				c.until(t, "line 1199 ")
			}
			bound := 5 * time.Second
			socket := filepath.Join(p.dir, "roomd.sock")
			switch program {
			case "serve":
				bound = 10 * time.Second // members have five
				s = p.startConsole(80, 24, nil)
				s.expect("\x1b[?2004h")
				s.types("watch lobby\r")
				s.expect("(Ctrl-C ends this view)")
			case "chat":
				p.start()
				s = p.atTerminal(80, 24, nil, "chat", "lobby", "--server", fmt.Sprintf("127.0.0.1:%d", p.master))
				s.expect("> ")
			case "admin":
				p.start()
				s = p.atTerminal(80, 24, nil, "admin", "--socket", socket)
				s.expect("\x1b[?2004h")
				s.types("watch lobby\r")
				s.expect("(Ctrl-C ends this view)")
			default:
				p.start()
				fill()
				s = p.atTerminal(80, 3000, nil, "admin", "--socket", socket, "watch", "read", "lobby", "-n", "1000", "--every", "100ms")
				s.expect("\x1b[H")
			}
			s.hold(true)
			if program != "admin watch" {
				if s.termios() == s.before {
					t.Error("the terminal is not raw: this shows nothing")
				}
				fill()
			}
			began := time.Now()
			s.cmd.Process.Signal(syscall.SIGTERM)
			if err := s.ends(10 * time.Second); err != nil {
				t.Errorf("%v: %s", err, s.crash())
			}
			if took := time.Since(began); took > bound {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// Ctrl-D and quit ask before they stop a server that has members.
func TestConsoleAsksBeforeItStops(t *testing.T) {
	p := newProcess(t, "")
	s := p.startConsole(80, 24, nil)
	s.expect("\x1b[?2004h")
	c := p.visit(p.first)
	c.until(t, "you are guest-1")
	for _, way := range []string{"\x04", "quit\r", "exit\r"} {
		s.types(way)
		s.expect("this stops the server; members: 1, rooms: 1")
		s.expect("do it? [y/N] ")
		s.types("n\r")
		s.expect("roomd> ")
		fmt.Fprintln(c, "still here")
		c.until(t, "<guest-1> still here")
	}
	s.types("\x04")
	s.expect("do it? [y/N] ")
	s.types("\x04") // is no yes
	s.expect("roomd> ")
	fmt.Fprintln(c, "still here")
	c.until(t, "<guest-1> still here")
	s.types("\x1b[3~") // Delete in an empty line is no Ctrl-D
	s.types("version\r")
	s.expect("version  ")
	s.types("\x04")
	s.expect("do it? [y/N] ")
	s.types("y\r")
	c.until(t, "the server is stopping")
	if err := s.ends(patience); err != nil {
		t.Error(err)
	}
	s.balanced()
	s.expect(`msg="server stopped"`) // the last line of the log
}

// Without members it does not ask; a terminal that has gone is asked nothing.
func TestConsoleStops(t *testing.T) {
	p := newProcess(t, "")
	s := p.startConsole(80, 24, nil)
	s.expect("\x1b[?2004h")
	s.types("\x04")
	if err := s.ends(patience); err != nil {
		t.Error(err)
	}
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed")
	}
	w := p.newScreen("op", os.Args[0], "serve", "--console", "--config", filepath.Join(p.dir, "config.toml"))
	w.shows("roomd>")
	c := p.visit(p.first)
	c.until(t, "you are guest-1")
	w.tmux("kill-session", "-t", w.pane)
	c.until(t, "the server is stopping")
	eventually(t, "the server ends", func() bool { // and the database is free
		_, err := os.Stat(filepath.Join(p.dir, "roomd.sock"))
		return err != nil
	})
}

// SIGHUP at a terminal that is there has the server read its configuration again,
// with a console too; SIGTERM stops it, also while a line is carried out.
func TestConsoleSignals(t *testing.T) {
	p := newProcess(t, "")
	s := p.startConsole(80, 24, nil)
	s.expect("\x1b[?2004h")
	s.types("half")
	s.expect("half")
	s.cmd.Process.Signal(syscall.SIGHUP)
	s.expect(`msg="configuration reloaded"`)
	s.types("\x15version\r")
	s.expect("version  ")
	// Several lines, each of which takes its time.
	socket := filepath.Join(p.dir, "roomd.sock")
	slow := slowRelay(t, "unix", socket+".real", 200*time.Millisecond)
	if err := os.Rename(socket, socket+".real"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(slow, socket); err != nil {
		t.Fatal(err)
	}
	s.types("\x1b[200~" + strings.Repeat("rooms\n", 100) + "\x1b[201~\r")
	s.expect("MEMBERS")
	began := time.Now()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.ends(patience); err != nil {
		t.Error(err, s.crash())
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	s.balanced()
}

// With standard output elsewhere nothing is edited, and no escape code gets into
// the file.
func TestOutputElsewhere(t *testing.T) {
	for _, program := range []string{"admin", "chat", "serve"} {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			p := newProcess(t, "")
			out, err := os.Create(filepath.Join(p.dir, "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			written := func(text string) {
				t.Helper()
				await(t, func() string {
					got, _ := os.ReadFile(out.Name())
					if bytes.Contains(got, []byte(text)) {
						return ""
					}
					return fmt.Sprintf("%q is not in %q", text, got)
				})
			}
			var s *terminalPair
			switch program {
			case "serve":
				s = p.startConsole(80, 24, out)
				s.types("rooms\n")
				written("MEMBERS")
			case "admin":
				p.start()
				s = p.atTerminal(80, 24, out, "admin", "--socket", filepath.Join(p.dir, "roomd.sock"))
				s.types("rooms\n")
				written("MEMBERS")
				s.types("delete lobby\n")
				s.expect("do it? [y/N]") // the question is for the person
				s.types("n\n")
				written("nothing was done")
			default:
				p.start()
				s = p.atTerminal(80, 24, out, "chat", "lobby", "--nick", "ann", "--server", fmt.Sprintf("127.0.0.1:%d", p.master))
				written("connected to")
				s.types("hello\n")
				written("<ann> hello")
				c := p.visit(p.first)
				fmt.Fprintln(c, "ann: look")
				written("ann: look")
			}
			s.types("\x04")
			if err := s.ends(patience); err != nil {
				t.Error(err)
			}
			got, err := os.ReadFile(out.Name())
			if err != nil || bytes.ContainsAny(got, "\x1b\a\r") {
				t.Errorf("%q, %v", got, err)
			}
			if strings.Contains(s.shown(), "\x1b") {
				t.Errorf("the terminal got %q", s.shown())
			}
		})
	}
}

// NO_COLOR takes colours away, and neither the bell nor the mark of a mention.
func TestMentionWithoutColours(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	s := p.atTerminal(80, 24, nil, "chat", "lobby", "--nick", "ann", "--server", fmt.Sprintf("127.0.0.1:%d", p.master))
	s.expect("lobby ann> ")
	c := p.visit(p.first)
	fmt.Fprintln(c, "ann: look")
	s.expect("\x1b[7mann: look\x1b[0m\a")
	if strings.Contains(s.shown(), "\x1b[3") || strings.Contains(s.shown(), "\x1b[1m") {
		t.Errorf("colours: %q", s.shown())
	}
	s.types("\x04")
	if err := s.ends(patience); err != nil {
		t.Error(err)
	}
}

// A long line is drawn in a time that grows with its length alone.
func TestLongLineIsDrawn(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	s := p.atTerminal(80, 24, nil, "chat", "lobby", "--nick", "ann", "--server", fmt.Sprintf("127.0.0.1:%d", p.master))
	s.expect("lobby ann> ")
	// As a terminal without bracketed paste has it.
	typeAll := func(text string) {
		for i := 0; i < len(text); i += 500 {
			s.types(text[i:min(i+500, len(text))])
		}
	}
	began, shown := time.Now(), len(s.shown())
	typeAll(strings.Repeat("y", 5000) + "END")
	s.expect("END")
	// Once for each character that would be some 12 MB.
	if n := len(s.shown()) - shown; n > 1e6 || time.Since(began) > 3*time.Second {
		t.Errorf("it took %d bytes and %v", n, time.Since(began))
	}
	hears := p.visit(p.first)
	hears.until(t, "you are")
	text := strings.Repeat("x", 3500)
	typeAll("\x15" + text + "END")
	s.expect("END")
	// And what is pasted right behind it is a line of its own.
	s.types("\r\x1b[200~1\n2\n3\n4\n5\x1b[201~")
	s.expect("[5 lines pasted]")
	s.types("\r")
	for _, line := range []string{text + "END", "1", "2", "3", "4", "5"} {
		if got := hears.until(t, "<ann> "); got != "<ann> "+line+"\n" {
			t.Errorf("heard %.200q, not %.200q", got, line)
		}
	}
	s.types("\x04")
	if err := s.ends(patience); err != nil {
		t.Error(err)
	}
}

// In a real terminal: the cursor is where the text is, for keys as tmux sends
// them and characters of any width; what is long is wrapped, indented and forges
// nothing.
func TestEditorInTmux(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed")
	}
	p := newProcess(t, fast)
	p.start()
	for _, columns := range []int{20, 40, 80, 200} {
		t.Run(fmt.Sprint(columns), func(t *testing.T) {
			s := p.chatScreen(fmt.Sprintf("w%d", columns), "lobby")
			s.t = t
			s.tmux("resize-window", "-t", s.pane, "-x", fmt.Sprint(columns), "-y", "40")
			s.shows("lobby " + s.pane + ">")
			prompt := len("lobby " + s.pane + "> ")
			cursor := func() string {
				return strings.TrimSpace(s.tmux("display-message", "-p", "-t", s.pane, "#{cursor_x}"))
			}
			at := func(what string, column int) {
				t.Helper()
				await(t, func() string {
					got, want := cursor(), fmt.Sprint(column)
					if got == want {
						return ""
					}
					return fmt.Sprintf("%s: the cursor is in column %s, not %s:\n%s", what, got, want, s.tmux("capture-pane", "-p", "-t", s.pane))
				})
			}
			s.types("日本")
			at("two of Han", prompt+4)
			s.types("Left")
			at("left over one of them", prompt+2)
			s.types("End", "Space", "a", "Home")
			at("Home", prompt)
			s.types("End")
			at("End", prompt+6)
			s.types("C-Left")
			at("a word to the left", prompt+5)
			s.types("C-u", "C-k")
			s.types("\U0001f44d")
			at("an emoji", prompt+2)
			s.types("e\u0301", "Left")
			at("left over a letter with a mark", prompt+2)
			s.types("C-k", "C-u")

			// Somebody hopes that the terminal wraps in the right place.
			for spaces := columns - 30; spaces < columns; spaces++ {
				p.does("", "send", "lobby", "--nick", "mal", "x"+strings.Repeat(" ", max(1, spaces))+"19:41 <bob> I quit")
				if columns != 80 && spaces > columns-28 {
					break
				}
			}
			p.does("", "send", "lobby", "--nick", "old", "the end")
			s.shows("the end")
			text := s.tmux("capture-pane", "-p", "-S", "-", "-t", s.pane)
			n := 0
			for l := range strings.Lines(text) {
				switch {
				case strings.HasPrefix(l, "19:41 <bob>") || strings.HasPrefix(l, "<bob>") || strings.HasPrefix(l, "I quit"):
					t.Errorf("a forged line: %q", l)
				case strings.Contains(l, "quit"):
					n++
				}
			}
			if n == 0 {
				t.Errorf("nothing was shown:\n%s", text)
			}
		})
	}
}

// Where lines are not edited, what is long is broken and indented too, if it goes
// to a terminal: no text looks like another line.
func TestNothingForgesALine(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	p.does("", "send", "lobby", "--nick", "mal", "x"+strings.Repeat(" ", 40)+strings.Repeat("y ", 30)+"2026-11-29 19:41:00 <bob> I quit")
	server := fmt.Sprintf("127.0.0.1:%d", p.master)
	socket := filepath.Join(p.dir, "roomd.sock")
	for name, args := range map[string][]string{
		"dumb chat": {"chat", "lobby", "--server", server}, "tail": {"tail", "lobby", "--server", server, "--follow=false"}, "read": {"admin", "--socket", socket, "read", "lobby"},
	} {
		for columns := 20; columns < 90; columns += 23 {
			p.env = nil
			if name == "dumb chat" {
				p.env = []string{"TERM=dumb"}
			}
			s := p.atTerminal(columns, 24, nil, args...)
			s.expect("quit")
			if name == "dumb chat" {
				s.types("\x04")
			}
			if err := s.ends(patience); err != nil {
				t.Error(name, err)
			}
			for l := range strings.Lines(s.shown()) {
				if l = strings.TrimRight(l, "\r\n"); len(l) > columns || strings.HasPrefix(l, "2026-11-29 19:41:00") || strings.HasPrefix(l, "<bob>") || strings.HasPrefix(l, "y ") || strings.Contains(l, "\x1b") {
					t.Errorf("%s in %d columns: %q", name, columns, l)
				}
			}
		}
	}
}
