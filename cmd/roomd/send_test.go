package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomd/netsvc/client"
)

// saying collects what a process says.
type saying struct {
	*exec.Cmd
	in        io.WriteCloser
	out, errs safeBuffer
}

func (p *process) begin(args ...string) *saying {
	p.t.Helper()
	s := &saying{Cmd: p.roomd(args...)}
	s.Stdout, s.Stderr = &s.out, &s.errs
	var err error
	if s.in, err = s.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if s.ProcessState == nil {
			s.Process.Kill()
			s.Wait()
		}
	})
	return s
}

// end closes the input, waits, and returns the status.
func (s *saying) end() int {
	s.in.Close()
	s.Wait()
	return s.ProcessState.ExitCode()
}

// operates carries out a command of the console.
func (p *process) operates(line string) {
	p.t.Helper()
	if out, errs, status := p.admin(strings.Fields(line)...); status != exitOK {
		p.t.Fatal(line, ":", out, errs)
	}
}

// A server that is being started is waited for, by send and by tail.
func TestWaitsForTheServer(t *testing.T) {
	p := newProcess(t, fast)
	mouth := p.begin("send", "lobby", "hello", "there")
	ear := p.begin("tail", "lobby", "--since", "0")
	for _, s := range []*saying{mouth, ear} {
		eventually(t, "it tries again", func() bool { return strings.Contains(s.errs.String(), "trying again") })
	}
	p.start()
	if status := mouth.end(); status != exitOK {
		t.Error(status, mouth.errs.String())
	}
	eventually(t, "the line is printed", func() bool { return strings.Contains(ear.out.String(), "> hello there\n") })
	ear.Process.Signal(syscall.SIGTERM)
	if status := ear.end(); status != exitOK {
		t.Error(status, ear.errs.String())
	}
}

// For --timeout, and no longer; what does not pass is not waited for.
func TestDoesNotWaitForEver(t *testing.T) {
	p := newProcess(t, fast)
	for _, args := range [][]string{{"send", "lobby", "hello"}, {"tail", "lobby"}} {
		began := time.Now()
		_, errs, status := p.does("", append(args, "--timeout", "300ms")...)
		if took := time.Since(began); status != exitFailed || took < 300*time.Millisecond || took > patience/2 || !strings.Contains(errs, "connection refused") {
			t.Errorf("%v: %d %v %q", args, status, took, errs)
		}
	}
	p.start()
	for _, args := range []string{"send nowhere hello", "tail nowhere", "send lobby hello --nick a*b"} {
		if _, errs, status := p.does("", strings.Fields(args)...); status != exitFailed || strings.Contains(errs, "trying again") {
			t.Errorf("%v: %d %q", args, status, errs)
		}
	}
}

// A feed goes on through a mute and a room that is read-only for a while: every
// line is there, in order.
func TestFeedThroughRefusals(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	ear := p.join("lobby", client.JoinOptions{})
	feed := p.begin("send", "lobby", "--nick", "feed")
	var want []string
	say := func(n int) {
		for range n {
			want = append(want, fmt.Sprint("line ", len(want)))
			fmt.Fprintln(feed.in, want[len(want)-1])
		}
	}
	hear := func() {
		t.Helper()
		for {
			if ev := nextEvent(t, ear); ev.Stored() && ev.Text == want[len(want)-1] {
				return
			}
		}
	}
	say(100)
	hear()
	p.operates("mute feed --for 1s")
	say(100)
	hear()
	p.operates("set lobby read-only on")
	say(100)
	eventually(t, "it is told", func() bool { return strings.Contains(feed.errs.String(), "read-only; trying again") })
	p.operates("set lobby read-only off")
	hear()
	if status := feed.end(); status != exitOK {
		t.Error(status, feed.errs.String())
	}
	sameLines(t, p.texts("lobby"), want)
}

