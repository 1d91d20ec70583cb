package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
	"roomd/netsvc/client"
)

// fast is a configuration that does not hold members to a rate.
const fast = "limits.lines_per_second = 1000000.0\nlimits.burst = 1000000\nhistory.lines = 300000"

// soak is for the long forms of tests: make soak.
var soak = os.Getenv("ROOMD_SOAK") != ""

// roomd is a command line of a process of its own, in the server's folder.
func (p *process) roomd(args ...string) *exec.Cmd {
	p.t.Helper()
	self, err := os.Executable()
	if err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), asRoomd+"=1", "HOME="+p.dir, p.configured())
	return cmd
}

// does carries out a command line in this process, which is faster, and returns
// what it printed, and its exit status.
func (p *process) does(in string, args ...string) (out, errs string, status int) {
	p.t.Helper()
	var o, e bytes.Buffer
	if !slices.Contains(args, "--help") {
		args = append(args, "--config", filepath.Join(p.dir, "config.toml"))
	}
	status = run(args, strings.NewReader(in), &o, &e)
	return o.String(), e.String(), status
}

func (p *process) client() *client.Client {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := client.Dial(ctx, fmt.Sprintf("127.0.0.1:%d", p.master), client.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (p *process) join(room string, o client.JoinOptions) *client.Room {
	p.t.Helper()
	c := p.client()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := c.Join(ctx, room, o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { r.Close() })
	return r
}

// texts reads a whole room.
func (p *process) texts(room string) (texts []string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r := p.join(room, client.JoinOptions{From: client.After(0)})
	defer r.Close()
	for ev := range r.Events(ctx) {
		if ev.Type == client.Live {
			return texts
		}
		if ev.Stored() {
			texts = append(texts, ev.Text)
		}
	}
	p.t.Fatal("the room has no end:", r.Err())
	return nil
}

func sameLines(t *testing.T, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%d lines, not %d; from line %d on they are\n%q, not\n%q", len(got), len(want), i,
				got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
		}
	}
}

func TestRemoteCommands(t *testing.T) {
	p := newProcess(t, fast)
	p.start()
	for _, step := range []struct {
		in     string
		args   string
		out    string // a pattern of all that is printed
		errs   string // a part
		status int
	}{
		{"", "list", `ROOM   PORT   MEMBERS  TOPIC\nlobby  \d+ +0 +\n`, "", 0},
		{"", "create dev", `dev .* \d+\n.*: [0-9a-f]{32}\n`, "", 0},
		{"", "create dev", "", "a room named dev is already there", 1},
		{"", "create den --password secret --json", `{"name":"den","port":\d+,"key":"[0-9a-f]{32}"}\n`, "", 0},
		{"", "create", "", "Try 'roomd create --help'", 2},
		{"", "send dev --nick ann hello  there", "", "", 0},
		{"one\n\n  two\r\n/three", "send dev --nick bob", "", "", 0},
		{"", "tail dev -n 2 --follow=false", `\d{4}-.* <bob>   two\n.* <bob> /three\n`, "", 0},
		{"", "tail dev --since 3 --follow=false --json", `{"seq":4,"time":"[^"]+","type":"message","from":"bob","text":"/three"}\n`, "", 0},
		{"", "tail dev --since 1h --follow=false", `(.*\n){4}`, "", 0},
		{"", "tail dev --since 0s --follow=false", "", "", 0},
		{"", "tail dev --since yesterday", "", "neither a sequence number (812) nor a time", 2},
		{"", "tail nowhere", "", "there is no room named nowhere", 1},
		{"", "send dev " + strings.Repeat("x", 5000), "", "line 1: not sent: the line has 5000 bytes", 1},
		{"a\n" + strings.Repeat("x", 5000) + "\nb\n", "send dev", "", "in the room", 1},
		{"", "send", "", "ROOM", 2},
		{"", "send den --nick ann hello", "", "give it in the variable ROOMD_PASSWORD", 1},
		{"", "send den --nick ann --password secret hello", "", "", 0},
		{"", "tail den --follow=false --password secret", `.* <ann> hello\n`, "", 0},
		{"", "list d* --json", `\[{"name":"den",.*},{"name":"dev",.*}\]\n`, "", 0},
		{"", "list nowhere", "no rooms\n", "", 0},
		{"hello\n/me waves\n//x\n/nosuch\n/topic lunch\n", "chat dev --nick carl", `(?s).*<carl> hello\n.*\* carl waves\n.*<carl> /x\n.*carl set the topic: lunch\n`, "", 0},
		{"hello\n", "chat nowhere", "", "there is no room named nowhere", 1},
		{"y\n", "delete dev", "", "--yes", 2},
		{"", "list dev", "ROOM .*\ndev .*\n", "", 0},
		{"", "delete dev --yes", "", "", 0},
		{"", "delete dev", "", "there is no room named dev", 1},
		{"", "delete dev --yes", "", "there is no room named dev", 1},
		{"", "list --server 127.0.0.1:1", "", "connection refused", 1},
		{"", "list --tls", "", "TLS", 1},
		{"", "list --ca main.go", "", "main.go", 1},
	} {
		out, errs, status := p.does(step.in, strings.Split(step.args, " ")...)
		name := step.args[:min(60, len(step.args))]
		if status != step.status || !regexp.MustCompile("^"+step.out+"$").MatchString(out) || !strings.Contains(errs, step.errs) || (step.errs == "" && errs != "") {
			t.Errorf("%s: %d\n%s\n%s", name, status, out, errs)
		}
	}
	for _, c := range []string{"chat", "send", "tail", "list", "create", "delete"} {
		if out, _, status := p.does("", c, "--help"); status != 0 || !strings.Contains(out, "Examples:") || !strings.Contains(out, "--server") {
			t.Error(c, out)
		}
	}
}

