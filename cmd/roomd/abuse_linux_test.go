package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"roomd/admin"
	"roomd/store"
)

// How long and how fast TestAbuse is. `make abuse` takes what is promised.
var (
	abuseOps   = flag.Int64("abuse", 800, "how many operations TestAbuse does")
	abuseEvery = flag.Duration("abuse.upgrade", time.Second, "from one upgrade of TestAbuse to the next")
	abuseSeed  = flag.Uint64("abuse.seed", 0, "what TestAbuse does; 0: something else each time")
)

// The rooms of the abuse. Those that stay are never deleted; the names of the others
// are taken, given up and taken again.
var (
	stayingRooms  = []string{"lobby", "den", "attic"}
	churningRooms = []string{"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8", "r9"}
)

// abuse is a server that everybody abuses, and what its clients were shown.
type abuse struct {
	*process
	seed uint64
	left atomic.Int64 // operations
	over chan struct{}

	mu      sync.Mutex
	did     map[string]int    // operations of each kind
	refused map[string]int    // commands that were refused, by kind and code
	keys    map[string]string // delete keys, by name
	shown   []*witness
	wrong   []string
}

// witness is what one connection was shown of lines that clients have said.
type witness struct {
	room string   // whose name the greeting was of
	own  []string // own lines that came back, in the order in which they were said
	seen map[uint64]string
}

// do counts an operation, and reports whether the abuse goes on.
func (a *abuse) do(kind string) bool {
	left := a.left.Add(-1)
	if left == 0 {
		close(a.over)
	}
	a.mu.Lock()
	a.did[kind]++
	a.mu.Unlock()
	return left > 0
}

func (a *abuse) isOver() bool { return a.left.Load() <= 0 }

// fail notes that something is wrong. Its caller goes on.
func (a *abuse) fail(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.wrong) < 20 {
		a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
	}
}

// TestAbuse has clients and operators do everything at random, at once, while one
// process after the other takes over. No line that its speaker has seen is lost or
// out of order, no command fails by a fault, doctor finds nothing that is not so,
// and at the end one server is there, which nobody has a connection to.
func TestAbuse(t *testing.T) {
	t.Parallel()
	a := &abuse{seed: *abuseSeed, over: make(chan struct{}), did: make(map[string]int), refused: make(map[string]int), keys: make(map[string]string)}
	if a.seed == 0 {
		a.seed = rand.Uint64()
	}
	t.Logf("-abuse.seed %d", a.seed)
	a.left.Store(*abuseOps)
	// Half of the clients are held to the rates of their addresses.
	a.process = newProcess(t, `server.create = ["lobby", "den", "attic"]
rooms.quiet_above = 10
limits.rate_exempt = ["127.0.3.0/25"]
limits.members = 40
limits.per_address = 30
limits.lines_per_second = 1000.0
limits.burst = 100
limits.master_idle = "2s"
history.lines = 1000000
access.delete = "creator"
`)
	defer func() {
		for _, wrong := range a.wrong {
			t.Error(wrong)
		}
	}()
	a.start()
	first := a.cmd
	began := time.Now()
	var all sync.WaitGroup
	for i := range 12 {
		c := a.client(i)
		all.Go(c.talks)
	}
	for i := range 8 {
		c := a.client(12 + i)
		all.Go(c.vandalizes)
	}
	for i := range 4 {
		c := a.client(20 + i)
		all.Go(c.requests)
	}
	for i := range 3 {
		c := a.client(24 + i)
		all.Go(c.operates)
	}
	all.Go(a.asksDoctor)
	upgrades := 0
	all.Go(func() { upgrades = a.upgrades() })
	all.Wait()
	took := time.Since(began)

	a.calm()
	text, err := os.ReadFile(a.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"DATA RACE", "panic: ", "a fault in roomd", "goroutine 1 ["} {
		if i := bytes.Index(text, []byte(bad)); i >= 0 {
			t.Errorf("the log: %s", text[max(0, i-100):min(i+4000, len(text))])
		}
	}
	a.cmd = first
	a.end()
	lines := a.compare()
	if len(a.did) < 40 && *abuseOps > 100000 {
		t.Errorf("only %d kinds of operations", len(a.did))
	}
	for _, kind := range slices.Sorted(maps.Keys(a.did)) {
		t.Logf("%-24s %7d", kind, a.did[kind])
	}
	for _, kind := range slices.Sorted(maps.Keys(a.refused)) {
		t.Logf("refused: %-24s %7d", kind, a.refused[kind])
	}
	t.Logf("%d operations and %d upgrades in %v; %d acknowledged lines were looked up", *abuseOps, upgrades, took.Round(time.Millisecond), lines)
}

// upgrades has one process after the other take over, by a command and by a signal
// in turn, and returns how many have.
func (a *abuse) upgrades() (n int) {
	tick := time.NewTicker(*abuseEvery)
	defer tick.Stop()
	for ; ; n++ {
		select {
		case <-tick.C:
		case <-a.over:
			if n > 0 {
				return n
			}
		}
		_, serving := a.procs()
		if len(serving) != 1 {
			a.fail("before upgrade %d: processes %v serve", n, serving)
			return n
		}
		if n%2 == 0 {
			for underWay := true; underWay; {
				out, errs, status := a.admin("upgrade")
				if underWay = strings.Contains(errs, "under way"); status != exitOK && !underWay {
					a.fail("upgrade %d: status %d: %s%s", n, status, out, errs)
				}
			}
		} else {
			syscall.Kill(serving[0], syscall.SIGUSR2)
		}
		tick := time.NewTicker(5 * time.Millisecond)
		for until := time.Now().Add(patience); ; <-tick.C {
			if _, now := a.procs(); len(now) == 1 && now[0] != serving[0] {
				break
			}
			if time.Now().After(until) {
				a.fail("upgrade %d: process %d serves still", n, serving[0])
				break
			}
		}
		tick.Stop()
	}
}