func nextEvent(t *testing.T, r *client.Room) client.Event {
	t.Helper()
	ev, err := r.Next(soonEnough(t))
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

// What is refused for longer than --timeout is left out, and said which it was;
// what comes later is sent.
func TestFeedThroughALongRefusal(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	ear := p.join("lobby", client.JoinOptions{})
	feed := p.begin("send", "lobby", "--nick", "feed", "--timeout", "1s")
	fmt.Fprintln(feed.in, "one")
	for ev := nextEvent(t, ear); !ev.Stored(); ev = nextEvent(t, ear) {
	}
	p.operates("set lobby read-only on")
	io.WriteString(feed.in, "two\nthree\n\nfour\n")
	eventually(t, "it gives one up", func() bool { return strings.Contains(feed.errs.String(), ": not sent") })
	p.operates("set lobby read-only off")
	io.WriteString(feed.in, "five\n")
	status := feed.end()
	texts, errs := p.texts("lobby"), feed.errs.String()
	if status != exitFailed || texts[0] != "one" || texts[len(texts)-1] != "five" || !strings.Contains(errs, "in the room") {
		t.Fatal(status, texts, errs)
	}
	// Those that are missing are named: the blank one, line 4, is none.
	numbers := map[string]string{"two": "2", "three": "3", "four": "5"}
	missing := 0
	for text, number := range numbers {
		if !strings.Contains(strings.Join(texts, " "), text) {
			missing++
			if last := errs[strings.LastIndex(errs, "roomd: line"):]; !strings.Contains(last, number) && !strings.Contains(last, "2-3") {
				t.Errorf("%s is missing, and not line %s: %s", text, number, errs)
			}
		}
	}
	if missing == 0 || len(texts)+missing != 5 {
		t.Error(missing, texts)
	}
}

// Lines that are too long, in every way; the others are sent.
func TestLongLines(t *testing.T) {
	p := newProcess(t, fast+"\nlimits.line_bytes = 100")
	p.start()
	x := func(n int) string { return strings.Repeat("x", n) }
	in := "a\n" + x(100) + "\n" + x(250) + "\nb\n" + x(101) + "\n"
	for _, c := range []struct {
		long   string
		want   []string
		status int
		errs   string
	}{
		{"skip", []string{"a", x(100), "b"}, exitFailed, "line 3: not sent: the line has 250 bytes, the limit is 100"},
		{"cut", []string{"a", x(100), x(100), "b", x(100)}, exitOK, "lines 3 and 5: cut"},
		{"split", []string{"a", x(100), x(100), x(100), x(50), "b", x(100), "x"}, exitOK, ""},
		{"fail", []string{"a", x(100)}, exitFailed, "line 3: not sent"},
	} {
		if _, errs, status := p.does("", "create", c.long); status != exitOK {
			t.Fatal(errs)
		}
		_, errs, status := p.does(in, "send", c.long, "--long", c.long)
		if status != c.status || !strings.Contains(errs, c.errs) || c.errs == "" && errs != "" {
			t.Errorf("%s: %d %q", c.long, status, errs)
		}
		sameLines(t, p.texts(c.long), c.want)
	}
	if _, errs, status := p.does("a\n", "send", "lobby", "--long", "never"); status != exitUsage || !strings.Contains(errs, "split") {
		t.Error(status, errs)
	}
}

// A line is as long as its bytes are, whatever they are, as with nc.
func TestLineBytesAreTheServers(t *testing.T) {
	p := newProcess(t, fast+"\nlimits.line_bytes = 100")
	p.start()
	for _, c := range []struct {
		line, kept string
	}{
		{strings.Repeat("\xe4", 100), strings.Repeat("\ufffd", 100)}, // Latin-1
		{strings.Repeat("\xff", 100), strings.Repeat("\ufffd", 100)}, // IAC, in telnet
		{strings.Repeat("\x7f\b", 50), strings.Repeat("\ufffd", 100)},
		{"a\rb" + strings.Repeat("ä", 48) + "!", "a\ufffdb" + strings.Repeat("ä", 48) + "!"},
		{"/" + strings.Repeat("x", 98), "/" + strings.Repeat("x", 98)},
	} {
		if _, errs, status := p.does(c.line+"\n", "send", "lobby", "--long", "fail"); status != exitOK {
			t.Errorf("%q: %d %q", c.line, status, errs)
		}
		if texts := p.texts("lobby"); len(texts) == 0 || texts[len(texts)-1] != c.kept {
			t.Errorf("%q is %q", c.line, texts)
		}
	}
}

// A byte order mark at the beginning of what is piped in is no part of the first
// line. One in the middle is.
func TestByteOrderMarkOfAFile(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	var want []string
	for _, words := range [][]string{{"send", "lobby"}, {"chat", "lobby"}} {
		if _, errs, status := p.does("\ufeffhello\n\ufeffagain\n", words...); status != exitOK {
			t.Errorf("%q: %d %s", words, status, errs)
		}
		want = append(want, "hello", "\ufffdagain")
		if got := p.texts("lobby"); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
}

// safeBuffer is written and read at the same time.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func soonEnough(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// Why a line is not sent is said once, also if it was waited for.
func TestRefusedLineIsSaidOnce(t *testing.T) {
	t.Parallel()
	p := newProcess(t, fast)
	p.start()
	p.operates("set lobby read-only on")
	for _, c := range []struct {
		in     string
		args   []string
		reason string
	}{
		{"", []string{"send", "lobby", "hello", "--timeout", "1200ms"}, "the room is read-only"},
		{"one\n", []string{"send", "lobby", "--timeout", "1200ms"}, "the room is read-only"},
		{"", []string{"send", "lobby", strings.Repeat("x", 9000)}, "the line has 9000 bytes"},
	} {
		_, errs, status := p.does(c.in, c.args...)
		if status != exitFailed || strings.Count(errs, "not sent") != 1 || !strings.Contains(errs, "line 1: not sent: "+c.reason) || !strings.Contains(errs, "0 lines are in the room, 1 not") {
			t.Errorf("%.60q: %d %q", c.args, status, errs)
		}
	}
}