// A long file is sent while the server is killed again and again: the room has
// exactly its lines.
func TestSendThroughRestarts(t *testing.T) {
	lines := 6000
	if soak {
		lines = 100000
	}
	p := newProcess(t, fast)
	p.start()
	var want []string
	for i := range lines {
		want = append(want, fmt.Sprint("line ", i/2, strings.Repeat(" more", i%9))) // neighbours are alike at times
	}
	ear := p.join("lobby", client.JoinOptions{})
	cmd := p.roomd("send", "lobby")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Who hears lags behind who says: the last line waits for the last restart.
	over := make(chan bool)
	go func() {
		defer in.Close()
		io.WriteString(in, strings.Join(want[:lines-1], "\n")+"\n")
		<-over
		io.WriteString(in, want[lines-1]+"\n")
	}()
	var errs strings.Builder
	back := make(chan bool)
	go func() {
		defer close(back)
		for l := bufio.NewScanner(said); l.Scan(); {
			errs.WriteString(l.Text() + "\n")
			if strings.Contains(l.Text(), "the connection is back") {
				back <- true
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	heard := 0
	for kills := 0; heard < lines; {
		ev, err := ear.Next(ctx)
		if err != nil {
			t.Fatal(heard, err)
		}
		if ev.Stored() {
			if ev.Text != want[heard] {
				t.Fatalf("heard %q, not %q", ev.Text, want[heard])
			}
			heard++
		}
		if kills < 3 && heard == (kills+1)*lines/4 {
			p.kill(syscall.SIGKILL)
			p.start()
			select {
			case <-back:
			case <-time.After(patience):
				t.Fatal("the sender does not come back")
			}
			if kills++; kills == 3 {
				close(over)
			}
		}
	}
	for range back {
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, errs.String())
	}
	t.Logf("%d lines and 3 restarts in %v\n%s", lines, time.Since(began).Round(time.Millisecond), errs.String())
	sameLines(t, p.texts("lobby"), want)
	if n := strings.Count(errs.String(), "the connection is back"); n != 3 {
		t.Errorf("back %d times: %s", n, errs.String())
	}
}

// A job with a cursor is killed at random moments: its output is every line once
// or, at a kill, the last line again.
func TestCursorThroughKills(t *testing.T) {
	kills := 4
	if soak {
		kills = 50
	}
	p := newProcess(t, fast)
	p.start()
	mouth := p.join("lobby", client.JoinOptions{Nick: "mouth"})
	ctx, cancel := context.WithCancel(context.Background())
	said := make(chan int)
	go func() {
		n := 0
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			for range 20 {
				if _, err := mouth.Post(ctx, strconv.Itoa(n)); err == nil {
					n++
				}
			}
			<-tick.C
		}
		said <- n
	}()
	out, err := os.Create(filepath.Join(p.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var ends []int64 // where a kill was
	args := []string{"tail", "lobby", "--json", "--cursor", filepath.Join(p.dir, "cursor")}
	for range kills {
		cmd := p.roomd(args...)
		cmd.Stdout = out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		if n := len(ends); n > 0 {
			size = ends[n-1]
		}
		eventually(t, "a line is printed", func() bool { st, err := out.Stat(); return err == nil && st.Size() > size })
		timer := time.NewTimer(rand.N(40 * time.Millisecond))
		<-timer.C
		cmd.Process.Kill()
		cmd.Wait()
		st, err := out.Stat()
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, st.Size())
	}
	cancel()
	n := <-said
	cmd := p.roomd(append(args, "--follow=false")...)
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	next, again, at := 0, 0, int64(0)
	for l := range strings.Lines(string(text)) {
		var ev struct{ Text string }
		if err := json.Unmarshal([]byte(l), &ev); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if len(ends) > 0 && at >= ends[0] {
			ends = ends[1:]
			if ev.Text == strconv.Itoa(next-1) {
				again++
				next--
			}
		}
		if ev.Text != strconv.Itoa(next) {
			t.Fatalf("%q, not %d", ev.Text, next)
		}
		next++
		at += int64(len(l))
	}
	t.Logf("%d kills, %d lines, %d of them twice", kills, next, again)
	if all := p.texts("lobby"); next != len(all) || next < n-64 {
		t.Fatalf("%d lines printed, %d said, %d in the room", next, n, len(all))
	}
	if out, _, status := p.does("", append(args, "--follow=false")...); out != "" || status != 0 {
		t.Error("something is left:", out)
	}
}

// Two jobs with one cursor would both do the work.
func TestCursorIsForOne(t *testing.T) {
	p := newProcess(t, "")
	p.start()
	p.does("", "send", "lobby", "hello")
	cursor := filepath.Join(p.dir, "cursor")
	cmd := p.roomd("tail", "lobby", "--cursor", cursor)
	_, out := roomdtest.Begin(t, cmd)
	if _, err := out.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := p.does("", "tail", "lobby", "--cursor", cursor); status != 1 || !strings.Contains(errs, "another process") {
		t.Error(status, errs)
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error("a signal is a good end:", err)
	}
	if _, _, status := p.does("", "tail", "lobby", "--cursor", cursor, "--follow=false"); status != 0 {
		t.Error("nobody has it any more")
	}
	if err := os.WriteFile(cursor, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, status := p.does("", "tail", "lobby", "--cursor", cursor); status != 1 || !strings.Contains(errs, "sequence number") {
		t.Error(status, errs)
	}
}

// badServer says things that harm terminals, wherever it may say anything.
func badServer(t *testing.T) (addr string) {
	t.Helper()
	const bad = "\x1b[2J\u009b31m\u202e\x07"
	master, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	room, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	serve := func(ln net.Listener, greeting string, answer func(line string) string) {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer c.Close()
				io.WriteString(c, greeting)
				for in := bufio.NewScanner(c); in.Scan(); {
					if a := answer(in.Text()); a == "" {
						return
					} else if _, err := io.WriteString(c, a); err != nil {
						return
					}
				}
			})
		}
	}
	port := room.Addr().(*net.TCPAddr).Port
	tasks.Go(func() {
		serve(master, "", func(line string) string {
			switch verb, rest, _ := strings.Cut(line, " "); {
			case verb == "/help":
				return "ERR bad-request no" + bad + "\n"
			case verb == "LIST":
				return fmt.Sprintf("OK 1\nlob%sby 1 1 topic%s\n", bad, bad)
			case verb == "CREATE":
				return fmt.Sprintf("OK %s%s 1 key%s\n", rest, bad, bad)
			case verb == "JOIN" && rest == "refused":
				return "ERR no-room" + bad + " there" + bad + "\n"
			case verb == "JOIN" && rest == "full":
				return fmt.Sprintf("OK full 1%s\n", bad)
			case verb == "JOIN":
				return fmt.Sprintf("OK %s%s %d 1\n", rest, bad, port)
			}
			return "no" + bad + "\n"
		})
	})
	esc, _ := json.Marshal(bad)
	text := string(esc)
	tasks.Go(func() {
		serve(room, "* lobby"+bad+": 1 here, you are "+bad+"\n", func(line string) string {
			command, _, _ := strings.Cut(strings.TrimPrefix(line, "/"), " ")
			switch {
			case !strings.HasPrefix(line, "/"):
				return `{"type":"error","command":"say","code":` + text + `,"text":` + text + "}\n"
			case command == "json":
				return `{"type":"ok","command":"json"}` + "\n"
			case command == "ping":
				var b strings.Builder
				for i, kind := range []string{"message", "action", "topic", "private", "join", "leave", "nick", "notice", "new"} {
					fmt.Fprintf(&b, `{"seq":%d,"time":"2026-11-24T12:00:00Z","type":"%s","from":%s,"to":%s,"nick":%s,"text":%s}`+"\n", i+1, kind, text, text, text, text)
				}
				return b.String() + `{"seq":99,"type":"pong"}` + "\n"
			case command == "nick" || command == "since" || command == "history":
				return `{"type":"ok","command":"` + command + `","oldest":7,"text":` + text + "}\n"
			case command == "who":
				return `{"type":"ok","command":"who","count":1}` + "\n" + `{"type":"member","nick":` + text + "}\n"
			}
			return `{"type":"error","command":"` + command + `","code":` + text + `,"text":` + text + "}\n"
		})
	})
	t.Cleanup(func() {
		master.Close()
		room.Close()
		tasks.Wait()
	})
	return master.Addr().String()
}

// Nothing that a server says reaches a terminal as it is, whoever runs it.
func TestBadServer(t *testing.T) {
	addr := badServer(t)
	for _, args := range []string{
		"list", "list --json", "create x", "create x --json", "delete x", "tail lobby --since 5 --follow=false", "tail lobby --json --follow=false",
		"tail refused", "tail full", "send lobby hello", "send refused hello", "chat lobby", "chat refused", "chat full",
	} {
		var out, errs bytes.Buffer
		in := strings.NewReader("/who\n/rooms\n/topic\n/search \x1b\n/create y\n/msg a b\n/me waves\nhello\n")
		status := run(append(strings.Split(args, " "), "--server", addr), in, &out, &errs)
		if text := out.String() + errs.String(); strings.ContainsAny(text, "\x1b\u009b\u202e\x07") || text == "" && status == 0 {
			t.Errorf("%s: %d %q", args, status, text)
		}
	}
}
