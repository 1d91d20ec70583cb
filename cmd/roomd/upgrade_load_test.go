package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// How large the test of upgrades is. `make upgrades` takes what is promised.
var (
	loadMembers  = flag.Int("upgrade.members", 48, "members that talk")
	loadRooms    = flag.Int("upgrade.rooms", 4, "rooms that they are in")
	loadUpgrades = flag.Int("upgrade.times", 4, "upgrades in a row")
	loadPause    = flag.Duration("upgrade.pause", 50*time.Millisecond, "of a member between two lines")
)

// talker is a member that talks all the time and checks every line it gets.
type talker struct {
	room, id int
	conn     net.Conn
	in       *bufio.Reader

	sent  atomic.Int64
	worst atomic.Int64 // nanoseconds from sending a line to seeing it
	next  map[string]int
	wrong atomic.Pointer[string]
}

func (k *talker) fail(format string, args ...any) {
	text := fmt.Sprintf("member %d of room %d: ", k.id, k.room) + fmt.Sprintf(format, args...)
	k.wrong.CompareAndSwap(nil, &text)
}

// talk says a line and waits until it is back, again and again.
func (k *talker) talk(stop chan struct{}, back chan struct{}) {
	pause := time.NewTicker(*loadPause)
	defer pause.Stop()
	for n := 0; ; n++ {
		began := time.Now()
		// In two pieces, so that many are half said when an upgrade comes.
		if _, err := fmt.Fprintf(k.conn, "%d ", k.id); err != nil {
			k.fail("write: %v", err)
			return
		}
		if _, err := fmt.Fprintf(k.conn, "%d\n", n); err != nil {
			k.fail("write: %v", err)
			return
		}
		k.sent.Add(1)
		if _, ok := <-back; !ok {
			return
		}
		k.worst.Store(max(k.worst.Load(), int64(time.Since(began))))
		select {
		case <-stop:
			return
		case <-pause.C:
		}
	}
}

// listen checks what comes: of each sender every line, once, in order.
func (k *talker) listen(back chan struct{}) {
	defer close(back)
	me := fmt.Sprint(k.id)
	for {
		l, err := k.in.ReadString('\n')
		if err != nil {
			if err != io.EOF || l != "" {
				k.fail("read: %q, %v", l, err)
			}
			return
		}
		if !strings.HasPrefix(l, "<") {
			if strings.Contains(l, "the server is stopping") {
				return
			}
			continue
		}
		var nick, who string
		var n int
		if _, err := fmt.Sscanf(l, "%s %s %d\n", &nick, &who, &n); err != nil || n != k.next[who] {
			k.fail("got %q, and line %d of %s was next", l, k.next[who], who)
			return
		}
		k.next[who]++
		if who == me {
			back <- struct{}{}
		}
	}
}

// Members talk all the time while the server is upgraded again and again to
// alternating binaries: no connection drops, no newcomer is refused, and of the
// lines none is lost, doubled or out of order, at any member.
func TestUpgradeUnderLoad(t *testing.T) {
	p := newProcess(t, "limits.members = 1000\nlimits.lines_per_second = 1000.0\nrooms.quiet_above = 0")
	if *loadRooms > 30 {
		base := int(nextPort.Take(int64(*loadRooms)+20)) - *loadRooms - 20
		p.master, p.first = base, base+1
		p.configure(fmt.Sprintf(`rooms.ports = "%d-%d"`, base+1, base+*loadRooms+18), fmt.Sprintf("rooms.max = %d", *loadRooms+10),
			"limits.members = 1000", "limits.lines_per_second = 1000.0", "limits.connections = 20000", "rooms.quiet_above = 0")
	}
	p.start()
	other := filepath.Join(p.dir, "roomd-b")
	copyFile(t, os.Args[0], other)
	for i := 1; i < *loadRooms; i++ {
		if out, errs, status := p.admin("create", fmt.Sprintf("room%d", i)); status != exitOK {
			t.Fatal(out, errs)
		}
	}
	stop := make(chan struct{})
	var talkers []*talker
	for i := range *loadMembers {
		k := &talker{room: i % *loadRooms, id: i, next: make(map[string]int)}
		k.conn = p.dial(p.first + k.room)
		k.conn.SetReadDeadline(time.Now().Add(20 * time.Minute))
		k.in = bufio.NewReader(k.conn)
		for last := ""; ; {
			l, err := k.in.ReadString('\n')
			if err != nil {
				t.Fatalf("member %d: %q, %v", i, last, err)
			}
			if last = l; strings.Contains(l, "you are guest-") {
				break
			}
		}
		talkers = append(talkers, k)
	}
	var talking, listening sync.WaitGroup
	for _, k := range talkers {
		back := make(chan struct{}, 1)
		talking.Go(func() { k.talk(stop, back) })
		listening.Go(func() { k.listen(back) })
	}
	visits := visitors(p, stop, &talking)
	for i := range *loadUpgrades {
		binary := []string{other, os.Args[0]}[i%2]
		u := p.upgrade(binary)
		t.Logf("upgrade %d: %d members, pause %s of %s", i+1, u.Members, u.Pause, u.Took)
	}
	close(stop)
	talking.Wait()
	// All that was said is on its way: members that have seen every line of
	// everybody in their room are done.
	for _, k := range talkers {
		fmt.Fprintln(k.conn, "/quit")
	}
	listening.Wait()
	lines, worst := int64(0), int64(0)
	for _, k := range talkers {
		if wrong := k.wrong.Load(); wrong != nil {
			t.Error(*wrong)
			continue
		}
		for _, o := range talkers {
			if said, heard := int(o.sent.Load()), k.next[fmt.Sprint(o.id)]; o.room == k.room && said != heard {
				t.Errorf("member %d of room %d has %d of the %d lines of member %d", k.id, k.room, heard, said, o.id)
			}
		}
		lines += k.sent.Load()
		worst = max(worst, k.worst.Load())
	}
	t.Logf("%d lines, each checked at every member of its room; the longest took %v to come back; %d newcomers", lines, time.Duration(worst), visits.Load())
	if err := p.kill(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// visitors are newcomers, all the time: none may be refused.
func visitors(p *process, stop chan struct{}, all *sync.WaitGroup) *atomic.Int64 {
	n := new(atomic.Int64)
	visit := func(port int, say, want string) bool {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), patience)
		if err != nil {
			p.t.Errorf("a newcomer: %v", err)
			return false
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := io.WriteString(c, say); err != nil {
			p.t.Errorf("a newcomer: %v", err)
			return false
		}
		for in := bufio.NewReader(c); ; {
			l, err := in.ReadString('\n')
			if err != nil {
				p.t.Errorf("a newcomer that says %q: %q, %v", say, l, err)
				return false
			}
			if strings.Contains(l, want) {
				n.Add(1)
				return true
			}
		}
	}
	round := func(i int) bool {
		name := fmt.Sprintf("new%d", i)
		return visit(p.first, "/ping\n", "* pong ") && visit(p.master, "LIST\n", "OK ") &&
			visit(p.master, "CREATE "+name+"\nDELETE "+name+"\n", "OK "+name+"\n")
	}
	all.Go(func() {
		for i := 0; round(i); i++ {
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	return n
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
