package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ircReader is a client of IRC that lives in a network namespace; "": in that of the test.
type ircReader struct {
	net.Conn
	in *bufio.Reader
}

// dialIn connects from a namespace.
func dialIn(ns, addr string) (*ircReader, error) {
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result)
	go func() {
		if ns != "" {
			runtime.LockOSThread() // the thread ends with the goroutine
			f, err := os.Open("/var/run/netns/" + ns)
			if err == nil {
				err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
				f.Close()
			}
			if err != nil {
				done <- result{err: err}
				return
			}
		}
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		done <- result{c, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, r.err
	}
	return &ircReader{r.c, bufio.NewReader(r.c)}, nil
}

// until reads up to a line with a text, within patience.
func (c *ircReader) until(text string) (all []string, err error) {
	c.SetReadDeadline(time.Now().Add(patience))
	for {
		l, err := c.in.ReadString('\n')
		if err != nil {
			return all, err
		}
		if all = append(all, strings.TrimRight(l, "\r\n")); strings.Contains(l, text) {
			return all, nil
		}
	}
}

// begin registers, with another nick if that one is still there, and enters the rooms. It returns the
// lines that come first.
func (c *ircReader) begin(nick, rooms string) ([]string, error) {
	fmt.Fprintf(c, "NICK %s\r\nNICK %s-%d\r\nUSER %s 0 * :x\r\nJOIN %s\r\nPING begun\r\n", nick, nick, time.Now().UnixNano()%1e6, nick, rooms)
	return c.until(" begun")
}

var numbered = regexp.MustCompile(` PRIVMSG #(lobby|dev) :.*\bn=(\d+)$`)

// seenBy collects the numbers of lines, by room.
type seenBy map[string][]int

func (s seenBy) add(lines ...string) {
	for _, l := range lines {
		if m := numbered.FindStringSubmatch(l); m != nil {
			n, _ := strconv.Atoi(m[2])
			s[m[1]] = append(s[m[1]], n)
		}
	}
}

// numberer says numbered lines in a room until stop, and comes again after the end of the server.
type numberer struct {
	confirmed atomic.Int64 // the newest line that a PING has found in the log
	unsure    sync.Map     // lines that the server may not have got before it was killed
	gate      sync.RWMutex // the test locks it so that nothing is said
}

func (k *numberer) begin(all *sync.WaitGroup, ns, addr, room string, stop *atomic.Bool) {
	all.Go(func() {
		n := 0
		for !stop.Load() {
			c, err := dialIn(ns, addr)
			if err != nil {
				<-time.After(20 * time.Millisecond)
				continue
			}
			if _, err = c.begin("numberer-"+room, "#"+room); err == nil {
				for !stop.Load() && err == nil {
					n++
					k.gate.RLock()
					fmt.Fprintf(c, "PRIVMSG #%s :n=%d\r\nPING said\r\n", room, n)
					if _, err = c.until(" said"); err == nil {
						k.confirmed.Store(int64(n))
						<-time.After(3 * time.Millisecond)
					} else {
						k.unsure.Store(n, true)
					}
					k.gate.RUnlock()
				}
			}
			c.Close()
		}
	})
}

