package wal

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"roomd/store/block"
)

func linesOf(b []byte) (rooms []uint64, lines []block.Line, whole bool) {
	whole = decodeLines(b, func(room uint64, l block.Line) {
		rooms, lines = append(rooms, room), append(lines, l)
	})
	return rooms, lines, whole
}

// A WAL may have any bytes: Open does not fail, and it returns the records that were
// written before the corrupt bytes.
func FuzzWAL(f *testing.F) {
	l := block.Line{Seq: 3, Time: time.UnixMicro(1e15).UTC(), Kind: block.Message, From: "ann", Text: "hello"}
	record := AppendLine(nil, 7, &l, l.Time.UnixMicro())
	f.Add(record, 0)
	f.Add(append(slices.Clone(record), record...), 1)
	f.Add(bytes.Repeat([]byte{0xff}, 40), 8*recordHead)
	f.Add([]byte{}, -1)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, posts []byte, flip int) {
		path := filepath.Join(dir, "db")
		defer os.Remove(Path(path))
		j := New(path)
		if err := j.Create(func(*os.File) error { return nil }); err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		first, at := j.Key(), int64(0)
		for _, b := range [][]byte{record, posts, record} {
			if at == 0 {
				at = j.offset + int64(recordHead+len(b)) // where the second one begins
			}
			if err := j.Write(append(Begin(nil), b...)); err != nil {
				t.Fatal(err)
			}
		}
		if flip >= 0 && flip < 8*(recordHead+len(posts)) {
			b := make([]byte, 1)
			if _, err := j.file.ReadAt(b, at+int64(flip/8)); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 1 << (flip % 8)
			if _, err := j.file.WriteAt(b, at+int64(flip/8)); err != nil {
				t.Fatal(err)
			}
		}
		again := New(path)
		var got []block.Line
		corrupt, err := again.Open(first, func(_ uint64, l block.Line) { got = append(got, l) })
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if len(got) < 2 || got[0] != l || got[len(got)-1] != l {
			t.Errorf("%x, bit %d: the lines around it are %+v; %q", posts, flip, got, corrupt)
		}
		if _, lines, whole := linesOf(posts); flip < 0 && whole && len(got) != len(lines)+2 {
			t.Errorf("%x: %d lines of %d; %q", posts, len(got)-2, len(lines), corrupt)
		}
		if _, _, whole := linesOf(posts); (flip >= 0 && flip < 8*(recordHead+len(posts)) || !whole) && len(corrupt) == 0 {
			t.Errorf("%x, bit %d: no word of it", posts, flip)
		}
	})
}

// What a record was given it has, and nothing else.
func FuzzLines(f *testing.F) {
	f.Add(uint64(1), uint64(1), int64(0), int64(1), uint8(1), "ann", "hello")
	f.Add(^uint64(0)-1, uint64(1), int64(-1), int64(-1e6), uint8(3), "", "\x00\xff")
	f.Fuzz(func(t *testing.T, seq, step uint64, micros, later int64, kind uint8, from, text string) {
		if kind = 1 + kind%3; len(from) > 255 {
			from = from[:255]
		}
		one := block.Line{Seq: seq, Time: time.UnixMicro(micros).UTC(), Kind: block.Kind(kind), From: from, Text: text}
		two := block.Line{Seq: seq + step, Time: time.UnixMicro(micros + later).UTC(), Kind: block.Message, From: "b", Text: text}
		var record []byte
		for _, l := range []block.Line{one, two} {
			record = AppendLine(record, 7, &l, l.Time.UnixMicro())
		}
		rooms, lines, whole := linesOf(record)
		if !whole || !slices.Equal(lines, []block.Line{one, two}) || !slices.Equal(rooms, []uint64{7, 7}) {
			t.Errorf("%+v %+v became %+v", one, two, lines)
		}
	})
}
