package netsvc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A client asks for far more than may wait for it, takes nothing, and goes. What it has sent is
// handled all the same, in rooms and in none, and then its session is over.
func TestSessionOfWhoDoesNotReadIsOver(t *testing.T) {
	for name, rooms := range map[string]bool{"in rooms": true, "in none": false} {
		t.Run(name, func(t *testing.T) {
			inThreeRooms(t, true, nil, func(w *threeRooms) {
				if !rooms {
					for _, room := range []string{"a", "b", "c"} {
						w.send(room + " part")
						hear(w.T, w.in, "bye "+room+" left")
					}
				}
				line, sent := []byte("ping "+strings.Repeat("x", 4000)+"\n"), make(chan int)
				go func() {
					n := 0
					for _, err := w.conn.Write(line); err == nil; _, err = w.conn.Write(line) {
						n++
					}
					sent <- n
				}()
				w.isFull()
				if n := w.svc.insertBytes.Load(); n > 8*maxInserts {
					w.Errorf("%d bytes wait for a client that takes nothing", n)
				}
				w.conn.Close()
				if n := <-sent; n < 100 {
					w.Errorf("it has sent %d lines only", n)
				}
				select {
				case <-w.session.closed:
				case <-time.After(20 * time.Second):
					w.Fatal("the session goes on")
				}
				w.eventually("nothing waits for it any more", func() bool { return w.svc.insertBytes.Load() == 0 })
			})
		})
	}
}

// A room is deleted while a write to a client in it does not return.
func TestDeletionDoesNotWaitForAWrite(t *testing.T) {
	inThreeRooms(t, true, nil, func(w *threeRooms) {
		w.flood("a", 4000, 4000)
		w.isFull()
		began := time.Now()
		if err := w.svc.Delete("b", ""); err != nil {
			w.Error(err)
		}
		if took := time.Since(began); took > 4*drainTime {
			w.Errorf("the deletion took %v", took)
		}
	})
}

// A client that leaves a room and enters it again while it lags gets the end of its first member there
// before the second one begins.
func TestRoomIsLeftBeforeItIsEnteredAgain(t *testing.T) {
	inThreeRooms(t, true, nil, func(w *threeRooms) {
		const lines, size = 1500, 4000
		w.flood("b", lines, size)
		w.isFull()
		w.send("b part\nb join")
		_, others := w.readFloods(map[string]int{"b": lines})
		for !slices.Contains(others, "* b: joined\n") {
			l, err := w.in.ReadString('\n')
			if err != nil {
				w.Fatal(err)
			}
			others = append(others, l)
		}
		left, joined := slices.Index(others, "bye b left\n"), slices.Index(others, "* b: joined\n")
		if left < 0 || left > joined {
			w.Errorf("got %q", others)
		}
	})
}

// A client that is cut off from a room that is deleted is told of it, as soon as it reads.
func TestFarewellOfWhoIsCutOff(t *testing.T) {
	inThreeRooms(t, false, nil, func(w *threeRooms) {
		const lines, size = 1000, 4000
		w.flood("a", lines, size)
		w.isFull()
		if err := w.svc.Delete("b", ""); err != nil {
			w.Error(err)
		}
		if _, others := w.readFloods(map[string]int{"a": lines}); !slices.Contains(others, "bye b room deleted\n") {
			hear(w.T, w.in, "bye b room deleted")
		}
		w.send("a still here")
		hear(w.T, w.in, "> still here")
	})
}

// However often people in several rooms take other nicks, what waits for a client that does not read
// is bounded.
func TestNicksChangeBeforeWhoDoesNotRead(t *testing.T) {
	inThreeRooms(t, false, nil, func(w *threeRooms) {
		c, in, _ := w.dial()
		defer c.Close()
		for _, room := range []string{"a", "b", "c"} {
			fmt.Fprintln(c, room+" join")
			hear(w.T, in, "* "+room+": joined")
		}
		go func() {
			for _, err := in.ReadString('\n'); err == nil; _, err = in.ReadString('\n') {
			}
		}()
		w.flood("a", 1000, 4000)
		w.isFull()
		for i := range 5000 {
			if _, err := fmt.Fprintf(c, "nick n%d\n", i); err != nil {
				w.Fatal(err)
			}
		}
		w.eventually("the last nick is taken", func() bool {
			r := w.room("c")
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.nicks["n4999"] != nil
		})
		for _, m := range w.session.Members() {
			m.mu.Lock()
			n := 0
			for i := range m.inserts {
				n += m.inserts[i].size()
			}
			m.mu.Unlock()
			if n > maxInserts+1<<10 {
				w.Errorf("%d bytes of inserts wait in %s", n, m.room.name())
			}
		}
	})
}

// The time of a session is over while the server is suspended: it is handed over whole, and ends
// where the server goes on.
func TestSessionTimesOutInAFreeze(t *testing.T) {
	inThreeRooms(t, false, nil, func(w *threeRooms) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := w.svc.Freeze(ctx); err != nil {
			w.Fatal(err)
		}
		reached := make(chan bool)
		w.session.EndAt(time.Now(), EndTimeout)
		time.AfterFunc(20*time.Millisecond, func() { close(reached) })
		<-reached
		sessions, lost := 0, 0
		if _, err := w.svc.HandOver(func(kind string, v any, _ ...int) error {
			switch v := v.(type) {
			case []roomsSessionState:
				for _, st := range v {
					sessions++
					for _, m := range st.Members {
						if m.Cause != "" {
							lost++
						}
					}
				}
			case roomState:
				lost += len(v.Lost)
			}
			return nil
		}); err != nil {
			w.Fatal(err)
		}
		if sessions != 1 || lost != 0 {
			w.Errorf("%d sessions are handed over, and %d members are lost", sessions, lost)
		}
		w.svc.Thaw()
		hear(w.T, w.in, "last timed out")
	})
}
