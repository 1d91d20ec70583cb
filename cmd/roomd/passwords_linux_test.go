package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// visitFrom is visit from another address of this machine.
func (p *process) visitFrom(t *testing.T, from string, port int) visitor {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	c, err := d.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return visitor{c, bufio.NewReader(c)}
}

// A botnet of 200 addresses, each in a network of its own: the room's bound is
// what it gets, before and after an upgrade, and whoever was inside gets in
// meanwhile, at once.
func TestGuessingFromManyAddresses(t *testing.T) {
	metrics := int(nextPort.Take(1)) - 1
	p := newProcess(t, fmt.Sprintf("metrics.listen = \"127.0.0.1:%d\"\nlimits.connects_per_second = 0", metrics))
	p.binary = plainBinary(t)
	p.start()
	den := p.first + 1
	if got := p.nc(p.master, strings.NewReader("CREATE den secret\n")); !strings.HasPrefix(got, fmt.Sprintf("OK den %d ", den)) {
		t.Fatal(got)
	}
	enter := func(from string) {
		t.Helper()
		v := p.visitFrom(t, from, den)
		fmt.Fprintln(v, "/pass secret\n/quit")
		v.until(t, "* den: ")
		v.until(t, "bye")
	}
	enter("127.9.9.9")
	began := time.Now()
	var looked atomic.Int64
	for n := range 2 {
		var attack sync.WaitGroup
		for i := range 200 {
			attack.Go(func() {
				v := p.visitFrom(t, fmt.Sprintf("127.%d.%d.1", 20+i, n), den)
				fmt.Fprintln(v, "/pass wrong")
				if strings.Contains(v.until(t, "next one"), "that is not the password") {
					looked.Add(1)
				}
			})
		}
		enter("127.9.9.9")
		attack.Wait()
		// 128 at once, and six a minute.
		if n, most := looked.Load(), 128+int64(time.Since(began)/(10*time.Second))+1; n < 128 || n > most {
			t.Errorf("%d of 200 wrong passwords were looked at, and not 128 to %d", n, most)
		}
		if n == 0 {
			p.upgrade()
		}
	}
	enter("127.9.9.9")
	m := p.metrics(metrics)
	if wrong, right := m[`roomd_passwords_total{outcome="wrong"}`], m[`roomd_passwords_total{outcome="right"}`]; int64(wrong) != looked.Load() || right != 4 {
		t.Errorf("%v wrong and %v right ones are counted", wrong, right)
	}
}

// A password that is held during an upgrade is looked at afterwards, by the process
// that has taken over: what its address has guessed has gone over, too.
func TestPasswordHeldDuringUpgrade(t *testing.T) {
	p := newProcess(t, "")
	p.binary = plainBinary(t)
	p.start()
	den := p.first + 1
	if got := p.nc(p.master, strings.NewReader("CREATE den secret\n")); !strings.HasPrefix(got, "OK den ") {
		t.Fatal(got)
	}
	v := p.visit(den)
	fmt.Fprintln(v, "/pass a\n/pass b\n/pass c")
	v.until(t, "may come after 1s")
	v = p.visit(den)
	v.until(t, "this room has a password")
	fmt.Fprintln(v, "/pass secret\nhello") // held for a second
	p.upgrade()
	if l := v.until(t, "* "); !strings.HasPrefix(l, "* den: ") {
		t.Fatalf("it is told %q", l)
	}
	v.until(t, "<guest-1> hello")
}
