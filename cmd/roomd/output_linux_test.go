package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomd/cmd/roomd/roomdtest"
)

// Without anybody who reads the log the server serves, says so, and stops in
// time: whoever read it has gone, or hangs.
func TestLogReaderGone(t *testing.T) {
	for _, how := range []string{"gone", "hangs"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			port := nextPort.Take(1) - 1
			p := newProcess(t, fmt.Sprintf("log.level = \"debug\"\nmetrics.listen = \"127.0.0.1:%d\"", port))
			r, w := roomdtest.NarrowPipe(t)
			p.log.Close()
			p.log = w
			p.start()
			w.Close()
			if how == "gone" {
				r.Close()
			}
			// Each leaves a line in the log: more than the pipe holds.
			for range 60 {
				v := p.visit(p.first)
				v.until(t, "you are")
				fmt.Fprintln(v, "/quit")
				if _, err := io.Copy(io.Discard, v.in); err != nil {
					t.Fatal("who leaves is not closed:", err)
				}
				v.Close()
			}
			m := p.visit(p.master)
			fmt.Fprint(m, "CREATE dev\nDELETE dev\nQUIT\n")
			m.until(t, "OK dev ")
			m.until(t, "OK dev")
			m.until(t, "OK bye")
			_, errs, status := p.admin("doctor")
			if status != exitOK {
				t.Errorf("doctor: %d, %s", status, errs)
			}
			var st struct {
				Dropped uint64 `json:"log_dropped"`
				Waits   string `json:"log_waits"`
			}
			eventually(t, "the status says it", func() bool {
				out, errs, status := p.admin("status", "--json")
				if err := json.Unmarshal([]byte(out), &st); err != nil || status != exitOK {
					t.Fatal(status, errs, err)
				}
				return how == "gone" && st.Dropped > 50 || how == "hangs" && st.Waits != ""
			})
			about := false
			for _, f := range findings(t, p) {
				about = about || f.About == "log"
			}
			if !about {
				t.Error("doctor does not know it")
			}
			text, _ := roomdtest.Get(t, fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
			if counted := !strings.Contains(text, `roomd_output_lines_dropped_total{output="log"} 0`); counted != (how == "gone") {
				t.Errorf("the metrics say that lines were dropped: %v", counted)
			}
			began := time.Now()
			if err := p.kill(syscall.SIGTERM); err != nil {
				t.Error("SIGTERM:", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("SIGTERM took %v", took)
			}
		})
	}
}

type found struct{ Level, About, Finding string }

// findings is what doctor says.
func findings(t *testing.T, p *process) (all []found) {
	t.Helper()
	out, errs, status := p.admin("doctor", "--json")
	if err := json.Unmarshal([]byte(out), &all); err != nil || status != exitOK {
		t.Fatal(status, errs, err)
	}
	return all
}

// A reader that comes back is told how many lines it has missed.
func TestLogReaderComesBack(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	name := filepath.Join(p.dir, "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(how int) *os.File {
		f, err := os.OpenFile(name, how, 0)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	first := open(os.O_RDONLY | syscall.O_NONBLOCK)
	p.log.Close()
	p.log = open(os.O_WRONLY)
	p.start()
	first.Close()
	v := p.visit(p.master)
	fmt.Fprint(v, "CREATE one\nCREATE two\n")
	v.until(t, "OK one")
	v.until(t, "OK two")
	again := open(os.O_RDONLY | syscall.O_NONBLOCK)
	defer again.Close()
	fmt.Fprint(v, "CREATE three\n")
	v.until(t, "OK three")
	in := visitor{in: bufio.NewReader(again)}
	in.until(t, "room=three")
	if l := in.until(t, "lines="); !strings.HasSuffix(l, "lines=2\n") {
		t.Errorf("%q", l)
	}
}

// What a server prints for the person at its terminal is not waited for either,
// nor is an error at the start, nor the service manager.
func TestNobodyIsWaitedFor(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	r, w := roomdtest.NarrowPipe(t)
	fill(t, w)
	cmd := p.roomd("serve", "--config", filepath.Join(p.dir, "config.toml"))
	cmd.Stdout, cmd.Stderr = w, p.log
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(p.dir, "manager")})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	busy, err := net.Dial("unixgram", filepath.Join(p.dir, "manager"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	busy.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	for err == nil { // until nothing more goes in
		_, err = busy.Write([]byte("STATUS=x"))
	}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+filepath.Join(p.dir, "manager"), "WATCHDOG_USEC=300000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is ready", func() bool { return p.logged(`msg="server ready"`) })
	p.visit(p.first).until(t, "you are")
	// A manager that reads again is told that the server is ready.
	(&standIn{t: t, conn: manager}).until("READY=1")
	began := time.Now()
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error("SIGTERM:", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("SIGTERM took %v", took)
	}
	// A start that fails says so on standard error, which nobody reads.
	cmd = p.roomd("serve", "--config", filepath.Join(p.dir, "nothing.toml"))
	cmd.Stderr = w
	began = time.Now()
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != exitFailed {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the failed start took %v", took)
	}
	r.Close()
}

// fill fills a pipe.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	w.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := w.Write(make([]byte, 8192)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the pipe takes everything:", err)
	}
	w.SetWriteDeadline(time.Time{})
}

// What a console at a terminal that nobody reads does not print is counted, too.
func TestConsoleDropsAreCounted(t *testing.T) {
	t.Parallel()
	p := newProcess(t, "")
	s := p.startConsole(80, 24, nil)
	s.expect("\x1b[?2004h")
	s.types("watch lobby\r")
	s.expect("(Ctrl-C ends this view)")
	s.hold(true)
	c := p.visit(p.first)
	c.until(t, "you are")
	for i := range 2500 { // a terminal takes some 64 KiB, and the console a thousand lines
		fmt.Fprintf(c, "line %d %s\n", i, strings.Repeat("x", 200))
	}
	c.until(t, "line 2499 ")
	eventually(t, "it is counted", func() bool {
		out, _, _ := p.admin("status", "--json")
		var st struct {
			Dropped uint64 `json:"log_dropped"`
		}
		return json.Unmarshal([]byte(out), &st) == nil && st.Dropped > 0
	})
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.ends(patience); err != nil {
		t.Error(err, s.crash())
	}
}
