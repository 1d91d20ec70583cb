package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	stormTime = flag.Duration("storm", 2*time.Second, "how long TestStorm goes on")
	stormSeed = flag.Uint64("storm.seed", 0, "what TestStorm does; 0: something else each time")
)

// storm asks a server for everything at any moment.
type storm struct {
	*process
	*rand.Rand
	follows bool         // the manager follows MAINPID
	main    atomic.Int64 // the main process, as far as the manager knows
	taken   int          // a port that somebody else has
	ports   [2]int       // of the master
	done    []string
	ann     *member // of the lobby, as long as the server runs
	said    int
}

// Reloads, upgrades, signals and stops in any order and at any moment: at the end
// there is one server, each port that it says it has is open and no other, and
// after a stop no process is left.
func TestStorm(t *testing.T) {
	for _, follows := range []bool{true, false} {
		t.Run(fmt.Sprintf("followed=%v", follows), func(t *testing.T) {
			t.Parallel()
			seed := *stormSeed
			if seed == 0 {
				seed = rand.Uint64()
			}
			t.Logf("-storm.seed %d", seed)
			p := newProcess(t, `server.create = ["lobby", "den"]`)
			thief, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer thief.Close()
			s := &storm{process: p, Rand: rand.New(rand.NewPCG(seed, 0)), follows: follows,
				taken: thief.Addr().(*net.TCPAddr).Port, ports: [2]int{p.master, p.first + 38}}
			if follows {
				m := newStandIn(t, filepath.Join(p.dir, "notify"))
				p.env = []string{"NOTIFY_SOCKET=" + m.name}
				go func() { // a manager always reads
					for b := make([]byte, 4096); ; {
						n, err := m.conn.Read(b)
						if err != nil {
							return
						}
						if _, pid, found := strings.Cut("\n"+string(b[:n]), "\nMAINPID="); found {
							var main int64
							fmt.Sscan(pid, &main)
							s.main.Store(main)
						}
					}
				}()
			}
			defer func() {
				if t.Failed() {
					t.Log("what was done: ", strings.Join(s.done[max(0, len(s.done)-40):], "; "))
				}
			}()
			s.begin()
			for until := time.Now().Add(*stormTime); time.Now().Before(until) && !t.Failed(); {
				s.burst()
				s.calm()
				if s.IntN(4) == 0 {
					s.ends()
					s.begin()
				}
			}
			s.ends()
			text, err := os.ReadFile(p.log.Name())
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range []string{"DATA RACE", "panic: ", "a fault in roomd", "goroutine 1 ["} {
				if i := bytes.Index(text, []byte(bad)); i >= 0 {
					t.Errorf("the log: %s", text[max(0, i-100):min(i+2000, len(text))])
				}
			}
			t.Logf("%d upgrades, %d that failed, %d reloads, %d stops", bytes.Count(text, []byte("another process serves")), bytes.Count(text, []byte("upgrade failed: ")),
				bytes.Count(text, []byte("reloaded")), bytes.Count(text, []byte(`msg="server stopped"`)))
		})
	}
}

// note notes what is done.
func (s *storm) note(format string, args ...any) {
	s.done = append(s.done, fmt.Sprintf(format, args...))
}

// begin starts the server with a configuration that it can have.
func (s *storm) begin() {
	s.t.Helper()
	s.write("127.0.0.1", s.ports[0])
	s.note("start")
	s.start()
	s.main.Store(int64(s.cmd.Process.Pid))
	s.ann = s.come(s.port("lobby"))
	s.ann.hear("you are guest-")
}

// write writes a configuration.
func (s *storm) write(listen string, port int) {
	s.configure(fmt.Sprintf("server.listen = [%q]", listen), fmt.Sprintf("server.port = %d", port), fmt.Sprintf("rooms.replay = %d", s.IntN(20)),
		fmt.Sprintf(`rooms.ports = "%d-%d"`, s.first, s.first+37), `server.create = ["lobby", "den"]`)
}

// burst does several things at once.
func (s *storm) burst() {
	listen := []string{"127.0.0.1", "0.0.0.0", "192.0.2.77", "127.0.0.1"}[s.IntN(4)]
	port := []int{s.ports[0], s.ports[0], s.ports[1], s.taken}[s.IntN(4)]
	s.note("configure %s %d", listen, port)
	s.write(listen, port)
	var all sync.WaitGroup
	for range 1 + s.IntN(5) {
		after := time.Duration(s.IntN(60)) * time.Millisecond
		what := s.IntN(8)
		room := fmt.Sprintf("room-%d", s.IntN(6))
		s.note("%d after %v", what, after)
		all.Go(func() {
			<-time.After(after) // at any moment
			switch what {
			case 0:
				s.admin("reload")
			case 1:
				s.admin("upgrade")
			case 2:
				s.admin("upgrade", "/bin/false")
			case 3, 4:
				s.signal(syscall.SIGHUP)
			case 5, 6:
				s.signal(syscall.SIGUSR2)
			case 7:
				s.admin("create", room)
				s.admin("delete", "--yes", room)
			}
		})
	}
	all.Wait()
}