// asksDoctor asks for problems all the time: there are none. What may be is a disk
// that is slow on a busy machine.
func (a *abuse) asksDoctor() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for a.do("doctor") {
		for _, f := range a.doctor() {
			if f.Level == "problem" && f.About != "disk" || strings.Contains(f.Finding, "left over from a process") {
				a.fail("doctor says: %s: %s", f.About, f.Finding)
			}
		}
		<-tick.C
	}
}

// ailment is what doctor says of one thing.
type ailment struct{ Level, About, Finding string }

func (a *abuse) doctor(flags ...string) (found []ailment) {
	out, errs, status := a.admin(append([]string{"doctor", "--json"}, flags...)...)
	for status == admin.ExitRefused && strings.Contains(errs, "another one has taken over") {
		out, errs, status = a.admin(append([]string{"doctor", "--json"}, flags...)...)
	}
	if err := json.Unmarshal([]byte(out), &found); err != nil || status != exitOK {
		a.fail("doctor: status %d: %s%s", status, out, errs)
	}
	return found
}

// calm waits until nothing of the abuse is left but what was said. What a client has
// sent before it left is handled at its allowance, which takes long: until the operator
// bans it. Deletions and drains come to their end by themselves.
func (a *abuse) calm() {
	a.t.Helper()
	a.operate("ban", "ban", "127.0.3.0/24", "--yes")
	await(a.t, func() string {
		st := a.status()
		if st.Members == 0 && st.Connections == 0 && st.Unbound == 0 {
			return ""
		}
		members, _, _ := a.admin("members")
		return fmt.Sprintf("nobody is left after the ban: %d members and %d connections are, and %d rooms have no port:\n%s", st.Members, st.Connections, st.Unbound, members)
	})
	for _, f := range a.doctor("--full") {
		if f.Level != "ok" && f.About != "disk" {
			a.fail("doctor says at the end: %s: %s: %s", f.Level, f.About, f.Finding)
		}
	}
	// The process that was started first waits for the server's end; those between
	// have some seconds for what they could not hand over.
	await(a.t, func() string {
		if all, serving := a.procs(); len(serving) != 1 || len(all) != 2 {
			return fmt.Sprintf("processes %v are there, of which %v serve", all, serving)
		}
		return ""
	})
}

// operate gives a command, which must neither fail by a fault nor meet no server. It
// may well be refused.
func (a *abuse) operate(kind string, words ...string) {
	var out, errs bytes.Buffer
	status := admin.Once(filepath.Join(a.dir, "roomd.sock"), words, nil, &out, &errs, nil)
	switch {
	case status == exitOK:
	case status == 1 && !strings.Contains(errs.String(), "internal"):
		a.mu.Lock()
		a.refused[kind]++
		a.mu.Unlock()
	default:
		a.fail("%q: status %d: %s%s", words, status, &out, &errs)
	}
}

// compare looks for what clients were shown in what the server has left, and
// returns how many lines it has found.
func (a *abuse) compare() (found int) {
	type place struct {
		room string
		seq  uint64
	}
	st, err := store.Open(filepath.Join(a.dir, "roomd.db"), store.Options{})
	if err != nil {
		a.t.Fatal(err)
	}
	defer st.Close()
	rooms, err := st.Rooms()
	if err != nil {
		a.t.Fatal(err)
	}
	at := make(map[string]place)
	there := make(map[string]bool)
	for _, r := range rooms {
		there[r.Name] = true
		for after := uint64(0); ; {
			lines, err := st.Lines(r.ID, after, 1<<62, 1<<20)
			if err != nil {
				a.t.Fatal(err)
			}
			if len(lines) == 0 {
				break
			}
			for _, l := range lines {
				if !ofTalkers.MatchString(l.Text) {
					continue // of a vandal, or an operator
				}
				if was, ok := at[l.Text]; ok {
					a.fail("%q is there twice: %v, and %d in %s", l.Text, was, l.Seq, r.Name)
				}
				at[l.Text] = place{r.Name, l.Seq}
			}
			after = lines[len(lines)-1].Seq
		}
	}
	for _, name := range stayingRooms {
		if !there[name] {
			a.fail("the room %s is gone", name)
		}
	}
	for _, w := range a.shown {
		// A room that is gone has taken all of its lines with it.
		first, any := place{}, slices.Contains(stayingRooms, w.room)
		for _, text := range w.own {
			if p, ok := at[text]; ok && first.room == "" {
				first, any = p, true
			}
		}
		if !any {
			continue
		}
		last := uint64(0)
		for _, text := range w.own {
			p, ok := at[text]
			if !ok || p.room != first.room || p.seq <= last {
				a.fail("%q was shown in %s: it is there: %v, as %v, behind %d", text, w.room, ok, p, last)
			}
			last = p.seq
			found++
		}
		if len(w.own) == 0 {
			continue
		}
		for seq, text := range w.seen {
			if p := at[text]; p.seq != seq || p.room != first.room {
				a.fail("%q was shown as %d in %s, and is %v", text, seq, w.room, p)
			}
		}
	}
	return found
}
