package netsvc_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
)

// BenchmarkMaster is what requests cost: on a connection that stays, and with one for
// each. The client runs in the same process and is counted too.
func BenchmarkMaster(b *testing.B) {
	s := startServer(b)
	s.Create("lobby")
	ask := func(c net.Conn, in *bufio.Reader, request string, lines int) {
		io.WriteString(c, request)
		for range lines {
			if _, err := in.ReadSlice('\n'); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("LIST", func(b *testing.B) {
		c := dialRaw(b, s.Service.Port())
		in := bufio.NewReader(c)
		for b.Loop() {
			ask(c, in, "LIST\n", 2)
		}
	})
	b.Run("JOIN", func(b *testing.B) {
		for b.Loop() {
			c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", s.Service.Port()))
			if err != nil {
				b.Fatal(err)
			}
			ask(c, bufio.NewReaderSize(c, 64), "JOIN lobby\n", 1)
			c.Close()
		}
	})
}

// BenchmarkIdleMaster is what an idle connection to the master port costs in memory, the
// stacks of goroutines included.
func BenchmarkIdleMaster(b *testing.B) {
	const clients = 2000
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	for b.Loop() {
		s := newServer(b)
		s.Options.MaxConnections = 0
		s.Start()
		conns := make([]net.Conn, clients)
		for i := range conns {
			conns[i] = dialRaw(b, s.Service.Port())
			io.WriteString(conns[i], "LIST nothing\n")
			bufio.NewReaderSize(conns[i], 16).ReadSlice('\n')
		}
		with := inUse()
		for _, c := range conns {
			c.Close()
		}
		eventually(b, "all are gone", func() bool { return s.Service.Connections() == 0 })
		b.ReportMetric(float64(with)/clients, "B/session")
		b.ReportMetric(float64(with-inUse())/clients, "B/session-freed")
		s.Stop()
	}
}
