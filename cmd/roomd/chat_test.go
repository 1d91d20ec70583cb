package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
	"roomd/netsvc/client"
)

// chatScreen is somebody at a terminal.
func (p *process) chatScreen(name string, args ...string) screen {
	p.t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		p.t.Skip("tmux is not installed")
	}
	self := p.roomd().Path
	config := filepath.Join(p.dir, "config.toml")
	return p.newScreen(name, append([]string{self, "chat", "--nick", name, "--config", config}, args...)...)
}

// types presses keys, and Enter if that is the last of them.
func (s screen) types(keys ...string) {
	s.t.Helper()
	s.tmux(append([]string{"send-keys", "-t", s.pane}, keys...)...)
}

// lines are those on the screen, all that was scrolled off included.
func (s screen) lines() []string {
	s.t.Helper()
	text := s.tmux("capture-pane", "-p", "-J", "-S", "-", "-t", s.pane)
	return strings.Split(strings.TrimRight(text, "\n "), "\n")
}

// With two rooms each line says which room it is of, those before the second room
// is joined too.
func TestChatNamesRooms(t *testing.T) {
	t.Parallel()
	p := newProcess(t, fast)
	p.start()
	p.does("", "create", "dev")
	p.does("", "send", "lobby", "--nick", "ann", "in the first")
	p.does("", "send", "dev", "--nick", "ann", "in the second")
	out, _, _ := p.does("/join lobby\nhi\n/join dev\nhi\n", "chat", "lobby", "dev", "--nick", "bob")
	for _, want := range []string{" lobby <ann> in the first\n", " dev <ann> in the second\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}

// Without a terminal the chat leaves once its lines are in the room and its commands
// are answered, at the end of the input and at /quit.
func TestChatWaitsForAnswers(t *testing.T) {
	t.Parallel()
	p := newProcess(t, fast)
	p.start()
	p.does("", "send", "lobby", "--nick", "ann", "the first line")
	for nick, end := range map[string]string{"bob": "", "eve": "/quit\n"} {
		in := "hello from " + nick + "\n/topic\n/who\n/search first\n/history 5\n/nick " + nick + "-2\n/msg nobody hi\n" + end
		out, errs, status := p.does(in, "chat", "lobby", "--nick", nick)
		for _, want := range []string{"lobby has no topic", "1 in lobby:", "lines? has first", "(no|end of) earlier lines",
			"you are " + nick + "-2 in lobby", "nobody here is called nobody"} {
			if !regexp.MustCompile(want).MatchString(out) {
				t.Errorf("%s: there is no %q in\n%s", nick, want, out)
			}
		}
		if status != 0 {
			t.Errorf("status %d: %s", status, errs)
		}
		if history, _, _ := p.does("", "tail", "lobby", "--follow=false"); !strings.Contains(history, "hello from "+nick) {
			t.Errorf("what %s said is not in the room:\n%s", nick, history)
		}
	}
}

// Two people and a bot in two rooms, and the server is killed under them: both
// screens have every line once, in order, and the half-typed line is there.
func TestChatThroughKill(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	p.does("", "create", "dev")
	ann := p.chatScreen("ann", "lobby", "dev")
	bob := p.chatScreen("bob", "dev", "lobby")
	ann.shows("dev ann>")
	bob.shows("lobby bob>")

	// The bot counts in both rooms, and goes on while the server is away.
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	const lines = 120
	done := make(chan error, 2)
	for _, room := range []string{"lobby", "dev"} {
		bot := p.join(room, client.JoinOptions{Nick: "bot"})
		go func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for i := range lines {
				<-tick.C
				if _, err := bot.Send(ctx, fmt.Sprintf("count %d in %s", i, room)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	ann.types("half a li")
	ann.shows("half a li")
	bob.types("hello from bob", "Enter")
	ann.shows("<bob> hello from bob")
	ann.shows("count 30 in dev")
	p.kill(syscall.SIGKILL)
	ann.shows("dev: the connection is lost")
	bob.types("said while away", "Enter")
	p.start()
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	ann.types("ne", "Enter")
	for who, s := range map[string]screen{"ann": ann, "bob": bob} {
		s.shows(fmt.Sprintf("count %d in lobby", lines-1))
		s.shows(fmt.Sprintf("count %d in dev", lines-1))
		s.shows("<ann> half a line")
		for _, room := range []string{"lobby", "dev"} {
			n := 0
			for _, l := range s.lines() {
				if m := regexp.MustCompile(`count (\d+) in ` + room).FindStringSubmatch(l); m != nil {
					if m[1] != fmt.Sprint(n) {
						t.Fatalf("%s: %q, not %d\n%s", who, l, n, strings.Join(s.lines(), "\n"))
					}
					n++
				}
			}
			if n != lines {
				t.Errorf("%s has %d lines of %s", who, n, room)
			}
		}
		if text := strings.Join(s.lines(), "\n"); !regexp.MustCompile(`-- dev: connected again; (no|\d+) lines? came`).MatchString(text) {
			t.Error(who, " is not told what it missed")
		}
		// No line of the others is torn by what was typed, or tears it.
		for _, l := range s.lines() {
			if !regexp.MustCompile(`^(\d\d:\d\d (lobby|dev) [<*].*|\d\d:\d\d [<*].*|-- .*|(lobby|dev) (ann|bob).*> .*|(lobby|dev) (ann|bob).*>|> ?)$`).MatchString(l) {
				t.Errorf("%s: a torn line: %q", who, l)
			}
		}
		if text := strings.Join(s.lines(), "\n"); strings.Count(text, "<bob> said while away") != 1 || strings.Count(text, "<bob> hello from bob") != 1 {
			t.Errorf("%s:\n%s", who, text)
		}
	}
}

// What a person does in the first minutes.
func TestChat(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	p.does("", "send", "lobby", "--nick", "old", "from before")
	ann := p.chatScreen("ann")
	ann.shows("/join ROOM joins one")
	ann.types("/jo", "Tab", "lo", "Tab", "Enter")
	ann.shows("<old> from before")
	ann.shows("lobby ann>")
	bob := p.chatScreen("bob", "lobby")
	bob.shows("lobby bob>")
	ann.shows("bob joined")

	// A room that is not there is made; Tab knows the nicks.
	ann.types("/join dev", "Enter")
	ann.shows("[y/N]")
	ann.types("y", "Enter")
	ann.shows("dev ann>")
	ann.types("/join lobby", "Enter")
	ann.shows("lobby ann>")
	ann.types("bo", "Tab", "psst", "Enter")
	bob.shows("<ann> \x1b[7mbob: psst") // marked, without colours too
	bob.types("/me waves", "Enter")
	ann.shows("lobby * bob waves")
	ann.types("/msg bob secret", "Enter")
	bob.shows("<ann -> bob> \x1b[7msecret")
	ann.types("/topic lunch at noon", "Enter")
	bob.shows("ann set the topic: lunch at noon")
	ann.types("/nick anna", "Enter")
	bob.shows("ann is now anna")
	ann.shows("you are anna in dev")
	ann.types("/who", "Enter")
	ann.shows("  bob, since")
	ann.types("/search FROM before", "Enter")
	ann.shows("1 line has FROM before")
	ann.types("/nosuch", "Enter")
	ann.shows("there is no /nosuch; /help lists the commands; //nosuch sends it as text")
	ann.types("//nosuch", "Enter")
	bob.shows("<anna> /nosuch")

	// What is pasted is sent as it is; above ten lines it asks.
	ann.tmux("set-buffer", "one\n\ttwo\n/quit")
	ann.tmux("paste-buffer", "-p", "-t", "ann")
	ann.shows("[3 lines pasted]")
	ann.types("Enter")
	bob.shows("<anna> /quit")
	if text := strings.Join(p.texts("lobby"), "|"); !strings.Contains(text, "|one|\ttwo|/quit") {
		t.Errorf("%q", text)
	}
	ann.tmux("set-buffer", strings.Repeat("many\n", 12))
	ann.tmux("paste-buffer", "-p", "-t", "ann")
	ann.types("Enter")
	ann.shows("send 12 lines to lobby? [y/N]")
	ann.types("n", "Enter")
	ann.shows("nothing was sent")
	if text := bob.tmux("capture-pane", "-p", "-t", "bob"); strings.Contains(text, "many") {
		t.Error(text)
	}

	// Back to what has scrolled by.
	for i := range 60 {
		p.does("", "send", "lobby", "--nick", "old", fmt.Sprint("number ", i))
	}
	carl := p.chatScreen("carl", "lobby")
	carl.shows("number 59")
	carl.types("/history 30", "Enter")
	carl.shows("30 earlier lines")
	carl.shows("number 10")
	carl.types("/history 30", "Enter")
	carl.shows("<old> from before")
	carl.types("/history", "Enter")
	carl.shows("no earlier lines")

	carl.types("goodbye", "Enter") // else it may be gone before anybody is told of it
	ann.shows("<carl> goodbye")
	carl.types("C-d")
	ann.shows("carl left")
	bob.types("/quit", "Enter")
	ann.shows("bob left")
}

// The page has every flag.
func TestClientPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, cmd := range newRoot().Commands() {
		if cmd.Flag("server") == nil || cmd.Flag("tls") == nil {
			continue // not a client
		}
		if !strings.Contains(page, "roomd "+cmd.Name()) {
			t.Errorf("roomd %s is not on the page", cmd.Name())
		}
		for _, f := range regexp.MustCompile(`--[a-z]+`).FindAllString(cmd.Flags().FlagUsages(), -1) {
			if f != "--help" && !strings.Contains(page, f) {
				t.Errorf("%s of roomd %s is not on the page", f, cmd.Name())
			}
		}
	}
}

// Whom the operator sends away is told so, and goes back when asked to only.
func TestChatAfterKick(t *testing.T) {
	t.Parallel()
	p := newProcess(t, `server.create = ["lobby", "dev"]`)
	p.start()
	bob := p.visit(p.first)
	bob.until(t, "you are guest-1")
	cmd := p.roomd("chat", "lobby", "dev", "--nick", "ann")
	in, out := roomdtest.Begin(t, cmd)
	defer cmd.Wait()
	defer in.Close()
	ann := bufio.NewReader(out)
	shows := func(text string) {
		t.Helper()
		late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer late.Stop()
		for {
			l, err := ann.ReadString('\n')
			if err != nil {
				t.Fatalf("waiting for %q: %q, %v", text, l, err)
			}
			if strings.Contains(l, text) {
				return
			}
		}
	}
	fmt.Fprintln(in, "/join lobby\nhello")
	shows("hello")
	p.operates("kick ann --yes --say enough,please")
	shows("enough,please")
	shows("lobby: the operator has kicked you")
	bob.until(t, "* ann left")
	fmt.Fprintln(in, "/join lobby\nback again")
	shows("back again")
	joined := 0
	for l := ""; !strings.Contains(l, "<ann> back again"); {
		var err error
		l, err = bob.in.ReadString('\n')
		roomdtest.Must(t, err)
		if strings.Contains(l, "ann joined") {
			joined++
		}
	}
	if joined != 1 {
		t.Errorf("joined %d times", joined)
	}
}
