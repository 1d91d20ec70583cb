package netsvc

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// heap is the memory that is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // a sync.Pool is empty after two
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// One session is in 64 rooms, each of which is flooded in turn, some of them far beyond what their logs
// keep. While its client does not read, the memory is bounded by the logs'. Once it reads all rooms get
// their turns, and a pong comes behind every line that was there before it.
func TestSessionInVeryManyRooms(t *testing.T) {
	const (
		rooms, deep     = 64, 8 // and each deep-th has many lines
		few, many, size = 50, 600, 4000
		slack           = 16 << 20
	)
	var names []string
	for i := range rooms {
		names = append(names, "r"+strconv.Itoa(i))
	}
	inThreeRooms(t, false, func(o *Options) {
		o.FirstRooms = append(o.FirstRooms, names...)
		o.Ports[1] = o.Ports[0] + 79
	}, func(w *threeRooms) {
		lines := make(map[string]int)
		for i, room := range names {
			if lines[room] = few; i%deep == 0 {
				lines[room] = many
			}
			w.send(room + " join")
			hear(w.T, w.in, "* "+room+": joined")
		}
		before := heap()
		for _, room := range names {
			w.flood(room, lines[room], size)
		}
		w.isFull()
		if grown := heap() - before; grown > rooms/deep*logWindow+(rooms-rooms/deep)*few*(size+100)*3/2+slack {
			w.Errorf("%d MiB of memory for a client that does not read", grown>>20)
		}

		// What is in the kernel's buffers is of the first rooms. From there on the turns count.
		inKernel, got, next, bytes := int(w.session.written.Load()), 0, make(map[string]int), make(map[string]int)
		read := func() (room string) {
			l, err := w.in.ReadString('\n')
			if err != nil {
				w.Fatalf("after %v: %v", next, err)
			}
			text, ok := strings.CutPrefix(l, "<ann> ")
			room, number, _ := strings.Cut(text, ": ")
			if !ok {
				return l
			}
			if number, _, _ = strings.Cut(number, " "); number != strconv.Itoa(next[room]) {
				w.Fatalf("line %s of %s comes where %d should", number, room, next[room])
			}
			next[room]++
			if got += len(l); got > inKernel {
				bytes[room] += len(l)
			}
			return room
		}
		for open := rooms; open > 0; {
			room := read()
			if next[room] == lines[room] {
				open--
				continue
			}
			for _, other := range names {
				if next[other] < lines[other] && bytes[room]-bytes[other] > 4*passBytes { // a turn ends behind a span, and both may have had one more
					w.Fatalf("%s has got %d bytes, when %s had got %d", room, bytes[room], other, bytes[other])
				}
			}
		}
		w.send("ping read")
		for room := ""; room != "pong read\n"; room = read() {
		}
		if n := w.svc.insertBytes.Load(); n != 0 {
			w.Errorf("%d bytes wait for a client that has read everything", n)
		}

		var flooding sync.WaitGroup
		flooding.Go(func() {
			for _, room := range names {
				w.floodFrom(room, lines[room], few, 1000)
			}
		})
		for n := 0; ; n++ {
			seen := make(map[string]uint64)
			for _, room := range names {
				seen[room] = w.room(room).log.End().Seq
			}
			w.send(fmt.Sprint("ping ", n))
			for room := ""; room != fmt.Sprintf("pong %d\n", n); room = read() {
			}
			all := true
			for _, room := range names {
				if uint64(next[room]) < seen[room] {
					w.Errorf("pong %d comes after line %d of %s, and not after %d", n, next[room], room, seen[room])
				}
				all = all && next[room] == lines[room]+few
			}
			if all {
				break
			}
		}
		flooding.Wait()
	})
}
