package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"roomd/store"
)

// campaign knows what every client was shown, over many deaths of the server.
type campaign struct {
	*process
	mu    sync.Mutex
	seen  map[string]map[uint64]string // by room and number: the line
	rooms map[string]int               // CREATE was answered OK: the port
	gone  map[string]bool              // DELETE was answered OK
	open  map[string]bool              // asked for, and no answer came
}

// TestKillCampaign kills the server at random moments under load: 12 times, or
// ROOMD_KILLS times. No line that anybody saw is missing or another, none is
// there twice, and rooms are what their creators and deleters were told.
func TestKillCampaign(t *testing.T) {
	kills := 12
	if n, err := strconv.Atoi(os.Getenv("ROOMD_KILLS")); err == nil {
		kills = n
	}
	c := &campaign{
		process: newProcess(t, "limits.lines_per_second = 100000.0\nlimits.burst = 10000\nrooms.trash = \"0s\"\nserver.create = [\"a\", \"b\", \"c\"]"),
		seen:    make(map[string]map[uint64]string), rooms: make(map[string]int), gone: make(map[string]bool), open: make(map[string]bool),
	}
	c.binary = plainBinary(t) // it is started very often
	for i, name := range []string{"a", "b", "c"} {
		c.seen[name] = make(map[uint64]string)
		c.rooms[name] = c.first + i
	}
	for round := range kills {
		c.start()
		c.onTheirPorts()
		var all sync.WaitGroup
		for i, name := range []string{"a", "b", "c"} {
			all.Go(func() { c.talk(name, c.first+i, round) })
			all.Go(func() { c.watch(name, c.first+i) })
		}
		all.Go(func() { c.churn(round) })
		alarm := time.NewTimer(time.Duration(20+rand.IntN(150)) * time.Millisecond)
		<-alarm.C
		c.kill(syscall.SIGKILL)
		all.Wait()
		c.compare(round)
		if t.Failed() {
			return
		}
	}
	lines := 0
	for _, l := range c.seen {
		lines += len(l)
	}
	t.Logf("%d kills, %d lines were seen, %d rooms are there, %d were deleted", kills, lines, len(c.rooms), len(c.gone))
	if lines < 10*kills {
		t.Errorf("only %d lines were seen", lines)
	}
}

// plainBinary is the server itself, without the race detector.
func plainBinary(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "roomd")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// dialDying connects to a server that may be dead by now: then it returns nil.
func (c *campaign) dialDying(port int) net.Conn {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil
	}
	return conn
}

// talk says numbered lines as fast as they are taken.
func (c *campaign) talk(room string, port, round int) {
	conn := c.dialDying(port)
	if conn == nil {
		return
	}
	defer conn.Close()
	go io.Copy(io.Discard, conn)
	for i := 0; ; i++ {
		if _, err := fmt.Fprintf(conn, "%s round %d line %d\n", room, round, i); err != nil {
			return
		}
	}
}

// watch notes every whole line that it is shown.
func (c *campaign) watch(room string, port int) {
	conn := c.dialDying(port)
	if conn == nil {
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "/json\n")
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		var seq uint64
		if n, _ := fmt.Sscanf(line, `{"seq":%d,`, &seq); n != 1 || !strings.Contains(line, `"type":"message"`) {
			continue
		}
		_, text, _ := strings.Cut(line, `"text":"`)
		text, _, _ = strings.Cut(text, `"`)
		c.mu.Lock()
		if was, ok := c.seen[room][seq]; ok && was != text {
			c.t.Errorf("%s: %d was %q and is %q", room, seq, was, text)
		}
		c.seen[room][seq] = text
		c.mu.Unlock()
	}
}

// churn makes and deletes rooms, one after the other.
func (c *campaign) churn(round int) {
	conn := c.dialDying(c.master)
	if conn == nil {
		return
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	ask := func(request, name string) (answer string, ok bool) {
		c.mu.Lock()
		c.open[name] = true
		c.mu.Unlock()
		fmt.Fprintf(conn, "%s %s\n", request, name)
		answer, err := in.ReadString('\n')
		if err != nil {
			return "", false
		}
		c.mu.Lock()
		delete(c.open, name)
		c.mu.Unlock()
		return answer, true
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("r%d-%d", round, i)
		answer, ok := ask("CREATE", name)
		var port int
		if n, _ := fmt.Sscanf(answer, "OK "+name+" %d", &port); !ok || n != 1 {
			return
		}
		c.mu.Lock()
		c.rooms[name] = port
		c.mu.Unlock()
		if answer, ok = ask("DELETE", name); !ok || !strings.HasPrefix(answer, "OK") {
			return
		}
		c.mu.Lock()
		delete(c.rooms, name)
		c.gone[name] = true
		c.mu.Unlock()
	}
}

// onTheirPorts asks the server for its rooms: those that must be there are.
func (c *campaign) onTheirPorts() {
	got := c.nc(c.master, strings.NewReader("LIST\n"))
	for name, port := range c.rooms {
		if !c.open[name] && !strings.Contains(got, fmt.Sprintf("\n%s %d ", name, port)) {
			c.t.Errorf("%s is not on port %d: %s", name, port, got)
		}
	}
	// What nobody was told of may be there or not; it makes room for others.
	for line := range strings.Lines(got) {
		if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "r") && c.gone[name] {
			c.t.Errorf("%s was deleted and is there: %s", name, got)
		} else if strings.HasPrefix(name, "r") {
			c.nc(c.master, strings.NewReader("DELETE "+name+"\n"))
			delete(c.rooms, name)
			delete(c.open, name)
			c.gone[name] = true
		}
	}
}

// compare looks at what the dead server has left.
func (c *campaign) compare(round int) {
	st, err := store.Open(filepath.Join(c.dir, "roomd.db"), store.Options{})
	if err != nil {
		c.t.Error(err)
		return
	}
	defer st.Close()
	if w := st.Warnings(); len(w) > 0 {
		c.t.Errorf("round %d: %q", round, w)
	}
	rooms, err := st.Rooms()
	if err != nil {
		c.t.Error(err)
	}
	for _, r := range rooms {
		seen, ok := c.seen[r.Name]
		if !ok {
			continue
		}
		texts := make(map[string]bool)
		found := 0
		for after := uint64(0); ; {
			lines, err := st.Lines(r.ID, after, 1<<62, 1<<20)
			if err != nil {
				c.t.Error(err)
			}
			if len(lines) == 0 {
				break
			}
			for _, l := range lines {
				if texts[l.Text] {
					c.t.Errorf("round %d: %q is there twice in %s", round, l.Text, r.Name)
				}
				texts[l.Text] = true
				if want, ok := seen[l.Seq]; ok {
					found++
					if want != l.Text {
						c.t.Errorf("round %d: %d in %s is %q, was seen as %q", round, l.Seq, r.Name, l.Text, want)
					}
				}
				after = l.Seq
			}
		}
		st, err := st.Stat(r.ID)
		for seq := range seen {
			if err == nil && seq <= st.Trimmed {
				found++ // retention has taken it, in order
			}
		}
		if found != len(seen) {
			c.t.Errorf("round %d: %d lines of %s were seen, %d of them are there", round, len(seen), r.Name, found)
		}
	}
}