// A cable is pulled 20 times while others talk in two rooms: the client gets exactly what it missed. Only
// lines whose acknowledgement did not get through any more come twice.
func TestPulledCableResumes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	here, _, pull := hosts(t)
	id := os.Getpid() % 100000
	inside, outside := fmt.Sprintf("roomd-a%d", id), fmt.Sprintf("roomd-b%d", id)
	plug := func() {
		out, err := exec.Command("ip", "-n", outside, "link", "set", fmt.Sprintf("rb%d", id), "up").CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
	}
	const addr = "10.77.0.1:6667"
	p := newProcess(t, fmt.Sprintf("server.listen = [\"10.77.0.1\"]\nserver.create = [\"lobby\", \"dev\"]\nirc.listen = [%q]\nirc.name = \"irc.test\"", addr))
	p.prefix = here
	p.start()
	seen := make(seenBy)
	ann, err := dialIn(outside, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { ann.Close() }()
	lines, err := ann.begin("ann", "#lobby,#dev")
	if err != nil {
		t.Fatal(err)
	}
	seen.add(lines...)
	var stop atomic.Bool
	var all sync.WaitGroup
	var lobby, dev numberer
	lobby.begin(&all, inside, addr, "lobby", &stop)
	dev.begin(&all, inside, addr, "dev", &stop)
	defer all.Wait()
	defer stop.Store(true)
	said := func(n int64) {
		t.Helper()
		for from, end := lobby.confirmed.Load(), time.Now().Add(patience); lobby.confirmed.Load() < from+n; <-time.After(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nobody talks")
			}
		}
	}
	again := 0
	for round := range 20 {
		if round%2 == 0 { // nothing is on its way when the cable is pulled, and so no acknowledgement is lost
			lobby.gate.Lock()
			dev.gate.Lock()
		}
		for i := range 2 { // the second one brings the acknowledgement of what came before the first answer
			fmt.Fprintf(ann, "PING %d-%d-here\r\n", round, i)
			lines, err := ann.until(fmt.Sprintf(" %d-%d-here", round, i))
			if err != nil {
				t.Fatal(err)
			}
			seen.add(lines...)
		}
		pull()
		if round%2 == 0 {
			lobby.gate.Unlock()
			dev.gate.Unlock()
		}
		said(20)
		// Everything that its kernel has. A part of a line is not shown.
		ann.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		for err = nil; err == nil; {
			var l string
			if l, err = ann.in.ReadString('\n'); err == nil {
				seen.add(strings.TrimRight(l, "\r\n"))
			}
		}
		ann.Conn.(*net.TCPConn).SetLinger(0)
		ann.Close()
		plug()
		if ann, err = dialIn(outside, addr); err != nil {
			t.Fatal(err)
		}
		if lines, err = ann.begin("ann", "#lobby,#dev"); err != nil {
			t.Fatal(err)
		}
		now := make(seenBy)
		now.add(lines...)
		for room, n := range now {
			last := 0
			if before := seen[room]; len(before) > 0 {
				last = before[len(before)-1]
			}
			for round%2 != 0 && len(n) > 0 && n[0] <= last { // its acknowledgement did not get through
				n = n[1:]
				again++
			}
			for _, n := range n {
				if last++; n != last {
					t.Fatalf("round %d, #%s: %d and not %d", round, room, n, last)
				}
				seen[room] = append(seen[room], n)
			}
		}
	}
	t.Logf("%d lines came twice, because the cable was pulled before their acknowledgement", again)
	t.Logf("%d lines in lobby, %d in dev", len(seen["lobby"]), len(seen["dev"]))
}

// The server is killed 20 times or stopped 5 times while others talk in two rooms: no line is lost, and
// none comes twice after a stop.
func TestRestartedServerResumes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		rounds := 20
		if sig == syscall.SIGTERM {
			rounds = 5
		}
		t.Run(sig.String(), func(t *testing.T) { restarts(t, sig, rounds) })
	}
}

func restarts(t *testing.T, sig syscall.Signal, rounds int) {
	port, line := ircPort()
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	p := newProcess(t, "server.create = [\"lobby\", \"dev\"]\n"+line)
	p.start()
	var stop atomic.Bool
	var all sync.WaitGroup
	var lobby, dev numberer
	seen := make(seenBy)
	enter := func() (c *ircReader) {
		t.Helper()
		eventually(t, "the server takes the client", func() bool {
			var err error
			if c, err = dialIn("", addr); err != nil {
				return false
			}
			lines, err := c.begin("ann", "#lobby,#dev")
			seen.add(lines...)
			return err == nil
		})
		return c
	}
	ann := enter()
	lobby.begin(&all, "", addr, "lobby", &stop)
	dev.begin(&all, "", addr, "dev", &stop)
	defer all.Wait()
	defer stop.Store(true)
	for range rounds {
		for from := lobby.confirmed.Load(); lobby.confirmed.Load() < from+20; {
			lines, err := ann.until("PRIVMSG #lobby")
			if seen.add(lines...); err != nil {
				t.Fatal(err)
			}
		}
		stopped := make(chan struct{})
		go func() { // a stop has it read everything
			defer close(stopped)
			p.kill(sig)
		}()
		for {
			l, err := ann.in.ReadString('\n')
			if err != nil {
				break
			}
			seen.add(strings.TrimRight(l, "\r\n"))
		}
		ann.Close()
		<-stopped
		p.start()
		ann = enter()
	}
	stop.Store(true)
	all.Wait()
	fmt.Fprint(ann, "PING last\r\n")
	lines, err := ann.until(" last")
	if seen.add(lines...); err != nil {
		t.Fatal(err)
	}
	for room, k := range map[string]*numberer{"lobby": &lobby, "dev": &dev} {
		n := slices.Clone(seen[room])
		slices.Sort(n)
		once := slices.Compact(n)
		for i := 1; i <= int(k.confirmed.Load()); i++ {
			if _, found := slices.BinarySearch(once, i); !found {
				if _, unsure := k.unsure.Load(i); !unsure {
					t.Errorf("#%s: line %d is lost", room, i)
				}
			}
		}
		twice := len(seen[room]) - len(once)
		if t.Logf("#%s: %d lines, %d of them twice", room, len(once), twice); sig == syscall.SIGTERM && twice > 0 {
			t.Errorf("#%s: %v", room, seen[room])
		}
	}
	ann.Close()
}
