package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// Keys and prints that the line editor's library cannot stand, at widths that it
// cannot stand: the program goes on at that width, does what it is told next, and
// ends when it is told to, without a panic and without spinning.
func TestEditorSurvives(t *testing.T) {
	type row struct {
		name    string
		columns int
		keys    []string
		talk    bool // lines are printed all the time
	}
	prompt := map[string]int{"admin": len("roomd> "), "serve": len("roomd> "), "chat": len("lobby n10> ")}
	rows := func(program string) (rows []row) {
		complete := "room "
		if program == "chat" {
			complete = "/join "
		}
		for name, key := range map[string]string{"Down": "\x1b[B", "Ctrl-A": "\x01", "Ctrl-E": "\x05"} {
			rows = append(rows, row{"Tab Tab " + name, 30, []string{complete, "\t", "\t", key}, false})
		}
		rows = append(rows, row{"Tab Tab Ctrl-K", 80, []string{complete, "\t", "\t", "\x0b"}, false},
			row{"a print during a completion", 80, slices.Repeat([]string{complete, "\t", "\t", "\x1b[B", "\x01", "\x0b"}, 6), true})
		for i, columns := range []int{1, prompt[program], 30, 80, 200} {
			if program != "admin" && i%2 == 0 {
				continue // the library is the same
			}
			for name, key := range map[string]string{"a letter": "y", "Backspace": "\x7f"} {
				rows = append(rows, row{"Ctrl-T, then " + name, columns, []string{"x", "\x14", key}, false})
			}
		}
		rows = append(rows, row{"Ctrl-T, then Enter", 80, []string{"x", "\x14", "\r"}, false}, row{"Ctrl-T, then Ctrl-B", 80, []string{"x", "\x14", "\x02"}, false})
		for name, key := range map[string]string{"Left": "\x1b[D", "Ctrl-B": "\x02", "Alt-b": "\x1bb"} {
			for _, columns := range []int{0, 1, prompt[program]} {
				rows = append(rows, row{name, columns, []string{"abc def", key, key}, false})
			}
		}
		return rows
	}
	names := fmt.Sprintf(`server.create = ["lobby", %q, %q, %q]`, longRoom, longRoom[1:]+"2", longRoom[2:]+"33")
	for program := range prompt {
		t.Run(program, func(t *testing.T) {
			t.Parallel()
			p, f := newProcess(t, names), &terminalFuzz{t: t}
			var socket, tcp string
			if program != "serve" {
				p.start()
				socket = slowRelay(t, "unix", filepath.Join(p.dir, "roomd.sock"), 50*time.Millisecond)
				tcp = slowRelay(t, "tcp", fmt.Sprintf("127.0.0.1:%d", p.master), 50*time.Millisecond)
			}
			for i, r := range rows(program) {
				t.Run(fmt.Sprintf("%s in %d columns", r.name, r.columns), func(t *testing.T) {
					do := "say lobby "
					var s *terminalPair
					switch program {
					case "serve":
						s = p.startConsole(r.columns, 24, nil)
						f.inFront(filepath.Join(p.dir, "roomd.sock"))
						defer os.Remove(filepath.Join(p.dir, "roomd.sock"))
					case "admin":
						s = p.atTerminal(r.columns, 24, nil, "admin", "--socket", socket)
					case "chat":
						s, do = p.atTerminal(r.columns, 24, nil, "chat", "lobby", "--nick", fmt.Sprint("n", 10+i), "--server", tcp), ""
					}
					s.t = t
					s.expect("\x1b[?2004h")
					c := p.visit(p.first)
					c.until(t, "you are")
					if r.talk {
						s.types("watch lobby\r")
						talks, over := make(chan struct{}), make(chan struct{})
						go func() {
							defer close(talks)
							v := p.visit(p.first)
							for tick := time.NewTicker(time.Millisecond); ; {
								select {
								case <-tick.C:
									fmt.Fprintln(v, "talk")
								case <-over:
									v.Close()
									return
								}
							}
						}()
						defer func() { close(over); <-talks }()
					}
					// Each key is taken before the next comes.
					eventually(t, "raw", func() bool { return s.termios() != s.before })
					for _, key := range append(r.keys, "\x05", "\x15", fmt.Sprintf("%sstill here %d\r", do, i)) {
						s.types(key)
						eventually(t, fmt.Sprintf("%q is taken", key), s.taken)
					}
					c.until(t, fmt.Sprint("still here ", i))
					c.Close()
					s.cmd.Process.Signal(syscall.SIGTERM)
					if err := s.ends(6 * time.Second); err != nil {
						t.Errorf("%v: %s", err, s.crash())
					}
					if s.cpu() > 2*time.Second {
						t.Errorf("%v of processor time", s.cpu())
					}
					s.balanced()
				})
			}
		})
	}
}
