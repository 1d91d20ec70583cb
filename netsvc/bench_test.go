package netsvc_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"roomd/store"
)

// BenchmarkStart is the time from opening the database to every room being
// bound and the master port open.
func BenchmarkStart(b *testing.B) {
	for _, rooms := range []int{64, 10000} {
		b.Run(fmt.Sprintf("rooms=%d", rooms), func(b *testing.B) {
			s := newServer(b)
			s.Options.MaxRooms = rooms
			s.Options.Ports = [2]int{12000, 12000 + rooms + 1000}
			s.Options.Log = slog.New(slog.DiscardHandler)
			st, err := store.Open(s.Path, s.StoreOptions)
			if err != nil {
				b.Fatal(err)
			}
			st.Start(store.Follower{})
			var makers sync.WaitGroup
			for n := range 16 {
				makers.Go(func() {
					for i := n; i < rooms; i += 16 {
						name := fmt.Sprintf("room%d", i)
						if _, err := st.Create(store.Room{Name: name, Key: name, Port: 12000 + i}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			makers.Wait()
			if err := st.Close(); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for b.Loop() {
				s.Start()
				b.StopTimer()
				if n := len(s.Service.List()); n != rooms {
					b.Fatalf("%d rooms", n)
				}
				s.Service.Stop()
				s.Service = nil
				if err := s.Store.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

// BenchmarkDeliver is what a line costs for each member that gets it, committed
// to disk first. The clients run in the same process and are counted too.
func BenchmarkDeliver(b *testing.B) {
	for _, members := range []int{1, 256} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			s := newServer(b)
			s.Options.MaxMembers = members + 8
			s.Start()
			port := s.Create("lobby")
			const speakers, window = 8, 64
			lines := max(b.N/members, 1)
			var all, said sync.WaitGroup
			for range members {
				c := dialRaw(b, port)
				all.Go(func() { countLines(c, lines) })
			}
			eventually(b, "all are there", func() bool { return s.members("lobby") == members })
			b.ResetTimer()
			start := time.Now()
			for i := range speakers {
				share := lines / speakers
				if i < lines%speakers {
					share++
				}
				c := dialRaw(b, port)
				free := make(chan bool, window)
				all.Go(func() {
					text := []byte("a line of sixty-four bytes, as people write them in a chat roo\n")
					for range share {
						free <- true
						c.Write(text)
					}
				})
				said.Add(1)
				all.Go(func() {
					in := bufio.NewReaderSize(c, 1<<16)
					hello, _ := in.ReadString('\n')
					_, nick, _ := strings.Cut(hello, "you are ")
					nick, _, _ = strings.Cut(nick, " ")
					own := "<" + nick + ">"
					for n := 0; n < share; {
						l, err := in.ReadSlice('\n')
						if err != nil {
							break
						}
						if strings.HasPrefix(string(l), own) {
							n++
							<-free
						}
					}
					said.Done()
					io.Copy(io.Discard, in)
				})
			}
			said.Wait() // each speaker has seen its own lines
			b.ReportMetric(float64(lines)/time.Since(start).Seconds(), "lines/s")
			s.Stop()
			all.Wait()
		})
	}
}

func dialRaw(b *testing.B, port int) net.Conn {
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// countLines reads until so many lines of people have come.
func countLines(c net.Conn, n int) {
	in := bufio.NewReaderSize(c, 1<<16)
	for n > 0 {
		l, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		if l[0] == '<' {
			n--
		}
	}
	io.Copy(io.Discard, in)
}
