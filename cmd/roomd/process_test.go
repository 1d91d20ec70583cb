package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The first minutes of a newcomer, with nc alone.
func TestNetcat(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	got := p.nc(p.master, strings.NewReader("CREATE dev\nLIST\nJOIN dev\n"))
	lines := strings.Split(got, "\n")
	if len(lines) != 6 || !strings.HasPrefix(lines[0], fmt.Sprintf("OK dev %d ", p.first+1)) {
		t.Fatalf("got %q", got)
	}
	want := fmt.Sprintf("OK 2\ndev %d 0\nlobby %d 0\nOK dev %d 0\n", p.first+1, p.first, p.first+1)
	if rest := strings.Join(lines[1:], "\n"); rest != want {
		t.Fatalf("got  %q\nwant %q", rest, want)
	}
	got = p.nc(p.first+1, strings.NewReader("done"))
	if want := "* dev: 1 here, you are guest-1 (/help)\n* guest-1 joined (1 here)\n<guest-1> done\n"; got != want {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Fatal("SIGTERM:", err)
	}
	if !p.logged(`msg="server stopped" took=`) {
		t.Error("the log does not say that it has stopped")
	}
	p.start()
	got = p.nc(p.first+1, strings.NewReader(""))
	if !strings.Contains(got, "* 1 earlier line\n<guest-1> done\n* end of earlier lines\n") {
		t.Fatalf("after a restart: %q", got)
	}
}

// realText is text as people have it: the sources of this project, over and
// over, without blank lines, which are no messages.
func realText(t *testing.T, lines int) string {
	files, err := filepath.Glob("../../*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no text", err)
	}
	var b strings.Builder
	for n := 0; n < lines; {
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for l := range strings.Lines(string(text)) {
				if strings.TrimSpace(l) != "" && n < lines {
					b.WriteString(l)
					n++
				}
			}
		}
	}
	return b.String()
}

// Four members listen and a fifth is stopped in the middle while nc pipes a
// real text into the room: all end with the same bytes, and when the sender
// returns its last line is on disk.
func TestRealText(t *testing.T) {
	const lines = 12000
	if _, err := exec.LookPath("nc"); err != nil {
		t.Skip("nc (netcat-openbsd) is not installed")
	}
	p := newProcess(t, "limits.connections = 100")
	p.start()
	text := realText(t, lines)
	var listeners []*exec.Cmd
	var ins []io.Closer
	outs := make([]*bytes.Buffer, 5)
	for i := range outs {
		outs[i] = new(bytes.Buffer)
		cmd := exec.Command("nc", "127.0.0.1", fmt.Sprint(p.first))
		cmd.Stdout = outs[i]
		in, err := cmd.StdinPipe() // held open: the listener stays
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		ins = append(ins, in)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		listeners = append(listeners, cmd)
	}
	witness := bufio.NewReader(p.dial(p.first))
	for here := 0; here < len(outs)+1; {
		l, err := witness.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		fmt.Sscanf(l[strings.LastIndexByte(l, '(')+1:], "%d here)", &here)
		if strings.HasPrefix(l, "* lobby: ") {
			fmt.Sscanf(l, "* lobby: %d here", &here)
		}
	}
	stopped := listeners[4].Process
	input := io.MultiReader(strings.NewReader("/raw\n"), strings.NewReader(text[:len(text)/2]), onRead(func() {
		if err := stopped.Signal(syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
	}), strings.NewReader(text[len(text)/2:]))
	sent := p.nc(p.first, input)
	// On disk is on disk: nothing may be lost from here on.
	if err := p.kill(syscall.SIGKILL); err != nil && err.Error() != "signal: killed" {
		t.Fatal(err)
	}
	stopped.Signal(syscall.SIGCONT)
	for i, l := range listeners {
		ins[i].Close()
		l.Wait()
	}
	want := said(sent)
	if len(want) != lines {
		t.Fatalf("the sender got %d lines of %d", len(want), lines)
	}
	for i, out := range outs[:4] {
		// The end of the connection may have cut what was on the way.
		if got := said(out.String()); !prefix(got, want) || len(got) < lines*9/10 {
			t.Errorf("listener %d: %d lines, or they differ", i, len(got))
		}
	}
	if got := said(outs[4].String()); !prefix(got, want) {
		t.Error("the stopped listener saw other lines")
	}
	p.start()
	if got := said(p.nc(p.first, strings.NewReader("/since 0\n"))); !equal(last(got, lines), want) {
		t.Errorf("/since after the restart gives %d lines, or they differ", len(got))
	}
	if got := said(p.nc(p.first, strings.NewReader("/history 5000\n"))); !equal(last(got, 5000), want[lines-5000:]) {
		t.Error("/history after the restart differs")
	}
}

// onRead is a reader of nothing that calls a function when it is reached.
type onRead func()

func (f onRead) Read([]byte) (int, error) { f(); return 0, io.EOF }

func said(text string) []string {
	var out []string
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "<") && strings.HasSuffix(l, "\n") {
			out = append(out, l)
		}
	}
	return out
}

func last(l []string, n int) []string { return l[max(0, len(l)-n):] }

func prefix(a, b []string) bool { return len(a) <= len(b) && equal(a, b[:len(a)]) }

func equal(a, b []string) bool { return strings.Join(a, "") == strings.Join(b, "") && len(a) == len(b) }

// A second server on the same database, or on the same port, is told what is
// wrong and ends.
func TestSecondServer(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	cmd := exec.Command(os.Args[0], "serve", "--config", filepath.Join(p.dir, "config.toml"))
	cmd.Env = append(os.Environ(), asRoomd+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "is in use by") {
		t.Fatalf("%v: %s", err, out)
	}
	other := newProcess(t, "")
	other.master = p.master
	cfg := filepath.Join(other.dir, "config.toml")
	cmd = exec.Command(os.Args[0], "serve", "--config", cfg, fmt.Sprint(p.master))
	cmd.Env = append(os.Environ(), asRoomd+"=1")
	out, err = cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("port %d is in use by another program", p.master)) {
		t.Fatalf("%v: %s", err, out)
	}
}

// Out of descriptors the server says busy and goes on afterwards.
func TestOutOfDescriptors(t *testing.T) {
	p := newProcess(t, "server.create = [\"lobby\"]")
	// The limit is lowered only after the start, so that connections are
	// not lowered to it.
	p.start()
	setDescriptorLimit(t, p.cmd.Process.Pid, 60)
	var conns []net.Conn
	busy := false
	for range 100 {
		c := p.dial(p.first)
		conns = append(conns, c)
		l, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && strings.Contains(l, "busy") {
			busy = true
			break
		}
	}
	if !busy {
		t.Fatal("nobody was told busy")
	}
	for _, c := range conns {
		c.Close()
	}
	await(t, func() string {
		c := p.dial(p.first)
		defer c.Close()
		if l, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(l, "you are") {
			return fmt.Sprintf("it does not accept any more: %q, %v", l, err)
		}
		return ""
	})
}
