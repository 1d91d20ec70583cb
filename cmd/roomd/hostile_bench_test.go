package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// asAttacker makes the test binary an attacker, until its standard input ends:
// the kind, or -1 for all of them at once, and the ports of the master, of the
// rooms lobby, den and mud, and of IRC.
const asAttacker = "ROOMD_TEST_ATTACK"

func attackAs(how string) int {
	var kind, master, lobby, den, mud, irc int
	if _, err := fmt.Sscan(how, &kind, &master, &lobby, &den, &mud, &irc); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, end := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		end()
	}()
	all := kinds(master, lobby, den, mud, irc)
	if kind >= 0 {
		newAttacker(ctx, kind, time.Millisecond).run(all[kind])
		return 0
	}
	var attacking sync.WaitGroup
	for i, k := range all {
		attacking.Go(func() { newAttacker(ctx, i, 30*time.Millisecond).run(k) })
	}
	attacking.Wait()
	return 0
}

// newAttacker is the i-th kind's, from its own address.
func newAttacker(ctx context.Context, i int, pause time.Duration) *attacker {
	return &attacker{ctx: ctx, from: net.IPv4(127, 0, 1, byte(i+1)), random: rand.New(rand.NewPCG(uint64(i), 1)), pause: pause}
}

// attack starts a process of attackers, which has what the server and the members
// leave of the second processor, and returns what ends it.
func (p *process) attack(kind, lobby, den, mud, irc int) (end func()) {
	p.t.Helper()
	cmd := exec.Command(os.Args[0])
	if _, err := exec.LookPath("taskset"); err == nil { // and chrt, of the same package
		cmd = exec.Command("taskset", "-c", "1", "chrt", "--idle", "0", os.Args[0])
	}
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", asAttacker+"="+fmt.Sprint(kind, p.master, lobby, den, mud, irc))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return func() {
		p.t.Helper()
		in.Close()
		if err := cmd.Wait(); err != nil {
			p.t.Error("the attackers: ", err)
		}
	}
}

// pinned starts the server on a processor of its own, if it can: what the clients take
// is not to count.
func (p *process) pinned() bool {
	if _, err := exec.LookPath("taskset"); err != nil {
		return false
	}
	p.prefix = []string{"taskset", "-c", "0"}
	p.start()
	if out, err := exec.Command("taskset", "-a", "-cp", "1", fmt.Sprint(os.Getpid())).CombinedOutput(); err != nil {
		p.t.Fatalf("%v: %s", err, out)
	}
	return true
}

const (
	crowd     = 200 // good members
	crowdRate = 200 // lines a second of all of them
)

// talk is good members that exchange lines at a fixed rate, and how late each
// line was with each of them.
type talk struct {
	conns []net.Conn
	said  atomic.Int64
	mu    sync.Mutex
	late  []time.Duration
}

func (k *talk) speak(ctx context.Context) {
	tick := time.NewTicker(time.Second / crowdRate)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			fmt.Fprintf(k.conns[n%len(k.conns)], "good %d\n", now.UnixNano())
			k.said.Add(1)
		}
	}
}

func (k *talk) listen(in io.Reader) {
	b := make([]byte, 0, 64<<10)
	for {
		n, err := in.Read(b[len(b):cap(b)])
		if err != nil {
			return
		}
		now := time.Now()
		b = b[:len(b)+n]
		rest := b
		for {
			line, more, ok := bytes.Cut(rest, []byte{'\n'})
			if !ok {
				break
			}
			rest = more
			if _, stamp, ok := bytes.Cut(line, []byte("> good ")); ok {
				if at, err := strconv.ParseInt(string(stamp), 10, 64); err == nil {
					k.mu.Lock()
					k.late = append(k.late, now.Sub(time.Unix(0, at)))
					k.mu.Unlock()
				}
			}
		}
		b = append(b[:0], rest...)
	}
}

// phase is what members feel in a while, and what it costs the server.
type phase struct {
	delivered float64 // of what was said to all
	p50, p99  time.Duration
	cpu       float64 // of a core
}

func (k *talk) phase(p *process, d time.Duration) (f phase) {
	k.mu.Lock()
	k.late = k.late[:0]
	k.mu.Unlock()
	said, cpu, began := k.said.Load(), p.cpu(), time.Now()
	t := time.NewTimer(d)
	<-t.C
	f.cpu = float64(p.cpu()-cpu) / float64(time.Since(began))
	said = k.said.Load() - said
	k.mu.Lock()
	defer k.mu.Unlock()
	f.delivered = float64(len(k.late)) / float64(said*crowd)
	if slices.Sort(k.late); len(k.late) > 0 {
		f.p50, f.p99 = k.late[len(k.late)/2], k.late[len(k.late)*99/100]
	}
	return f
}

// BenchmarkAttacker measures for each kind of bad client what 200 members that
// exchange 200 lines a second notice of it, and how much of the server's
// processor it takes. The server has a core, and the clients another, on which
// the attacker has what the members leave. Without the attacker it is measured
// before and after. With the limits of docs/security.md.
func BenchmarkAttacker(b *testing.B) {
	irc, ircLine := ircPort()
	p := newProcess(b, `server.create = ["lobby", "mud"]
limits.members = 256
limits.per_address = 50
limits.lines_per_second = 20.0
limits.burst = 40
limits.rate_exempt = ["127.0.2.0/24"]
limits.master_idle = "1s"
log.level = "error"
`+ircLine)
	if !p.pinned() {
		b.Skip("taskset (util-linux) is not installed")
	}
	lobby, mud, den := p.first, p.first+1, p.first+2
	if got := p.nc(p.master, strings.NewReader("CREATE den secret\n")); !strings.HasPrefix(got, "OK den ") {
		b.Fatal(got)
	}
	k := new(talk)
	var all sync.WaitGroup
	for i := range crowd {
		c := p.enterGood(i, lobby, fmt.Sprint("good-", i), "")
		c.conn.SetReadDeadline(time.Time{})
		k.conns = append(k.conns, c.conn)
		all.Go(func() { k.listen(c.in) })
	}
	ctx, end := context.WithCancel(context.Background())
	all.Go(func() { k.speak(ctx) })
	defer all.Wait()
	defer func() {
		end()
		for _, c := range k.conns {
			c.Close()
		}
	}()
	for i, kind := range kinds(p.master, lobby, den, mud, irc) {
		b.Run(strings.NewReplacer(" ", "-", "/", "").Replace(kind.name), func(b *testing.B) {
			for range b.N {
				calm := k.phase(p, time.Second)
				end := p.attack(i, lobby, den, mud, irc)
				k.phase(p, 500*time.Millisecond) // it begins
				under := k.phase(p, 2*time.Second)
				end()
				k.phase(p, 200*time.Millisecond) // it is cleaned up
				after := k.phase(p, time.Second)
				calm = phase{p50: (calm.p50 + after.p50) / 2, p99: (calm.p99 + after.p99) / 2, cpu: (calm.cpu + after.cpu) / 2}
				ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(100*under.delivered, "delivered-%")
				b.ReportMetric(ms(calm.p50), "p50-calm-ms")
				b.ReportMetric(ms(under.p50), "p50-ms")
				b.ReportMetric(ms(calm.p99), "p99-calm-ms")
				b.ReportMetric(ms(under.p99), "p99-ms")
				b.ReportMetric(100*(under.cpu-calm.cpu), "cpu-attacker-%")
			}
		})
	}
}
