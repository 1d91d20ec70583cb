package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// rounds is how often a test with random corruption runs: n times, or many times
// more under `make soak`.
func rounds(n int) int {
	if os.Getenv("ROOMD_SOAK") != "" {
		return 20 * n
	}
	return n
}

// A flipped bit anywhere: opening, checking and reading either work, or say
// the corrupt bytes. No line ever has another text than was submitted.
func TestFlippedBits(t *testing.T) {
	s := open(t, dbPath(t), Options{})
	const rooms = 20
	for i := range rooms {
		s.room(fmt.Sprint("room", i), 9000+i)
	}
	for i := range 36000 {
		text := fmt.Sprintf("%d of room %d %s", i, i%rooms, strings.Repeat("lorem ipsum ", i%40))
		if err := s.Submit(t.Context(), &Post{Room: uint64(1 + i%rooms), Line: Line{Kind: Message, From: "ann", Text: text}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	want := make(map[uint64]map[uint64]Line)
	for room := uint64(1); room <= rooms; room++ {
		want[room] = make(map[uint64]Line)
		for _, l := range s.all(room) {
			want[room][l.Seq] = l
		}
	}
	s.stop()
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	used, _, err := Inspect(s.path, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", used.Bytes)
	harmless, refused, partly := 0, 0, 0
	for range rounds(25) {
		at, bit := rand.Int64N(used.Bytes), rand.IntN(8)
		if rand.IntN(4) == 0 {
			at -= at % 4096 // where pages begin is more to break
			at += rand.Int64N(64)
		}
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		flip := func() {
			b[0] ^= 1 << bit
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
		flip()
		_, problems, checkErr := Inspect(s.path, true)
		found := errors.Join(append(problems, checkErr)...)
		st, err := Open(s.path, Options{})
		lost := 0
		if err == nil {
			for room, lines := range want {
				have, readErr := readAll(st, room)
				for _, l := range have {
					if lines[l.Seq] != l {
						t.Fatalf("bit %d of byte %d: room %d has %+v, was %+v", bit, at, room, l, lines[l.Seq])
					}
				}
				if lost += len(lines) - len(have); readErr != nil && found == nil {
					t.Errorf("bit %d of byte %d: %v, and the check has found nothing", bit, at, readErr)
				}
			}
			if e := st.Close(); e != nil {
				t.Log(e)
			}
		}
		switch {
		case (err != nil || lost > 0) && found == nil:
			t.Errorf("bit %d of byte %d: %d lines are gone, %v, and the check has found nothing", bit, at, lost, err)
		case err != nil:
			refused++
		case lost > 0:
			partly++
		default:
			harmless++
		}
		flip()
	}
	t.Logf("%d refused at start, %d with lines missing, %d without harm", refused, partly, harmless)
	s.start() // all is as it was
}

func readAll(s *Store, room uint64) (lines []Line, err error) {
	for after := uint64(0); ; after = lines[len(lines)-1].Seq {
		page, err := s.Lines(room, after, 1<<62, 1<<18)
		if err != nil || len(page) == 0 {
			return lines, err
		}
		lines = append(lines, page...)
	}
}
