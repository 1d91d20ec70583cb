package store

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Each of the talkers has one line of 100 bytes in flight: so many lines are
// ready when a transaction begins.
func BenchmarkAppend(b *testing.B) {
	for _, d := range []Durability{Commit, Relaxed} {
		for _, rooms := range []int{1, 64} {
			for _, talkers := range []int{1, 10, 100, 1000, 10000} {
				b.Run(fmt.Sprintf("relaxed=%d/rooms=%d/talkers=%d", d, rooms, talkers), func(b *testing.B) {
					s := open(b, dbPath(b), Options{Durability: d})
					for i := range rooms {
						s.room(fmt.Sprint("room", i), 9000+i)
					}
					text := strings.Repeat("x", 100)
					b.ResetTimer()
					var wg sync.WaitGroup
					for i := range talkers {
						wg.Go(func() {
							back := make(chan *Post, 1)
							for n := i; n < b.N; n += talkers {
								p := &Post{Room: uint64(1 + i%rooms), Owner: back, Line: Line{Kind: Message, From: "ann", Text: text}}
								if err := s.Submit(context.Background(), p); err != nil {
									b.Error(err)
								}
								<-back
							}
						})
					}
					wg.Wait()
					if err := s.Flush(); err != nil {
						b.Error(err)
					}
					b.StopTimer()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
				})
			}
		}
	}
}

// The commit path alone, by batches of one size: the CPU time of this process
// and the file's bytes for each line of 64 bytes, over whatever happens by the
// way. The store is not started: the benchmark is the committer.
func BenchmarkCommit(b *testing.B) {
	for _, rooms := range []int{1, 16, 64, 1000} {
		for _, batch := range []int{1, 10, 100, 500, 4096} {
			b.Run(fmt.Sprintf("rooms=%d/batch=%d", rooms, batch), func(b *testing.B) {
				s := open(b, dbPath(b), Options{})
				for i := range rooms {
					s.room(fmt.Sprint("room", i), 1024+i)
				}
				s.stop()
				byHand, err := Open(s.path, s.opts)
				if err != nil {
					b.Fatal(err)
				}
				byHand.follower.Lines = func([]*Post) {}
				text := strings.Repeat("x", 64)
				posts := make([]*Post, batch)
				all := make([]Post, batch)
				b.ReportAllocs()
				b.ResetTimer()
				cpu := cpuTime(b)
				for n := 0; n < b.N; n += batch {
					for i := range posts {
						all[i] = Post{Room: uint64(1 + (n+i)%rooms), Line: Line{Kind: Message, From: "ann", Text: text}}
						posts[i] = &all[i]
					}
					byHand.appendPosts(posts)
					byHand.runJobs()
				}
				b.StopTimer()
				lines := float64((b.N + batch - 1) / batch * batch)
				b.ReportMetric((cpuTime(b)-cpu).Seconds()*1e6/lines, "cpu-us/line")
				b.ReportMetric(lines/b.Elapsed().Seconds(), "lines/s")
				if err := byHand.runCheckpoint(); err != nil {
					b.Fatal(err)
				}
				file, free, err := byHand.Size()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(file-free)/lines, "B/line")
				if err := byHand.Close(); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// cpuTime is what this process has had of the processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// manyRooms makes a file with rooms of one line each.
func manyRooms(b *testing.B, n int) string {
	b.Helper()
	s := open(b, dbPath(b), Options{})
	err := s.update(func(tx *bolt.Tx) error {
		for i := range n {
			id, err := tx.Bucket(bucketRooms).NextSequence()
			if err != nil {
				return err
			}
			name := fmt.Sprint("room", i)
			l := Line{Time: time.Now(), Kind: Message, From: "ann", Text: "hello"}
			h := head{id: id}
			h.add(id, &Line{Seq: 1, Time: l.Time, Kind: l.Kind, From: l.From, Text: l.Text})
			lines, err := tx.Bucket(bucketLines).CreateBucket(u64(id))
			if err != nil {
				return err
			}
			for _, put := range []error{
				putRoom(tx, Room{ID: id, Name: name, Key: name, Port: 1024 + i, Created: l.Time, Creator: "192.0.2.1", KeyHash: make([]byte, 32)}),
				tx.Bucket(bucketNames).Put([]byte(name), u64(id)),
				tx.Bucket(bucketPorts).Put(portKey(1024+i), portUse{room: id}.encode()),
				putHead(tx, id, &h),
				writeTail(lines, id, &h),
			} {
				if put != nil {
					return put
				}
			}
		}
		return nil
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	s.stop()
	return s.path
}

func BenchmarkOpen(b *testing.B) {
	path := manyRooms(b, 10000)
	for b.Loop() {
		s, err := Open(path, Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRooms(b *testing.B) {
	s := open(b, manyRooms(b, 10000), Options{})
	for b.Loop() {
		if rooms, err := s.Rooms(); err != nil || len(rooms) != 10000 {
			b.Fatal(len(rooms), err)
		}
	}
}

// Once a minute with an age limit, when nothing is old enough.
func BenchmarkRetention(b *testing.B) {
	s := open(b, manyRooms(b, 10000), Options{Retention: Retention{Age: time.Hour}})
	for b.Loop() {
		if err := s.applyRetentionAt(time.Now()); err != nil {
			b.Fatal(err)
		}
		s.settled()
	}
}
