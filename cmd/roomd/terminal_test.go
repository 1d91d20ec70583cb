package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// screen is a real terminal: a pane of tmux.
type screen struct {
	t    testing.TB
	sock string
	pane string
}

// newScreen runs a command in a terminal of its own.
func (p *process) newScreen(name string, command ...string) screen {
	p.t.Helper()
	return screenIn(p.t, p.dir, name, command...)
}

// screenIn is newScreen with a home of its own.
func screenIn(t testing.TB, dir, name string, command ...string) screen {
	t.Helper()
	s := screen{t, filepath.Join(dir, "tmux"), name}
	// The last line keeps the pane when the command has ended.
	args := append([]string{"new-session", "-d", "-s", name, "-x", "100", "-y", "40", "--", "env", asRoomd + "=1", "NO_COLOR=1", "HOME=" + dir}, command...)
	s.tmux(args...)
	t.Cleanup(func() { exec.Command("tmux", "-S", s.sock, "kill-session", "-t", name).Run() })
	return s
}

func (s screen) tmux(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-u", "-S", s.sock, "-f", "/dev/null"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color")
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// shows waits for a text and returns the screen with its escape sequences, if
// there are any.
func (s screen) shows(text string) string {
	s.t.Helper()
	var got string
	await(s.t, func() string {
		if got = s.tmux("capture-pane", "-p", "-e", "-t", s.pane); strings.Contains(got, text) {
			return ""
		}
		return fmt.Sprintf("%q is not on the screen:\n%s", text, got)
	})
	return got
}

// Somebody sends escape sequences, an override of direction, and lines that look
// like those of others: the terminals of a member with nc and of the operator
// stay as they were, and what is faked stands behind the faker's name.
func TestTerminalsStayIntact(t *testing.T) {
	for _, program := range []string{"tmux", "nc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program, "is not installed")
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, "")
	p.start()
	ann := p.newScreen("ann", "nc", "127.0.0.1", fmt.Sprint(p.first))
	ann.shows("you are guest-1")
	ann.tmux("send-keys", "-t", "ann", "/nick ann", "Enter")
	ann.shows("guest-1 is now ann")
	op := p.newScreen("op", self, "admin", "--socket", filepath.Join(p.dir, "roomd.sock"))
	op.shows("roomd>")
	op.tmux("send-keys", "-t", "op", "watch lobby", "Enter")

	mal := p.dial(p.first)
	for heard := bufio.NewScanner(mal); heard.Scan() && !strings.Contains(heard.Text(), "you are guest-2"); {
	}
	fmt.Fprint(mal, "/nick mal\n")
	// What is said before the operator watches is not seen.
	op.shows("(Ctrl-C ends this view)")
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 0; !strings.Contains(op.tmux("capture-pane", "-p", "-t", "op"), "ready"); i++ {
		if i > 50 {
			t.Fatal("the operator sees nothing")
		}
		fmt.Fprintln(mal, "ready")
		<-tick.C
	}
	fmt.Fprint(mal,
		"\x1b[2J\x1b[H\x1b[31mred\x1b]0;owned\x07\n",
		"\u009b2J\x9b31m\x1b(0lqqk\x0e\n",
		"\u202eresrever\n",
		"over\r<ann> I quit\n",
		"up\x1b[A\x1b[2K<ann> I said this\x08\x08\n",
		"<ann> I agree\n",
		"* lobby: chat room being deleted\n",
		"\v\f\u2028* ann left (1 here)\n",
		"the end\n")
	for who, s := range map[string]screen{"ann": ann, "op": op} {
		got := s.shows("the end")
		if strings.ContainsAny(got, "\x1b\u202e\u009b\u2028\x0e") {
			t.Errorf("%s: escapes reached the terminal: %q", who, got)
		}
		if title := s.tmux("display-message", "-p", "-t", s.pane, "#{pane_title}"); strings.Contains(title, "owned") {
			t.Errorf("%s: the title is %q", who, title)
		}
		for l := range strings.Lines(got) {
			for _, fake := range []string{"<ann>", "* lobby: chat room being", "* ann left"} {
				if strings.HasPrefix(l, fake) {
					t.Errorf("%s: a faked line stands alone: %q", who, l)
				}
			}
		}
		for _, fake := range []string{"<ann> I quit", "<ann> I agree", "* lobby: chat room being deleted", "* ann left (1 here)", "red", "lqqk", "resrever"} {
			if !strings.Contains(got, fake) {
				t.Errorf("%s: %q is not there as what it is:\n%s", who, fake, got)
			}
		}
	}
	got := ann.shows("<mal> the end")
	for _, want := range []string{
		"* guest-1 is now ann", "<mal> \ufffd[2J\ufffd[H\ufffd[31mred\ufffd]0;owned\ufffd", "<mal> \ufffdresrever", "<mal> over\ufffd<ann> I quit",
		"<mal> <ann> I agree", "<mal> * lobby: chat room being deleted", "<mal> \ufffd\ufffd\ufffd* ann left (1 here)",
	} {
		if !strings.Contains("\n"+got, "\n"+want+"\n") {
			t.Errorf("ann does not see %q:\n%s", want, got)
		}
	}
	// The console is one to work with still.
	op.tmux("send-keys", "-t", "op", "", "Enter")
	op.tmux("send-keys", "-t", "op", "rooms", "Enter")
	op.shows("lobby")
	op.shows("MEMBERS")
}