// signal sends a signal to one of the server's processes.
func (s *storm) signal(sig syscall.Signal) {
	pids, _ := s.procs()
	if len(pids) > 0 {
		syscall.Kill(pids[rand.IntN(len(pids))], sig)
	}
}

// calm waits until everything that was asked for is done, and looks whether what
// the server says of itself is so.
func (s *storm) calm() {
	s.t.Helper()
	await(s.t, func() string {
		if wrong := s.wrong(); wrong != "" {
			return fmt.Sprintf("after %s: %s", s.done[len(s.done)-1], wrong)
		}
		return ""
	})
	s.said++
	s.ann.say(fmt.Sprintf("line %d\n", s.said))
	s.ann.hear(fmt.Sprintf("> line %d\n", s.said))
}

// wrong is what is not as it should be.
func (s *storm) wrong() string {
	all, serving := s.procs()
	if len(serving) != 1 || len(all) > 2 || s.follows && len(all) != 1 {
		return fmt.Sprintf("processes %v, of them serve %v", all, serving)
	}
	if !s.follows && !slices.Contains(all, s.cmd.Process.Pid) {
		return "the first process is gone"
	}
	if out, errs, status := s.admin("doctor"); status != exitOK {
		return out + errs
	}
	text, _, status := s.admin("status", "--json")
	if status != exitOK {
		return text
	}
	st := s.status()
	if len(st.Listening) != 1 || len(st.Missing) != 0 || st.Unbound != 0 || st.Rooms < 2 {
		return fmt.Sprintf("%+v", st)
	}
	at := st.Listening[0]
	everywhere := at.Addr().IsUnspecified()
	ports := []int{int(at.Port())}
	for _, name := range []string{"lobby", "den"} {
		ports = append(ports, s.port(name))
	}
	for _, port := range ports {
		if !s.open("127.0.0.1", port) || s.open("127.0.0.2", port) != everywhere {
			return fmt.Sprintf("status says %v, and port %d is open: %v, elsewhere: %v", at, port, s.open("127.0.0.1", port), s.open("127.0.0.2", port))
		}
	}
	for _, port := range s.ports {
		if port != int(at.Port()) && s.open("127.0.0.1", port) {
			return fmt.Sprintf("status says %v, and port %d is open, too", at, port)
		}
	}
	return ""
}

// port is where a room listens.
func (s *storm) port(room string) int {
	out, _, _ := s.admin("rooms", room, "--json")
	var port int
	if _, rest, found := strings.Cut(out, `"port":`); found {
		fmt.Sscan(strings.TrimLeft(rest, " "), &port)
	}
	return port
}

// open reports whether somebody answers at a port.
func (s *storm) open(host string, port int) bool {
	at := netip.AddrPortFrom(netip.MustParseAddr(host), uint16(port))
	c, err := net.DialTimeout("tcp", at.String(), time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("/who\nLIST\n")); err != nil {
		return false
	}
	n, _ := c.Read(make([]byte, 64))
	return n > 0
}

// ends stops the server while it is asked for something else, too; no process is
// left, and the first one says that all is well.
func (s *storm) ends() {
	s.t.Helper()
	first := s.cmd
	var all sync.WaitGroup
	for range s.IntN(4) {
		after := time.Duration(s.IntN(60)) * time.Millisecond
		sig := []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR2}[s.IntN(2)]
		s.note("%v after %v", sig, after)
		all.Go(func() {
			<-time.After(after) // at any moment
			s.signal(sig)
		})
	}
	after := time.Duration(s.IntN(80)) * time.Millisecond
	s.note("stop after %v", after)
	<-time.After(after)
	// A process that is gone by then has named another one before, and one that has
	// handed over passes it on.
	for told := int64(0); told != s.main.Load(); {
		told = s.main.Load()
		syscall.Kill(int(told), syscall.SIGTERM)
	}
	all.Wait()
	s.allGone()
	if err := first.Wait(); err != nil && !s.follows {
		s.t.Errorf("the first process: %v", err)
	}
	s.cmd = nil
	s.ann.hear("* lobby: the server is stopping\n")
}
