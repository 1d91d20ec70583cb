package main

import (
	"bufio"
	"fmt"
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
	at    map[string]uint64            // by room: the newest number that was seen
	least map[string]uint64            // by room: the number that must have been given
	hole  map[string]uint64            // by room: the newest line that was seen and was left out in between
	lines int                          // seen, and gone with time
}

// historyLines is what a room keeps: what is gone with time is part of it.
const historyLines = 300

// TestKillCampaign kills the server at random moments under load: 200 times, or
// ROOMD_KILLS times. No line that anybody saw is missing or another, none is
// there twice, and rooms are what their creators and deleters were told.
//
// The disk is the machine's memory, unless ROOMD_KILLS is set: what a process has
// written is there after its death, synced or not, and no time goes by.
func TestKillCampaign(t *testing.T) {
	kills, dir := 200, ""
	if n, err := strconv.Atoi(os.Getenv("ROOMD_KILLS")); err == nil {
		kills, dir = n, t.TempDir()
	} else if dir, err = os.MkdirTemp("/dev/shm", "roomd"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) }) // after the last look at it
	} else {
		dir = t.TempDir()
	}
	c := &campaign{
		process: newProcessIn(t, dir, "limits.lines_per_second = 3000.0\nlimits.burst = 100\nhistory.lines = "+strconv.Itoa(historyLines)+"\nrooms.trash = \"0s\"\nserver.create = [\"a\", \"b\", \"c\"]"),
		seen:    make(map[string]map[uint64]string), rooms: make(map[string]int), gone: make(map[string]bool), open: make(map[string]bool), at: make(map[string]uint64), least: make(map[string]uint64), hole: make(map[string]uint64),
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
			all.Go(func() { c.talk(name, c.first+i, round, 1<<(3*i)) })
			all.Go(func() { c.watch(name, c.first+i, round) })
		}
		all.Go(func() { c.churn(round) })
		alarm := time.NewTimer(time.Duration(5+rand.IntN(60)) * time.Millisecond)
		<-alarm.C
		c.kill(syscall.SIGKILL)
		all.Wait()
		if len(c.hole) > 0 || round%100 == 99 || round == kills-1 {
			c.compare(round)
		}
		if t.Failed() {
			return
		}
	}
	lines := c.lines
	for _, l := range c.seen {
		lines += len(l)
	}
	t.Logf("%d kills, %d lines were seen, %d rooms are there, %d were deleted", kills, lines, len(c.rooms), len(c.gone))
	if lines < 20*kills {
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

// talk says numbered lines, some of them at a time.
func (c *campaign) talk(room string, port, round, window int) {
	conn := c.dialDying(port)
	if conn == nil {
		return
	}
	defer conn.Close()
	in := bufio.NewScanner(conn)
	own := fmt.Sprintf("> %s round %d line ", room, round)
	for said, back := 0, 0; ; {
		for ; said < back+window; said++ {
			if _, err := fmt.Fprintf(conn, "%s%d\n", own[2:], said); err != nil {
				return
			}
		}
		if !in.Scan() {
			return
		}
		if strings.Contains(in.Text(), own) {
			back++
		}
	}
}

// watch is shown a room from its beginning, or in odd rounds from where it was,
// compares that with what it was shown before, and notes every whole line.
func (c *campaign) watch(room string, port, round int) {
	conn := c.dialDying(port)
	if conn == nil {
		return
	}
	defer conn.Close()
	answered, last := false, uint64(0)
	c.mu.Lock()
	if round%2 == 1 {
		last = c.at[room]
	}
	c.mu.Unlock()
	fmt.Fprintf(conn, "/json\n/since %d\n", last)
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		answered = answered || strings.Contains(line, `"command":"since"`)
		if !answered || !strings.Contains(line, `"type":"message"`) {
			continue
		}
		number, _, _ := strings.Cut(strings.TrimPrefix(line, `{"seq":`), ",")
		seq, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			c.t.Errorf("%s: %q", room, line)
			return
		}
		_, text, _ := strings.Cut(line, `"text":"`)
		text, _, _ = strings.Cut(text, `"`)
		c.mu.Lock()
		c.shown(room, last, seq, text)
		c.at[room] = seq
		c.mu.Unlock()
		last = seq
	}
}

// shown takes a line that somebody was shown, directly after the one numbered
// last; 0: it is the first that is kept.
func (c *campaign) shown(room string, last, seq uint64, text string) {
	seen := c.seen[room]
	if seq <= last {
		c.t.Errorf("%s: %d was shown after %d", room, seq, last)
	}
	if last == 0 {
		for before := range seen {
			if before < seq {
				c.least[room] = seq + historyLines - 1 // else it went too early
				delete(seen, before)
				c.lines++
			}
		}
	} else {
		for missing := last + 1; missing < seq; missing++ {
			if _, ok := seen[missing]; ok {
				c.hole[room] = missing // it may have become too old meanwhile
			}
		}
	}
	if was, ok := seen[seq]; ok && was != text {
		c.t.Errorf("%s: %d was %q and is %q", room, seq, was, text)
	}
	seen[seq] = text
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
	conn := c.dial(c.master)
	defer conn.Close()
	in := bufio.NewReader(conn)
	ask := func(request string) (answer string) {
		fmt.Fprintln(conn, request)
		answer, err := in.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		return answer
	}
	got, rows := ask("LIST"), 0
	for fmt.Sscanf(got, "OK %d", &rows); rows > 0; rows-- {
		row, err := in.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		got += row
	}
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
			ask("DELETE " + name)
			delete(c.rooms, name)
			delete(c.open, name)
			c.gone[name] = true
		}
	}
}

// compare looks at what the dead server has left.
func (c *campaign) compare(round int) {
	defer clear(c.hole)
	st, err := store.Open(filepath.Join(c.dir, "roomd.db"), store.Options{})
	if err != nil {
		c.t.Error(err)
		return
	}
	defer st.Close()
	for _, w := range st.Warnings() {
		// Even a write ends early when its process is killed.
		if !strings.Contains(w, "the last commit, at byte") {
			c.t.Errorf("round %d: %q", round, w)
		}
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
		stat, err := st.Stat(r.ID)
		if err != nil {
			c.t.Error(err)
		}
		if stat.Last < c.least[r.Name] {
			c.t.Errorf("round %d: lines of %s are gone that were not too many: %+v", round, r.Name, stat)
		}
		if hole, ok := c.hole[r.Name]; ok && stat.Last < hole+historyLines {
			c.t.Errorf("round %d: %s: %d, %q, was seen and is gone: %+v", round, r.Name, hole, seen[hole], stat)
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
				if want, ok := seen[l.Seq]; ok && l.Seq > stat.Removed {
					found++
					if want != l.Text {
						c.t.Errorf("round %d: %d in %s is %q, was seen as %q", round, l.Seq, r.Name, l.Text, want)
					}
				}
				after = l.Seq
			}
		}
		for seq := range seen {
			if seq <= stat.Removed {
				delete(seen, seq) // retention has taken it, in order
				c.lines++
			}
		}
		if found != len(seen) {
			c.t.Errorf("round %d: %d lines of %s were seen, %d of them are there", round, len(seen), r.Name, found)
		}
	}
}
