package admin_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomd/admin"
	"roomd/netsvc"
	"roomd/store"
)

// asServer makes the test binary behave as a server in the folder that it
// names, until its standard input ends: so its processor time is its own.
const asServer = "ROOMD_TEST_SERVER"

func init() {
	if dir := os.Getenv(asServer); dir != "" {
		if err := beServer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

func beServer(dir string) error {
	st, err := store.Open(filepath.Join(dir, "roomd.db"), store.Options{Retention: store.Retention{Lines: 100_000}})
	if err != nil {
		return err
	}
	tap := admin.NewTap(slog.NewTextHandler(io.Discard, nil), slog.LevelInfo)
	svc := netsvc.New(st, netsvc.Options{
		Listen: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Ports: [2]int{18100, 18199}, MaxRooms: 50, Replay: 0, QuietAbove: 50, MaxMembers: 5000,
		MaxConnections: 10000, LineBytes: 4096, MaxLag: 100000, DeadPeer: time.Minute, CreateAnyone: true, Delete: netsvc.Anyone, Log: slog.New(tap),
	})
	if err := svc.Start(); err != nil {
		return err
	}
	srv := &admin.Server{Service: svc, Store: st, Log: tap, Version: "bench", Stop: func() {}, Config: func() []admin.Setting { return nil }}
	l, err := srv.Listen(filepath.Join(dir, "roomd.sock"), 0o600)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	svc.Stop()
	l.Close()
	return st.Close()
}

// processorTime is what a process has used so far (proc(5)).
func processorTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	var user, system int64
	fmt.Sscan(f[11], &user)
	fmt.Sscan(f[12], &system)
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// BenchmarkOperator measures what an operator costs: 2,000 members get 1,000
// lines a second, and every other phase an operator watches a room, its members
// and the busiest rooms, and asks for each anew every second. It reports how
// long first answers took, and how many deliveries fewer and how much more
// processor time for each the phases with an operator have.
func BenchmarkOperator(b *testing.B) {
	for _, rooms := range []int{20, 1} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) { benchOperator(b, rooms, 2000/rooms) })
	}
}

func benchOperator(b *testing.B, rooms, members int) {
	const rate, phase = 1000, 2 * time.Second
	dir := b.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asServer+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(dir, "roomd.sock")
	do := func(line string) string {
		var out, errw bytes.Buffer
		if status := admin.Once(socket, strings.Fields(line), nil, &out, &errw, nil); status != admin.ExitDone {
			b.Fatal(line, errw.String())
		}
		return out.String()
	}
	eventually(b, "the server answers", func() bool { c, err := net.Dial("unix", socket); closeIf(c); return err == nil })

	var delivered atomic.Uint64
	var readers sync.WaitGroup
	var all, speakers []net.Conn
	for r := range rooms {
		do(fmt.Sprintf("create room-%d --port %d", r, 18100+r))
		for m := range members {
			c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", 18100+r))
			if err != nil {
				b.Fatal(err)
			}
			all = append(all, c)
			if m == 0 {
				speakers = append(speakers, c)
			}
			readers.Go(func() {
				buf := make([]byte, 32<<10)
				for {
					n, err := c.Read(buf)
					delivered.Add(uint64(bytes.Count(buf[:n], []byte("<guest-"))))
					if err != nil {
						return
					}
				}
			})
		}
	}
	eventually(b, "all are there", func() bool { return strings.Contains(do("status --json"), fmt.Sprintf(`"members":%d,`, len(all))) })

	stop := make(chan bool)
	var load sync.WaitGroup
	load.Go(func() {
		line := []byte(strings.Repeat("x", 63) + "\n")
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		start := time.Now()
		for i := 0; ; {
			select {
			case <-tick.C:
				for i < int(time.Since(start).Seconds()*rate) { // a tick that came late is made up for
					speakers[i%len(speakers)].Write(line)
					i++
				}
			case <-stop:
				return
			}
		}
	})

	answers := map[string][]float64{} // milliseconds
	// measure returns deliveries, and processor time for each.
	measure := func() (deliveries, cost float64) {
		n, cpu := delivered.Load(), processorTime(cmd.Process.Pid)
		<-time.After(phase)
		deliveries = float64(delivered.Load() - n)
		return deliveries, float64((processorTime(cmd.Process.Pid) - cpu).Nanoseconds()) / deliveries
	}
	measure() // warm
	// Each phase is compared with the one before: other programs come and go.
	var deliveries, costs, fewer, more []float64
	for b.Loop() {
		n, cost := measure()
		end := watchAll(b, socket, answers)
		with, dearer := measure()
		end()
		deliveries, costs = append(deliveries, n/phase.Seconds()), append(costs, cost)
		fewer, more = append(fewer, 100*(1-with/n)), append(more, 100*(dearer/cost-1))
	}
	for what, took := range answers {
		b.ReportMetric(median(took), "ms-"+what)
		b.ReportMetric(slices.Max(took), "ms-slowest-"+what)
	}
	b.ReportMetric(median(deliveries), "deliveries/s")
	b.ReportMetric(median(fewer), "%fewer-deliveries")
	b.ReportMetric(median(costs), "ns/delivery")
	b.ReportMetric(median(more), "%more-processor")
	close(stop)
	load.Wait()
	for _, c := range all {
		c.Close()
	}
	readers.Wait()
	in.Close()
	if err := cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

func closeIf(c net.Conn) {
	if c != nil {
		c.Close()
	}
}

// watchAll is an operator with three views open, who asks for each of them anew
// every second. end waits until the operator has gone.
func watchAll(b *testing.B, socket string, answers map[string][]float64) (end func()) {
	var mu sync.Mutex
	var looking sync.WaitGroup
	done := make(chan bool)
	// first opens a view and returns how long its first answer took; a table is
	// there with its last row.
	first := func(line, last string, stay bool) time.Duration {
		c, err := net.Dial("unix", socket)
		if err != nil {
			b.Error(err)
			return 0
		}
		defer c.Close()
		start := time.Now()
		io.WriteString(c, line+"\n")
		r := bufio.NewReaderSize(c, 64<<10)
		for {
			l, err := r.ReadString('\n')
			if err != nil {
				b.Error(line, err)
				return 0
			}
			if strings.Contains(l, last) {
				break
			}
		}
		took := time.Since(start)
		if stay {
			looking.Go(func() { <-done; c.Close() })
			io.Copy(io.Discard, r)
		}
		return took
	}
	views := map[string][2]string{"top": {"top", "room-"}, "members": {"members --json", `"id":2000,`}, "watch": {"watch room-0", "xxx"}}
	for what, view := range views {
		looking.Go(func() {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				took := first(view[0], view[1], false)
				mu.Lock()
				answers[what] = append(answers[what], float64(took.Microseconds())/1000)
				mu.Unlock()
				select {
				case <-tick.C:
				case <-done:
					return
				}
			}
		})
	}
	for _, view := range [][2]string{{"top", "room-"}, {"watch members room-0", "guest-1"}, {"watch room-0", "xxx"}} {
		looking.Go(func() { first(view[0], view[1], true) })
	}
	return func() { close(done); looking.Wait() }
}
