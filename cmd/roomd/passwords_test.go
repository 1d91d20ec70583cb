package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// guessBound is how long the right password may take during an attack, and a
// line of who is inside.
const guessBound = 100 * time.Millisecond

// A thousand wrong passwords from one address, in ten attacks: the room goes on as if nothing
// was, most of them are not even looked at, and the right one from another
// address gets in at once, every time; also the first after a start, which is
// the one that has to be compared. In the ordinary tests, beside which others
// run, the attack is smaller, and the bound is some times what the same takes
// without an attack, if that is more.
func TestGuessing(t *testing.T) {
	starts, guesses, strict := 1, 20, os.Getenv("ROOMD_HOSTILE") != ""
	if strict {
		starts, guesses = 10, 100
	}
	metrics := int(nextPort.Take(1)) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"", metrics))
	p.binary = plainBinary(t)
	p.start()
	den := p.first + 1
	if got := p.nc(p.master, strings.NewReader("CREATE den secret\n")); !strings.HasPrefix(got, fmt.Sprintf("OK den %d ", den)) {
		t.Fatal(got)
	}
	enter := func() (visitor, time.Duration) {
		began := time.Now()
		v := p.visit(den)
		fmt.Fprintln(v, "/pass secret")
		v.until(t, "* den: ")
		return v, time.Since(began)
	}
	var calm, first, later, echo []time.Duration
	for n := range 2 * starts {
		if err := p.kill(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.start() // now nothing but the hash is known
		if n%2 == 0 {
			_, d := enter()
			calm = append(calm, d)
			continue
		}
		var attack sync.WaitGroup
		wrong := make(chan string, guesses)
		var given atomic.Int64
		for range 20 {
			attack.Go(func() {
				for given.Add(1) <= int64(guesses) {
					guess(t, den, wrong)
				}
			})
		}
		if n%4 == 1 { // not at the same moment as the first of the wrong ones
			<-wrong
		}
		ann, d := enter()
		first = append(first, d)
		for i := range 30 {
			v, d := enter()
			later = append(later, d)
			v.Close()
			began := time.Now()
			fmt.Fprintln(ann, "line", n, i)
			ann.until(t, fmt.Sprint("<guest-1> line ", n, " ", i, "\n"))
			echo = append(echo, time.Since(began))
		}
		attack.Wait()
		m := p.metrics(metrics)
		compared, held := m[`roomd_passwords_total{outcome="wrong"}`], m[`roomd_passwords_total{outcome="throttled"}`]
		if int(compared+held) < guesses || compared > 20 {
			t.Errorf("%v were compared, and %v held", compared, held)
		}
	}
	bound := max(guessBound, slices.Max(calm)) // on a busy machine
	if !strict {
		bound = max(guessBound, 4*slices.Max(calm))
	}
	t.Logf("without an attack: %s", percentiles(calm))
	for what, all := range map[string][]time.Duration{"the first right password after a start": first, "the right password": later, "a line": echo} {
		t.Logf("%s: %s", what, percentiles(all))
		if worst := slices.Max(all); worst > bound {
			t.Errorf("%s took %v, and not %v at most", what, worst, bound)
		}
	}
}

// guess gives a wrong password from an address of its own, and hands on what it
// is told.
func guess(t *testing.T, port int, answers chan<- string) {
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(c, "/pass wrong\n/quit\n")
	for in := bufio.NewScanner(c); in.Scan(); {
		if l := in.Text(); strings.Contains(l, "you are") {
			t.Errorf("a wrong password let in: %q", l)
		} else if strings.Contains(l, "next one") {
			answers <- l
		}
	}
}
